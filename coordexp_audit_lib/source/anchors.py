"""Places that are named and not numbered: a symbol with a statement in it, or a key of a config."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Iterator, Sequence

import yaml

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.source.names import Function, last_name, resolve
from coordexp_audit_lib.source.statements import Statement, Statements
from coordexp_audit_lib.source.tree import Tree, assigned

MOST_FILES = 20


def anchored(tree: Tree, statements: Statements, symbols: Sequence[str], at: str = "") -> Where | None:
    """The place of the first of `symbols` that the tree has; of the first statement in it that calls, assigns or spells
    `at`, where that is given, or with parentheses makes that call. None where the tree has neither."""
    for symbol in symbols:
        found = tree.locate(symbol) or resolve(tree, symbol)
        if found is None:
            continue
        name = found.symbol.partition(":")[2]
        mine = [s for s in statements.of(found.path) if s.function == name or s.function.startswith(f"{name}.")]
        if not at:
            return mine[0].where if mine else found.where
        place = next((s for s in mine if _mentions(s, at)), None)
        if place is not None:
            return place.where
    return None


def _mentions(statement: Statement, at: str) -> bool:
    if isinstance(statement.node, Function):
        return False
    named = at in assigned(statement.node)
    return named or any(
        (isinstance(n, ast.Call) and at in (last_name(n.func), ast.unparse(n) if "(" in at else ""))
        or (isinstance(n, ast.Constant) and n.value == at)
        for n in statement.parts()
    )


def config_line(tree: Tree, config: str, key: str) -> Where | None:
    """The line that sets a dotted key for a config: in its own file, or in the nearest that it extends."""
    for path in _chain(tree, config):
        line = _line_in(tree, path, key.split("."))
        if line:
            return Where(path, line, key)
    return None


def _chain(tree: Tree, config: str) -> Iterator[str]:
    """A config and what it extends, nearest first; of several parents the last goes first, for it wins."""
    waiting, seen = [config], set[str]()
    while waiting and len(seen) < MOST_FILES:
        path = waiting.pop(0)
        if path in seen or not tree.exists(path):
            continue
        seen.add(path)
        yield path
        node = _node(tree, path)
        parents = next((v for k, v in _pairs(node) if k in ("extends", "inherit")), None)
        named = parents.value if isinstance(parents, yaml.SequenceNode) else [parents] if parents else []
        folder = posixpath.dirname(path)
        waiting += [posixpath.normpath(posixpath.join(folder, str(n.value))) for n in reversed(named)]


def _line_in(tree: Tree, path: str, parts: Sequence[str]) -> int:
    node, line = _node(tree, path), 0
    for part in parts:
        pair = next(((k, v) for k, v in _raw_pairs(node) if k.value == part), None)
        if pair is None:
            return 0
        line, node = pair[0].start_mark.line + 1, pair[1]
    return line


def _node(tree: Tree, path: str) -> yaml.Node | None:
    try:
        return yaml.compose(tree.text(path), Loader=yaml.SafeLoader)
    except (SurfaceFailed, yaml.YAMLError, RecursionError):
        return None


def _raw_pairs(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return list(node.value) if isinstance(node, yaml.MappingNode) else []


def _pairs(node: yaml.Node | None) -> list[tuple[str, yaml.Node]]:
    return [(str(k.value), v) for k, v in _raw_pairs(node)]
