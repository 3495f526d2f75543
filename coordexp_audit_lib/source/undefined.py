"""Names that source uses and nothing defines, by pyflakes; a file that is no Python at all.

Reading a module with pyflakes costs ten times what the compiler's own tables of names cost. So those are asked first,
and only a module in which some name may be undefined is read again.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterator

from coordexp_audit_lib.source.broken import Broken
from coordexp_audit_lib.source.names import definitions, own_nodes
from coordexp_audit_lib.source.tree import DEFINITIONS, assigned

IMPORTS = (ast.Import, ast.ImportFrom)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
MODULE_NAMES = frozenset(
    {*dir(builtins), "__file__", "__builtins__", "__annotations__", "__path__", "__conditional_annotations__"}
)


def undefined(module: ast.Module, text: str, path: str) -> Iterator[Broken]:
    """Uses of names that no scope binds, of locals before they are bound, and exports of what is not there."""
    if not suspect(module, text, path):
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
            yield Broken("name", path, m.lineno, _holder(module, m.lineno), name, f"{name!r} {kinds[type(m)]}")
    for line, name in imported_late(module):
        message = f"{name!r} {kinds[messages.UndefinedLocal]}"
        yield Broken("name", path, line, _holder(module, line), name, message)


def imported_late(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Uses of a name that the same function imports further down, which makes it a local all over the function.

    pyflakes sees it of assignments only. Where a loop is around the import, it may have run before.
    """
    for function in (d.node for d in definitions(module) if not isinstance(d.node, ast.ClassDef)):
        own = list(own_nodes(function.body, (*DEFINITIONS, ast.Lambda, *COMPREHENSIONS)))
        late = {
            (a.asname or a.name.split(".")[0]): n.lineno for n in own[::-1] if isinstance(n, IMPORTS) for a in n.names
        }
        if not late:
            continue
        bound = _bound_otherwise(function, own)
        for n in own:
            if isinstance(n, ast.Name) and n.id in late and n.id not in bound and n.lineno < late[n.id]:
                yield n.lineno, n.id


def _bound_otherwise(function: ast.FunctionDef | ast.AsyncFunctionDef, own: list[ast.AST]) -> set[str]:
    """The names that a function binds by more than an import that runs once."""
    bound = {a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)}
    for n in own:
        if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load):
            bound.add(n.id)
        elif isinstance(n, ast.Global | ast.Nonlocal):
            bound.update(n.names)
        elif isinstance(n, ast.ExceptHandler) and n.name:
            bound.add(n.name)
        elif isinstance(n, ast.For | ast.AsyncFor | ast.While):
            inside = (i for i in ast.walk(n) if isinstance(i, IMPORTS))
            bound.update(a.asname or a.name.split(".")[0] for i in inside for a in i.names)
    return bound


def suspect(module: ast.Module, text: str, path: str) -> bool:
    """Whether some name of a module may have no binding where it is used."""
    top = symtable.symtable(text, path, "exec")
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    known = bound | MODULE_NAMES
    if "import *" in text or not _exported(module) <= known:
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


def _exported(module: ast.Module) -> set[str]:
    """The names in a literal `__all__`."""
    found = [n.value for n in module.body if isinstance(n, ast.Assign | ast.AnnAssign) and "__all__" in assigned(n)]
    listed = [e for v in found if isinstance(v, ast.List | ast.Tuple) for e in v.elts]
    return {str(e.value) for e in listed if isinstance(e, ast.Constant)}


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
        if isinstance(node, DEFINITIONS):
            names.append(node.name)
        handlers = [s for h in getattr(node, "handlers", []) for s in h.body]
        body = [*getattr(node, "body", []), *getattr(node, "orelse", []), *handlers, *getattr(node, "finalbody", [])]
