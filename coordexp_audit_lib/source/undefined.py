"""Names that source uses and nothing defines, by pyflakes; a file that is no Python at all.

Reading a module with pyflakes costs ten times what the compiler's own tables of names cost. So those are asked first,
and only a module in which some name may be undefined is read again.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterator

import msgspec

MODULE_NAMES = frozenset(
    {*dir(builtins), "__file__", "__builtins__", "__annotations__", "__path__", "__conditional_annotations__"}
)


class Undefined(msgspec.Struct, frozen=True):
    """message: what is wrong, with the name; symbol: the function or class that holds it, empty at module level."""

    path: str
    line: int
    symbol: str
    name: str
    message: str


def undefined(module: ast.Module, text: str, path: str) -> Iterator[Undefined]:
    """Uses of names that no scope binds, of locals before they are bound, and exports of what is not there."""
    if not suspect(text, path):
        return
    from pyflakes import checker, messages

    kinds = {
        messages.UndefinedName: "is not defined anywhere",
        messages.UndefinedLocal: "is a local of this function, used before it is bound",
        messages.UndefinedExport: "is exported but not defined",
    }
    # pyflakes hangs a parent on every node: a tree of its own
    for m in checker.Checker(ast.parse(text), path).messages:
        if type(m) in kinds:
            name = str(m.message_args[0])
            yield Undefined(path, m.lineno, _holder(module, m.lineno), name, f"{name!r} {kinds[type(m)]}")


def suspect(text: str, path: str) -> bool:
    """Whether some name of a module may have no binding where it is used."""
    top = symtable.symtable(text, path, "exec")
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    known = bound | MODULE_NAMES
    if "__all__" in bound or "import *" in text:
        return True
    for table in _tables(top):
        for s in table.get_symbols():
            if s.is_declared_global():
                known.add(s.get_name())
    for table in _tables(top):
        function = table.get_type() == "function"
        for s in table.get_symbols():
            free_of_binding = s.is_referenced() and s.is_global() and s.get_name() not in known
            hides = function and s.is_local() and not s.is_parameter() and s.is_referenced() and s.get_name() in bound
            if free_of_binding or hides:
                return True
    return any(s.is_referenced() and s.get_name() not in known for s in top.get_symbols())


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def _holder(module: ast.Module, line: int) -> str:
    """The dotted name of the innermost function or class over a line."""
    body: list[ast.stmt] = module.body
    names: list[str] = []
    while True:
        inside = [n for n in body if n.lineno <= line <= (n.end_lineno or n.lineno)]
        if not inside:
            return ".".join(names)
        node = inside[0]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        handlers = [s for h in getattr(node, "handlers", []) for s in h.body]
        body = [*getattr(node, "body", []), *getattr(node, "orelse", []), *handlers, *getattr(node, "finalbody", [])]
