"""Classes read in source: their order of bases, their members wherever those are set, their dataclass fields."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

import griffe

from coordexp_audit_lib.kit import bodies
from coordexp_audit_lib.source import spelling
from coordexp_audit_lib.source.archive import Unreadable
from coordexp_audit_lib.source.facts import FieldSeen
from coordexp_audit_lib.source.package import GONE, Absent, Answer, Package, Place
from coordexp_audit_lib.source.tree import statements, text_of

MAX_LINE = 100
_STRUCTS = ("Struct", "BaseModel", "NamedTuple", "TypedDict", "PydanticMsgspecMixin")
_PLAIN = ("object", "Generic", "Protocol", "ABC", "abc.ABC", "Enum", "str", "dict")


def linearised(package: Package, place: Place, seen: frozenset[str] = frozenset()) -> list[Place | str]:
    """The class and its bases in the order in which Python looks for members (C3).

    A base that is not in this package is a string; where no consistent order exists, depth first is taken.

    Raises:
        Unreadable: a class has more than `MAX_LINE` bases one above the other.
    """
    node = place.griffe
    if not isinstance(node, griffe.Class) or place.symbol in seen:
        return []
    if len(seen) > MAX_LINE:
        raise Unreadable(f"more than {MAX_LINE} classes, each the base of the next")
    if place.symbol not in package.orders:
        package.orders[place.symbol] = [place, *_bases(package, place, node, seen | {place.symbol})]
    return package.orders[place.symbol]


def _bases(package: Package, place: Place, node: griffe.Class, seen: frozenset[str]) -> list[Place | str]:
    chains: list[list[Place | str]] = []
    for base in node.bases:
        text = str(base).partition("[")[0]
        found = package.dotted(place.module, text) if text.replace(".", "").isidentifier() else GONE
        if isinstance(found, Place) and isinstance(found.griffe, griffe.Class):
            chains.append(linearised(package, found, seen))
        elif text.rpartition(".")[2] not in _PLAIN:
            chains.append([found.why or text if isinstance(found, Absent) else found.symbol])
    return _merged(chains)


def _merged(chains: list[list[Place | str]]) -> list[Place | str]:
    rest = [list(c) for c in [*chains, [c[0] for c in chains if c]] if c]
    order: list[Place | str] = []
    while rest:
        heads = [c[0] for c in rest]
        taken = next((h for h in heads if not any(_key(h) in map(_key, c[1:]) for c in rest)), heads[0])
        order.append(taken)
        rest = [[x for x in c if _key(x) != _key(taken)] for c in rest]
        rest = [c for c in rest if c]
    return order


def _key(item: Place | str) -> str:
    return item if isinstance(item, str) else item.symbol


def outside(order: list[Place | str]) -> list[str]:
    """The bases that are not in this package, where members may come from that nothing here decides."""
    return sorted(base for base in order if isinstance(base, str))


def member(package: Package, place: Place, name: str) -> Answer:
    """Where `name` of a module or class is defined: on itself or on a base, also where a method sets it on `self`."""
    if not place.qualname:
        return package.find(place.module, name)
    order = linearised(package, place)
    for owner in order:
        if isinstance(owner, Place) and isinstance(owner.griffe, griffe.Class):
            found = owner.griffe.members.get(name)
            if isinstance(found, griffe.Object) and found.runtime:
                return _aliased(package, owner, name, found)
            if isinstance(found, griffe.Alias):
                return package.dotted(owner.module, found.target_path.rpartition(".")[2])
            if name in bodies.set_on_self(package.node(owner)):
                return Place(owner.module, f"{owner.qualname}.{name}")
    away = outside(order)
    return Absent("outside", ", ".join(away)) if away else GONE


def _aliased(package: Package, owner: Place, name: str, found: griffe.Object) -> Answer:
    """`old = new` in a class body is the method that `new` is."""
    if isinstance(found, griffe.Attribute) and str(found.value).isidentifier():
        other = owner.griffe.members.get(str(found.value)) if owner.griffe else None
        if isinstance(other, griffe.Function):
            return Place(owner.module, f"{owner.qualname}.{found.value}", other)
    return Place(owner.module, f"{owner.qualname}.{name}", found)


def fields(package: Package, place: Place) -> Iterator[FieldSeen]:
    """The fields of a dataclass or struct with those that it inherits, the nearest definition of each."""
    known: set[str] = set()
    for owner in linearised(package, place):
        if not isinstance(owner, Place) or not isinstance(owner.griffe, griffe.Class) or not _has_fields(owner.griffe):
            continue
        for name, found in owner.griffe.members.items():
            node = package.node(Place(owner.module, f"{owner.qualname}.{name}")) if name not in known else None
            if isinstance(found, griffe.Attribute) and isinstance(node, ast.AnnAssign):
                annotation = ast.unparse(node.annotation)
                if "ClassVar" not in annotation:
                    known.add(name)
                    default = spelling.default(ast.unparse(node.value)) if node.value else spelling.REQUIRED
                    yield FieldSeen(name, annotation, default)


def _has_fields(node: griffe.Class) -> bool:
    decorated = any("dataclass" in str(d.value) for d in node.decorators)
    return decorated or any(str(b).partition("[")[0].rpartition(".")[2] in _STRUCTS for b in node.bases)


def keys(tree: ast.Module, name: str, wanted: Iterable[str]) -> list[str]:
    """Those of the wanted keys that the mapping `name` gets at the top of a module."""
    there: set[str] = set()
    for node in statements(tree.body):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        for target in targets:
            if isinstance(target, ast.Name) and target.id == name and isinstance(value, ast.Dict):
                there |= {text for text in map(text_of, value.keys) if text is not None}
            elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name) and target.value.id == name:
                there.add(text_of(target.slice) or "")
    return sorted(set(wanted) & there)
