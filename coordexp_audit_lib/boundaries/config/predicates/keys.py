"""Which keys stand twice in one mapping of a YAML file: read from its nodes, for what is loaded has forgotten them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import yaml

from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.source.parsing import yaml_nodes

MERGE = "tag:yaml.org,2002:merge"  # `<<` may stand more than once: each mapping that it names is merged


class Twice(msgspec.Struct, frozen=True):
    """A key that its mapping had already. key: the dotted path. lines: of the one before and of this one, 1-based.
    same: whether both have the same value, so that nothing is lost."""

    key: str
    lines: tuple[int, int]
    same: bool


class KeyedFile(msgspec.Struct, frozen=True):
    """A config file: the number of its mappings, and the keys that one of them has twice. unread: why it could not be
    read; empty if it could."""

    path: str
    mappings: int
    twice: list[Twice]
    unread: str = ""


def keyed_file(path: str, content: str) -> KeyedFile:
    """Keys are compared by the values that they are read as, so that `a` and `"a"` are one key."""
    try:
        roots, loader = yaml_nodes(content)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return KeyedFile(path, 0, [], " ".join(str(error).split())[:200])
    found, twice = 0, list[Twice]()
    for mapping, above in _mappings(roots):
        found += 1
        known: dict[Any, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in mapping.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE:
                continue
            name = _read_as(loader, key)
            before = known.get(name)
            known[name] = key, value
            if before is not None:
                lines = before[0].start_mark.line + 1, key.start_mark.line + 1
                same = _written(content, before[1]) == _written(content, value)
                twice.append(Twice(".".join((*above, str(key.value))), lines, same))
    return KeyedFile(path, found, sorted(twice, key=lambda t: t.lines))


def _mappings(roots: Sequence[yaml.Node]) -> Iterator[tuple[yaml.MappingNode, tuple[str, ...]]]:
    """Each mapping once, however many aliases name it, with the keys and indices that lead to it."""
    waiting: list[tuple[yaml.Node, tuple[str, ...]]] = [(root, ()) for root in roots]
    seen = set[int]()
    while waiting:
        node, above = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield node, above
            waiting += [(value, (*above, str(getattr(key, "value", "")))) for key, value in reversed(node.value)]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(value, (*above, str(i))) for i, value in enumerate(node.value)]


def _read_as(loader: Any, key: yaml.ScalarNode) -> Any:
    try:
        return loader.construct_object(key)
    except (yaml.YAMLError, ValueError):  # a date that there is not
        return key.tag, key.value


def _written(content: str, node: yaml.Node) -> tuple[str, str]:
    text = node.value if isinstance(node, yaml.ScalarNode) else content[node.start_mark.index : node.end_mark.index]
    return node.tag, " ".join(text.split())


def keys_once(files: Sequence[KeyedFile], ledger: Ledger) -> Iterator[Problem]:
    """No mapping of a file gives a key twice. Counts mappings."""
    for file in files:
        ledger.judged(file.mappings)
        if file.unread:
            ledger.left_out(file.path, file.unread)
        for one in file.twice:
            first, second = one.lines
            if one.same:
                message = "a key stands twice in one mapping, with one value: changing the first has no effect"
            else:
                message = "a key stands twice in one mapping: the second value counts, the first is lost"
            yield Problem(
                message,
                f"{file.path}: {one.key}",
                "each key once",
                f"lines {first} and {second}",
                where=Where(file.path, second),
                severity="P2" if one.same else None,
                kind="the same value twice" if one.same else "a value is lost",
            )
