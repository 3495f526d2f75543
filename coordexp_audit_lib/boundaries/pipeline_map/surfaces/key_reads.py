"""Where the owner modules of each stage read each key path, from the source alone."""

from __future__ import annotations

import ast

import msgspec

from coordexp_audit_lib.boundaries.pipeline_map.surfaces.owners import OwnerNames, OwnersRequest, owners
from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.core.surface import surface
from coordexp_audit_lib.source.names import replaced_methods
from coordexp_audit_lib.source.origins import ARGS, Chain, Program, Step
from coordexp_audit_lib.source.tree import Tree

SHOWN = 3  # places kept for each key; all are counted
_FORMS = ("get", "accessor", "getattr", "pop", "item", "attribute", "setdefault")


class StageQuestion(msgspec.Struct, frozen=True):
    """owners: the stage's owners, each with its candidate names. paths: the key paths to look for in their modules."""

    entrypoint: str
    stage: str
    owners: list[OwnerNames]
    paths: list[str]


class KeyReadsRequest(msgspec.Struct, frozen=True):
    """forwarders: functions that hand whole sections over to upstream, where they are flattened into one object."""

    stages: list[StageQuestion]
    forwarders: OwnerNames
    sections: list[str]


class Place(msgspec.Struct, frozen=True):
    """form: `get`, `getattr`, `item`, `attribute`, `pop`, or `accessor` for a function that takes the key."""

    path: str
    line: int
    symbol: str
    form: str


class PathReads(msgspec.Struct, frozen=True):
    """places: the first few, those in the stage's own functions first; count: how many there are.

    elsewhere: where nothing in the stage's modules reads the key, the first place in another stage's that does.
    replaced: the subclass, if every place is in a method that it replaces, so that the key drives nothing there.
    """

    path: str
    places: list[Place]
    count: int
    elsewhere: list[Place] = []
    replaced: str = ""


class StageReads(msgspec.Struct, frozen=True):
    entrypoint: str
    stage: str
    reads: list[PathReads]


class Forward(msgspec.Struct, frozen=True):
    """A section that is handed over whole, and where."""

    section: str
    place: Place


class KeyReads(msgspec.Struct, frozen=True):
    """withheld: keys of forwarded sections that the forwarder takes out before the hand-over."""

    stages: list[StageReads]
    forwards: list[Forward]
    withheld: list[str]


def key_reads(tree: Tree, request: KeyReadsRequest) -> KeyReads:
    """Read every owner module together, then look each path up among the places that take keys."""
    standing = _standing(tree, request)
    modules = {}
    for found in standing.values():
        for path, _ in found:
            module = _module(tree, path)
            if module is not None:
                modules[path] = module
    index = _Index(Program(modules), request.sections, replaced_methods(modules))
    stages = []
    for q in request.stages:
        mine = [place for o in q.owners for place in standing[tuple(o.names)]]
        stages.append(StageReads(q.entrypoint, q.stage, [_reads(index, path, mine) for path in q.paths]))
    forwarders = standing[tuple(request.forwarders.names)]
    forwards = [f for s in request.sections for f in _forward(index, s, forwarders)]
    return KeyReads(stages, forwards, _withheld(index, request, forwarders))


def _standing(tree: Tree, request: KeyReadsRequest) -> dict[tuple[str, ...], list[tuple[str, str]]]:
    """Names of an owner -> its file and qualified name, as a list of one or none."""
    asked = [*(o for q in request.stages for o in q.owners), request.forwarders]
    names = sorted({tuple(o.names) for o in asked})
    found = owners(tree, OwnersRequest([OwnerNames(list(n)) for n in names])).owners
    return {n: [(o.path, o.symbol.partition(":")[2])] if o.path else [] for n, o in zip(names, found, strict=True)}


def _module(tree: Tree, path: str) -> ast.Module | None:
    try:
        return tree.module(path)
    except SurfaceFailed:
        return None


class _Index:
    """The places that take a key, by the key they take last."""

    def __init__(self, program: Program, sections: list[str], replaced: dict[tuple[str, str], str]) -> None:
        self.sections, self.replaced = frozenset(sections), replaced
        self.by_key: dict[str, list[tuple[Step, Chain]]] = {}
        for step in program.steps:
            for chain in sorted(step.chains):
                if chain:
                    self.by_key.setdefault(chain[-1], []).append((step, chain))

    def of(self, path: str) -> list[Step]:
        """The places that read a key path, without doubles, in order of file and line."""
        parts = tuple(path.split("."))
        found = {(s.path, s.line, s.form): s for s, chain in self.by_key.get(parts[-1], []) if self._fits(chain, parts)}
        return [found[k] for k in sorted(found)]

    def by(self, step: Step) -> str:
        """The subclass that replaces the method in which a step stands; empty if none does."""
        return self.replaced.get((step.path, ".".join(step.symbol.split(".")[:2])), "")

    def _fits(self, chain: Chain, parts: Chain) -> bool:
        """A chain fits a path if one ends with the other and at least two keys agree; upstream's object is flat."""
        if chain[0] == ARGS:
            return parts[0] in self.sections and chain[1:] == parts[1:]
        n = min(len(chain), len(parts))
        return chain[-n:] == parts[-n:] and (n >= 2 or len(parts) == 1)


def _reads(index: _Index, path: str, mine: list[tuple[str, str]]) -> PathReads:
    files = {p for p, _ in mine}
    found = [s for s in index.of(path) if s.path in files]
    best = sorted(found, key=lambda s: (bool(index.by(s)), not _inside(s, mine), _FORMS.index(s.form), s.path, s.line))
    elsewhere = [] if found else index.of(path)[:1]
    count = len({(s.path, s.line) for s in found})
    replaced = index.by(best[0]) if best else ""
    return PathReads(path, [_place(s) for s in best[:SHOWN]], count, [_place(s) for s in elsewhere], replaced)


def _inside(step: Step, mine: list[tuple[str, str]]) -> bool:
    return any(step.path == p and (step.symbol + ".").startswith(f"{q}.") for p, q in mine)


def _place(step: Step) -> Place:
    return Place(step.path, step.line, step.symbol, step.form)


def _forward(index: _Index, section: str, forwarders: list[tuple[str, str]]) -> list[Forward]:
    """Where a forwarder takes a whole section."""
    found = [s for s in index.of(section) if _inside(s, forwarders)]
    return [Forward(section, _place(found[0]))] if found else []


def _withheld(index: _Index, request: KeyReadsRequest, forwarders: list[tuple[str, str]]) -> list[str]:
    paths = {p for q in request.stages for p in q.paths if p.split(".")[0] in index.sections}
    return sorted(p for p in paths if any(s.form == "pop" and _inside(s, forwarders) for s in index.of(p)))


KEY_READS = surface(
    "pipeline_map.key_reads",
    KeyReadsRequest,
    KeyReads,
    "where each key path is read, and where sections go upstream",
    static=key_reads,
)
