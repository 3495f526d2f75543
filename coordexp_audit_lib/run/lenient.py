"""A page of a pipeline that does not answer everything: a cell that can't be shown says so, and the page goes on."""

from __future__ import annotations

import ast
import sys
from typing import Any

from coordexp_audit_lib.core.errors import SurfaceUnbound, one_line

HERE = f"__import__({__name__!r}, fromlist=['show'])"
OTHERWISE = "what it shows was not answered"


class ViolationsShown(Exception):
    """What a page is to be ended by all the same."""


class Lenient:
    """An `ast_transformers` entry of IPython: each cell is tried, and its last value displayed as it would be."""

    def visit(self, node: ast.Module) -> ast.Module:
        if not node.body:
            return node
        last = node.body[-1]
        if isinstance(last, ast.Expr):
            call = ast.parse(f"{HERE}.show(0)", mode="eval").body
            assert isinstance(call, ast.Call)
            call.args = [last.value]
            last.value = call
        tried = ast.parse(f"try:\n    pass\nexcept Exception as _why:\n    {HERE}.not_shown(_why)")
        (attempt,) = tried.body
        assert isinstance(attempt, ast.Try)
        attempt.body = node.body
        node.body = [attempt]
        return ast.fix_missing_locations(node)


def be_lenient() -> None:
    """From the next cell on; nothing where no notebook runs."""
    shell = _shell()
    if shell is not None and not any(isinstance(t, Lenient) for t in shell.ast_transformers):
        shell.ast_transformers.append(Lenient())


def be_strict() -> None:
    """A kernel that several pages share is as it was."""
    shell = _shell()
    if shell is not None:
        shell.ast_transformers[:] = [t for t in shell.ast_transformers if not isinstance(t, Lenient)]


def show(value: Any) -> None:
    """Display a cell's last value."""
    from IPython.display import display

    if value is not None:
        display(value)  # type: ignore[no-untyped-call]


def not_shown(error: Exception) -> None:
    """Say why a cell shows nothing; what a page is to be ended by is raised again."""
    if isinstance(error, ViolationsShown):
        raise error
    why = one_line(error.what, error.where) if isinstance(error, SurfaceUnbound) else OTHERWISE
    print(f"not shown: {why}")


def _shell() -> Any:
    """The IPython that runs this; None where none does."""
    running = sys.modules.get("IPython")
    return running.get_ipython() if running else None
