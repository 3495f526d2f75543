"""The parameters of a running notebook: what papermill injects and no cell declares makes the notebook fail.

papermill itself only warns of an unknown parameter, and the notebook's own defaults would win in silence.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence

from coordexp_audit_lib.core.errors import UsageError, did_you_mean

INJECTED = "# Parameters\n"  # what papermill writes above them


def refuse_unknown_parameters() -> None:
    """Refuse what papermill injected into the running notebook and the cell above it does not assign.

    Raises:
        UsageError: there is such a parameter.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        refuse_unknown(shell.user_ns.get("In", []))


def refuse_unknown(cells: Sequence[str]) -> None:
    """The same for the sources of the cells that ran, in order."""
    for before, cell in zip(["", *cells], cells, strict=False):
        if not cell.startswith(INJECTED):
            continue
        known = assigned(before)
        for name in assigned(cell):
            if name not in known:
                remedy = did_you_mean(name, known, f"use {', '.join(known)}")
                raise UsageError(f"the notebook has no parameter {name!r}", where="parameters", remedy=remedy)


def assigned(source: str) -> list[str]:
    """The names that a cell assigns at its top level."""
    names: list[ast.expr] = []
    for node in ast.parse(source).body:
        names += node.targets if isinstance(node, ast.Assign) else []
        names += [node.target] if isinstance(node, ast.AnnAssign) else []
    return [n.id for n in names if isinstance(n, ast.Name)]
