"""What a module takes of another package: names that it imports, and the keywords that it gives to its classes."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import msgspec

from coordexp_audit_lib.source.tree import children, walk


class Use(msgspec.Struct, frozen=True):
    """symbol: `module:name`. inside: only when a function is called. keywords: given where it is called."""

    symbol: str
    path: str
    line: int
    inside: bool = False
    keywords: tuple[str, ...] = ()


def uses_of(tree: ast.Module, path: str, package: str) -> Iterator[Use]:
    """Uses of the package in a module. An import that the module can do without is none: under a condition, or in a
    `try` of which a handler goes on; nor is one for type checkers."""
    names: dict[str, str] = {}
    for node, inside, spared in _statements(tree, False, False):
        if not isinstance(node, ast.ImportFrom) or node.level or (node.module or "").split(".")[0] != package:
            continue
        for alias in node.names:
            symbol = f"{node.module}:{alias.name}"
            names[alias.asname or alias.name] = symbol
            if not spared and alias.name != "*":
                yield Use(symbol, path, node.lineno, inside)
    yield from _calls(tree, path, names)


def _statements(node: ast.AST, inside: bool, spared: bool) -> Iterator[tuple[ast.stmt, bool, bool]]:
    """Every statement, whether it stands in a function, and whether what fails in it is caught or may not run."""
    for child in children(node):
        if not isinstance(child, ast.stmt | ast.ExceptHandler):
            continue
        if isinstance(child, ast.stmt):
            yield child, inside, spared
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        goes_on = isinstance(child, ast.Try) and not all(_raises(h) for h in child.handlers)
        may_not_run = isinstance(child, ast.If | ast.ExceptHandler) or goes_on
        yield from _statements(child, inside or function, spared or may_not_run)


def _raises(handler: ast.ExceptHandler) -> bool:
    return bool(handler.body) and isinstance(handler.body[-1], ast.Raise)


def _calls(tree: ast.Module, path: str, names: dict[str, str]) -> Iterator[Use]:
    """Calls of the imported names with keywords: those that stand there, and those of a dictionary made in the same
    function, where they are put into it whatever happens."""
    functions = [n for n in walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in functions:
        given = _dictionaries(function)
        for call in (n for n in walk(function) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)):
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            if name not in names or not names[name].rpartition(":")[2][:1].isupper():
                continue
            spread = [k.value.id for k in call.keywords if k.arg is None and isinstance(k.value, ast.Name)]
            keywords = {k.arg for k in call.keywords if k.arg} | {k for s in spread for k in given.get(s, ())}
            if keywords:
                yield Use(names[name], path, call.lineno, True, tuple(sorted(keywords)))


def _dictionaries(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, set[str]]:
    """The keys that the function's own dictionaries surely have, by name: statements at its top, and in loops over a
    list of constants there."""
    found: dict[str, set[str]] = {}
    for statement in function.body:
        for name, key in _puts(statement, {}):
            found.setdefault(name, set()).add(key)
    return found


def _puts(statement: ast.stmt, loop: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    if isinstance(statement, ast.For) and isinstance(statement.target, ast.Name):
        values = statement.iter.elts if isinstance(statement.iter, ast.List | ast.Tuple) else []
        texts = [v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)]
        for below in statement.body:
            yield from _puts(below, {**loop, statement.target.id: texts})
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return
    target, value = statement.targets[0], statement.value
    if isinstance(target, ast.Name) and isinstance(value, ast.Dict):
        keys = [k.value for k in value.keys if isinstance(k, ast.Constant) and isinstance(k.value, str)]
        yield from ((target.id, key) for key in keys)
    if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
        if isinstance(target.slice, ast.Constant) and isinstance(target.slice.value, str):
            yield target.value.id, target.slice.value
        elif isinstance(target.slice, ast.Name):
            yield from ((target.value.id, key) for key in loop.get(target.slice.id, ()))
