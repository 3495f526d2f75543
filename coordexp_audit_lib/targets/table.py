"""From the declared bindings and a source tree to the binding of every surface. Nothing of the tree is imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.core.errors import AuditError, SurfaceFailed, one_line
from coordexp_audit_lib.core.surface import Surface, surfaces
from coordexp_audit_lib.core.target import Binding
from coordexp_audit_lib.sandbox.worker import bound_in
from coordexp_audit_lib.source.names import resolve
from coordexp_audit_lib.source.tree import Located, Tree


class Declared(msgspec.Struct, frozen=True):
    """One surface's declaration: the binding module, and by local name the candidates of each symbol."""

    module: str
    symbols: dict[str, tuple[str, ...]]


class Row(msgspec.Struct, frozen=True):
    """One surface on one tree: its binding, and what the worker needs to answer it."""

    binding: Binding
    module: str = ""
    chosen: dict[str, str | None] = {}


def declared(folder: Path) -> dict[str, Declared]:
    """What the modules of the folder and its packages declare; they get the names that the worker gives them."""
    found: dict[str, Declared] = {}
    files = (p.relative_to(folder).with_suffix("") for p in folder.rglob("*.py") if p.stem != "__init__")
    for module in sorted(".".join(p.parts) for p in files):
        try:
            bound = bound_in(str(folder), module)  # type: ignore[no-untyped-call]
        except Exception as error:
            what = f"the module of answers does not load: {type(error).__name__}: {error}"
            raise AuditError(what, where=f"{folder.name}/{module.replace('.', '/')}.py", remedy="correct it") from error
        found |= {surface: Declared(module, dict(one.symbols)) for surface, one in bound.items()}
    return found


def rows(tree: Tree, folder: Path) -> dict[str, Row]:
    """The row of every declared surface, by name."""
    known = declared(folder)
    return {name: _readable_row(tree, question, known.get(name)) for name, question in surfaces().items()}


def _readable_row(tree: Tree, question: Surface[Any, Any], bound: Declared | None) -> Row:
    """The row; a file that cannot be read or parsed costs the surfaces that it should answer, and no others."""
    try:
        return _row(tree, question, bound)
    except (SurfaceFailed, RecursionError) as error:
        return Row(Binding(question.name, "missing", note=one_line(f"the source cannot be read: {error}")))


def _row(tree: Tree, question: Surface[Any, Any], bound: Declared | None) -> Row:
    if question.static is not None:
        return Row(Binding(question.name, "bound", note="read from the source, not run"))
    if bound is None:
        return Row(Binding(question.name, "unbound", note="no binding is known for it"))
    chosen: dict[str, str | None] = {}
    notes: list[str] = []
    first: Located | None = None
    for local, candidates in bound.symbols.items():
        names = [c for c in candidates if c != "?"]
        picked = pick(tree, names)
        if picked is None and "?" not in candidates:
            note = f"not in the tree: {', '.join(names)}"
            return Row(Binding(question.name, "missing", note=note), bound.module)
        chosen[local] = picked[0] if picked else None
        if picked:
            first = first or picked[1]
            note = _moved(tree, names[0], *picked)
            notes += [note] if note else []
    place = {f: getattr(first, f) for f in ("path", "line", "symbol", "digest")} if first else {}
    status = "moved" if notes else "bound"
    return Row(Binding(question.name, status, note="; ".join(notes), **place), bound.module, chosen)


def pick(tree: Tree, names: Sequence[str]) -> tuple[str, Located] | None:
    """The first candidate that the tree defines under its own name, else the first that it re-exports or inherits."""
    for name in names:
        found = tree.locate(name)
        if found:
            return name, found
    for name in names:
        found = resolve(tree, name)
        if found:
            return name, found
    return None


def _moved(tree: Tree, primary: str, name: str, found: Located) -> str:
    """How the symbol's name differs from that at the reference commit; a method that is inherited there does not."""
    if name != primary:
        return f"{primary} is now {name}"
    if found.symbol == primary or tree.locate(_head(primary)):
        return ""
    return f"{primary} is defined as {found.symbol}"


def _head(symbol: str) -> str:
    module, _, qualname = symbol.partition(":")
    return f"{module}:{qualname.partition('.')[0]}"
