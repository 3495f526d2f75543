"""Where a named key comes from or goes: the statement that writes it, the parser that is given it, and the statement
that consumes what was read by it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.source.names import Function, definitions
from coordexp_audit_lib.source.runs import Run, covered
from coordexp_audit_lib.source.statements import Line, Statement, Statements
from coordexp_audit_lib.source.tree import Tree, assigned, find_definition

SHORTEST_PREFIX = 8


def writes(statements: Statements, run: Run, key: str) -> list[Statement]:
    """Statements that store under `key`, in functions that ran: those that ran, the last first; else those that did
    not, for what is missing was not written. What sets it by itself goes before what sets it among others."""
    ran = covered(statements, run)
    found = stores(_inside(statements, ran), key)
    order = {k: turn for turn, k in enumerate(ran)}
    done = sorted((s for s in found if s.key in ran), key=lambda s: (_among_others(s, key), -order[s.key]))
    return done or found


def written(statements: Statements, key: str, folder: str) -> list[Statement]:
    """Statements below a folder that store under `key`, or under a text that begins as it does, where it is not known
    what ran."""
    tree, start = statements.tree, key[: key.rfind("/") + 1]
    files = (p for p in tree.python_files if p.startswith(f"{folder}/") and start in _text(tree, p))
    return stores((s for path in files for s in statements.of(path)), key)


def _text(tree: Tree, path: str) -> str:
    try:
        return tree.text(path)
    except SurfaceFailed:  # what can't be read writes nothing
        return ""


def stores(candidates: Iterable[Statement], key: str) -> list[Statement]:
    """Those of the candidates that store under `key`, what sets it by itself first."""
    found = [s for s in candidates if any(_stores(n, key) for n in s.parts())]
    return sorted(found, key=lambda s: _among_others(s, key))


def parsers(statements: Statements, run: Run, parts: Sequence[str]) -> list[Statement]:
    """Where functions of the tree that were given the last of a path's parts let it pass, the last function first:
    where they consume what stands under it or under its nearest parent, or else where they begin to read (what takes
    keys out is done with them when it returns)."""
    ran, found = covered(statements, run), list[Statement]()
    for path, line, held, depth in reversed(run.holds):
        name = _starts(statements, path, line)
        mine = [s for s in ran.values() if s.path == path and s.function == name]
        if held == parts[-1] and mine:
            known = (consumed(mine, part) for part in (parts[-1], *parts[-depth:-1]))
            found.append(next((c for c in known if c), None) or _begins(mine))
    return list({s.key: s for s in found}.values())


def _begins(mine: Sequence[Statement]) -> Statement:
    """Where a function that was given a mapping begins to read its keys; where it takes them out, the return, at which
    what is left over is what nobody knows."""
    parts = [(s, n) for s in mine for n in s.parts()]
    called = [(s, n.func.attr) for s, n in parts if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    reading = [s for s, method in called if method == "get" and assigned(s.node)]
    taken_out = any(method == "pop" for _, method in called)
    return min(reading, key=lambda s: s.line) if reading and not taken_out else last_return(mine)


def reads(statements: Statements, run: Run, key: str, after: Statement | None = None) -> list[Statement]:
    """Where functions that ran consume what they read under `key`, the last first; those that ran after a statement, if
    one is given."""
    ran = covered(statements, run)
    by_function: dict[tuple[str, str], list[Statement]] = {}
    for s in ran.values():
        by_function.setdefault((s.path, s.function), []).append(s)
    found = [c for mine in by_function.values() if (c := consumed(mine, key))]
    order = {k: turn for turn, k in enumerate(ran)}
    least = order[after.key] if after else -1
    return sorted((s for s in found if order[s.key] > least), key=lambda s: -order[s.key])


def consumed(mine: Sequence[Statement], key: str) -> Statement | None:
    """Of a function's statements that ran, the one that makes something of what stands under `key`: where it is read
    by a function of its own (`x = as_float("key")`), or the first that assigns from what was read as it stands
    (`raw = given.get("key")`, then `x = float(raw)`); the reading itself if there is none. One of several texts that
    are listed (`known = {"key", "other"}`) is no reading."""
    readings = [s for s in mine if assigned(s.node) and any(_is_text(n, key) for n in s.parts()) and not _lists(s, key)]
    for reading in readings:
        names = set(assigned(reading.node))
        uses = (u for u in mine if u.line > reading.line and assigned(u.node) and names & set(_loaded(u)))
        return next(uses, reading) if _as_it_stands(reading, key) else reading
    return None


def _lists(s: Statement, key: str) -> bool:
    """Whether a key stands in a statement as one of several texts only."""
    listed = (n for n in s.parts() if isinstance(n, (ast.Set, ast.List, ast.Tuple)) and len(n.elts) > 1)
    inside = {id(e) for n in listed for e in n.elts if _is_text(e, key)}
    return bool(inside) and all(id(n) in inside for n in s.parts() if _is_text(n, key))


def mentions(statement: Statement, key: str) -> bool:
    """Whether a statement spells a key."""
    return any(_is_text(n, key) for n in statement.parts())


def line_of(statement: Statement, key: str) -> int:
    """The line on which a statement names a key, which in a mapping that it writes out is another than its first."""
    named = (n.lineno for n in statement.parts() if isinstance(n, (ast.Constant, ast.JoinedStr)) and _names(n, key))
    return next(named, statement.line)


def field(statements: Statements, path: str, function: str, key: str) -> int:
    """The line of a class's body that declares `key`, where the function checks a made instance; else 0."""
    name, _, method = function.rpartition(".")
    owner = find_definition(statements.tree.module(path), name) if method == "__post_init__" else None
    for node in owner.body if isinstance(owner, ast.ClassDef) else ():
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == key:
            return node.lineno
    return 0


def _as_it_stands(reading: Statement, key: str) -> bool:
    """Whether what is read under the key is kept as it is: by an index, or a method of what holds it."""
    value = getattr(reading.node, "value", None)
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Attribute) and any(_is_text(a, key) for a in value.args)
    return isinstance(value, ast.Subscript)


def _inside(statements: Statements, ran: dict[Line, Statement]) -> Iterator[Statement]:
    """Every statement of the functions that ran, in order of the source."""
    functions = {(s.path, s.function) for s in ran.values()}
    for path in sorted({path for path, _ in functions}):
        yield from (s for s in statements.of(path) if (path, s.function) in functions)


def _starts(statements: Statements, path: str, line: int) -> str:
    """The function whose code begins at a line (its first decorator's, if it has any)."""
    for defined in definitions(statements.tree.module(path)):
        above = [d.lineno for d in getattr(defined.node, "decorator_list", ())]
        if isinstance(defined.node, Function) and min([defined.node.lineno, *above]) == line:
            return defined.qualname
    return ""


def last_return(mine: Sequence[Statement]) -> Statement:
    """Of a function's statements that ran, the last that returns, or the last."""
    return next((s for s in reversed(mine) if isinstance(s.node, ast.Return)), mine[-1])


def _is_text(node: ast.AST, key: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == key


def _names(node: ast.AST | None, key: str) -> bool:
    """Whether an expression is the key, or a formatted text that begins as it does."""
    if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
        start = str(node.values[0].value)
        return len(start) >= SHORTEST_PREFIX and key.startswith(start)
    return node is not None and _is_text(node, key)


def _stores(node: ast.AST, key: str) -> bool:
    if isinstance(node, ast.Dict):
        return any(_names(k, key) for k in node.keys)
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
        return _names(node.slice, key) or (
            isinstance(node.slice, ast.Call) and any(_names(a, key) for a in node.slice.args)
        )
    return False


def _among_others(statement: Statement, key: str) -> bool:
    """Whether a statement sets a key in a mapping that it writes out, or under a name that is made of it."""
    return not any(
        isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store) and _names(n.slice, key)
        for n in statement.parts()
    )


def _loaded(statement: Statement) -> Iterator[str]:
    return (n.id for n in statement.parts() if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
