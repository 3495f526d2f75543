"""From where a value is stored to where it is made: back through names, casts and sums of a function, through results
of functions, and through the key under which a function hands it on. Read from the source: it needs no run."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from coordexp_audit_lib.source.keyed import stores
from coordexp_audit_lib.source.names import last_name
from coordexp_audit_lib.source.statements import Statement, Statements

CASTS = frozenset({"int", "float", "str", "bool"})
HOPS = 16


def made(statements: Statements, store: Statement, key: str) -> Statement:
    """The statement that makes the value that `store` keeps under `key`: the first on the way back that does more than
    hand it on; the store itself where there is none.

    A function is known by its name, where only one in the store's top folder has it.
    """
    folder = store.path.partition("/")[0]
    at, value = store, stored(store, key)
    for _ in range(HOPS):
        found = _before(statements, at, value, folder)
        if found is None:
            return at
        at, value = found
    return at


def stored(store: Statement, key: str) -> ast.expr | None:
    """The value that a statement keeps under a key, in a mapping that it writes out or by assignment."""
    for node in store.parts():
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            value = next((v for k, v in pairs if isinstance(k, ast.Constant) and k.value == key), None)
            if value is not None:
                return value
    return getattr(store.node, "value", None)


def _before(
    statements: Statements, at: Statement, value: ast.expr | None, folder: str
) -> tuple[Statement, ast.expr | None] | None:
    value = _plain(value)
    if isinstance(value, ast.Name):
        return _assigned(statements.of(at.path), at, value.id)
    handed = _handed(value)
    if handed:
        holder, key = handed
        source = _assigned(statements.of(at.path), at, holder)
        call = _plain(source[1]) if source else None
        for inside in _called(statements, call, folder):
            found = stores(inside, key)
            if found:
                return found[-1], stored(found[-1], key)
        return None
    for inside in _called(statements, value, folder):
        returns = [s for s in inside if isinstance(s.node, ast.Return) and not isinstance(_value(s), ast.Constant)]
        if returns:
            return returns[-1], _value(returns[-1])
    return None


def _plain(value: ast.expr | None) -> ast.expr | None:
    """A value without the casts around it."""
    while isinstance(value, ast.Call) and last_name(value.func) in CASTS and len(value.args) == 1:
        value = value.args[0]
    return value


def _handed(value: ast.expr | None) -> tuple[str, str] | None:
    """The name and the key of `name["key"]` or `name.get("key", …)`."""
    if isinstance(value, ast.Subscript) and isinstance(value.value, ast.Name):
        holder, key = value.value.id, value.slice
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "get":
        if not isinstance(value.func.value, ast.Name) or not value.args:
            return None
        holder, key = value.func.value.id, value.args[0]
    else:
        return None
    return (holder, key.value) if isinstance(key, ast.Constant) and isinstance(key.value, str) else None


def _assigned(all_of: Iterable[Statement], at: Statement, name: str) -> tuple[Statement, ast.expr | None] | None:
    """The last statement before `at`, in its function, that gives `name` a value that is no constant."""
    before = [s for s in all_of if s.function == at.function and s.line < at.line]
    for s in reversed(before):
        targets = s.node.targets if isinstance(s.node, ast.Assign) else [getattr(s.node, "target", None)]
        names = any(isinstance(t, ast.Name) and t.id == name for t in targets)
        if names and isinstance(s.node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and not _is_constant(s):
            return s, _value(s)
    return None


def _value(s: Statement) -> ast.expr | None:
    value: ast.expr | None = getattr(s.node, "value", None)
    return value


def _is_constant(s: Statement) -> bool:
    value = _value(s)
    empty = isinstance(value, (ast.Dict, ast.List)) and not ast.unparse(value).strip("{}[]")
    return value is None or isinstance(value, ast.Constant) or empty


def _called(statements: Statements, call: ast.expr | None, folder: str) -> Iterator[list[Statement]]:
    """The statements of the function that a call names, if only one below the folder has the name."""
    name = last_name(call.func) if isinstance(call, ast.Call) else ""
    if not name or name in CASTS:
        return
    found: dict[tuple[str, str], list[Statement]] = {}
    for path in (p for p in statements.tree.python_files if p.startswith(f"{folder}/")):
        if f"def {name}(" in statements.tree.text(path):
            for s in statements.of(path):
                if s.function.rpartition(".")[2] == name:
                    found.setdefault((path, s.function), []).append(s)
    if len(found) == 1:
        yield from found.values()
