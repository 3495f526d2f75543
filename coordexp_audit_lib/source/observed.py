"""What a package has of the symbols that are asked about, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterable

import griffe

from coordexp_audit_lib.kit import bodies
from coordexp_audit_lib.source import classes
from coordexp_audit_lib.source.archive import Unreadable
from coordexp_audit_lib.source.facts import Ask, Level, Parameter, ParameterKind, Seen
from coordexp_audit_lib.source.package import Absent, Package, Place
from coordexp_audit_lib.source.tree import module_name

_KINDS: dict[str, ParameterKind] = {
    "positional-only": "positional",
    "positional or keyword": "normal",
    "keyword-only": "keyword",
    "variadic positional": "args",
    "variadic keyword": "kwargs",
}
Found = tuple[str, Place]


def see(package: Package, ask: Ask) -> Seen:
    """What the release has of one symbol. Never raises for what stands in the source."""
    try:
        found = _first(package, ask)
        if isinstance(found, Absent):
            return Seen(ask.symbol, found.status, why=found.why)  # type: ignore[arg-type]
        return _seen(package, ask, *found)
    except Unreadable as error:
        return Seen(ask.symbol, "undecided", why=str(error))
    except RecursionError:
        return Seen(ask.symbol, "undecided", why="its source is nested too deep")


def _first(package: Package, ask: Ask) -> Found | Absent:
    """The first candidate that is there; else a definition of the same name elsewhere in the package."""
    qualname = ask.symbol.partition(":")[2]
    head = qualname.partition(".")[0]
    answers = []
    candidates = [ask.symbol, *ask.homes]
    for candidate in candidates:
        answer = package.resolve(candidate)
        if isinstance(answer, Place):
            return candidate, answer
        answers.append(_told(package, candidate, answer))
        if candidate == ask.symbol and answer.status == "undecided":
            return answer
        if candidate == candidates[-1] and head and not any(a.why.endswith(f"of {head}") for a in answers):
            elsewhere = (f"{module_name(p)}:{qualname}" for p in package.mentioning(head))
            candidates += [c for c in elsewhere if c not in candidates]
    return min(answers, key=lambda a: (a.status == "gone", not a.why.startswith("no member")))


def _told(package: Package, candidate: str, answer: Absent) -> Absent:
    """Whether the class is there, and the member alone is not."""
    holder, dot, name = candidate.rpartition(".")
    if answer.status == "gone" and dot and ":" in holder and isinstance(package.resolve(holder), Place):
        return Absent("gone", f"no member {name} of {holder.partition(':')[2]}")
    return answer


def _seen(package: Package, ask: Ask, reached: str, place: Place) -> Seen:
    node = package.node(place) if place.griffe is not None or not place.qualname else None
    order = classes.linearised(package, place)
    levels, bound = (_levels(package, reached, place, order) if ask.call else None), _bound(place)
    body = node if node is not None else ast.Module([], [])
    return Seen(
        ask.symbol,
        "found",
        reached,
        place.symbol,
        package.path(place.module) or "",
        getattr(node, "lineno", 1),
        place.griffe.kind.value if place.griffe else ("module" if not place.qualname else "attribute"),
        bound,
        levels,
        bodies.uses_first_parameter(body),
        [f for f in classes.fields(package, place) if f.name in ask.fields] if ask.fields else [],
        [m for m in ask.members if isinstance(classes.member(package, place, m), Place)],
        bodies.words(body, ask.words),
        bodies.expressions(body, ask.expressions),
        classes.keys(package.tree(place.module), place.qualname, ask.keys) if ask.keys else [],
        classes.outside(order),
    )


def _bound(place: Place) -> str:
    if isinstance(place.griffe, griffe.Function) and "." in place.qualname:
        return "class" if {"staticmethod", "classmethod"} & place.griffe.labels else "self"
    return ""


def _levels(package: Package, reached: str, place: Place, order: list[Place | str]) -> list[Level] | None:
    """The signatures that a call meets. None: there is none to be read."""
    if isinstance(place.griffe, griffe.Function):
        owner = package.resolve(reached.rpartition(".")[0]) if "." in reached.partition(":")[2] else place
        line = classes.linearised(package, owner) if isinstance(owner, Place) else []
        return _chain(package, line, place.griffe.name) if line else [_level(package, place, place.griffe)]
    if not isinstance(place.griffe, griffe.Class):
        return None
    for base in order:
        if isinstance(base, str):
            return None
        if isinstance(base.griffe, griffe.Class):
            if isinstance(base.griffe.members.get("__init__"), griffe.Function):
                return _chain(package, order, "__init__")
            if fields := list(classes.fields(package, base)):
                return [Level(base.symbol, [Parameter(f.name, "normal", not f.default) for f in fields])]
    return []


def _chain(package: Package, order: Iterable[Place | str], name: str) -> list[Level]:
    """The method's definitions along the bases, as far as each hands its `**kwargs` on to the next."""
    levels: list[Level] = []
    for owner in order:
        if isinstance(owner, str):
            return [*levels, Level(owner, [Parameter("kwargs", "kwargs", False)])]
        found = owner.griffe.members.get(name) if owner.griffe else None
        if not isinstance(found, griffe.Function):
            continue
        here = Place(owner.module, f"{owner.qualname}.{name}", found)
        levels.append(_level(package, here, found))
        if not bodies.handed_to_super(package.node(here)):
            break
    return levels


def _level(package: Package, place: Place, found: griffe.Function) -> Level:
    parameters = [Parameter(p.name, _KINDS[p.kind.value], p.required) for p in found.parameters if p.kind is not None]
    if "." in place.qualname and "staticmethod" not in found.labels:
        parameters = parameters[1:]
    return Level(place.symbol, parameters, bodies.own_keywords(package.node(place)))
