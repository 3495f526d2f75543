"""The pipeline map's questions, and the predicates over their answers."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from coordexp_audit_lib.boundaries.pipeline_map import key_scan, resolve
from coordexp_audit_lib.boundaries.pipeline_map.key_scan import KeyReads, KeyReadsRequest, StageReads
from coordexp_audit_lib.boundaries.pipeline_map.keys import Key
from coordexp_audit_lib.boundaries.pipeline_map.resolve import (
    Entrypoints,
    EntrypointsRequest,
    Owners,
    OwnersRequest,
    ResolvedOwner,
    StartedEntrypoint,
)
from coordexp_audit_lib.boundaries.pipeline_map.stages import UPSTREAM_SECTIONS, Entrypoint, Stage
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.surface import surface


class KeysRequest(msgspec.Struct, frozen=True):
    """config: path of a YAML file in the tree."""

    config: str


class KeyValue(msgspec.Struct, frozen=True):
    """A leaf of the materialised config.

    path: dotted, `[]` for a list of mappings. source: the YAML file in the chain that set it last, `schema default`,
    or `loader` where neither holds. value: JSON text of a short value, else its kind, size and digest.
    """

    path: str
    source: str
    value: str


class Keys(msgspec.Struct, frozen=True):
    """chain: the YAML files that were merged, the most basic first. keys: every leaf, sorted by path."""

    chain: list[str]
    keys: list[KeyValue]


ENTRYPOINTS = surface(
    "pipeline_map.entrypoints",
    EntrypointsRequest,
    Entrypoints,
    "what each launcher starts, read from its text",
    static=resolve.entrypoints,
)
OWNERS = surface(
    "pipeline_map.owners", OwnersRequest, Owners, "each owner's file, line, symbol and digest", static=resolve.owners
)
KEY_READS = surface(
    "pipeline_map.key_reads",
    KeyReadsRequest,
    KeyReads,
    "where each key path is read, and where sections go upstream",
    static=key_scan.key_reads,
)
KEYS = surface(
    "pipeline_map.keys", KeysRequest, Keys, "the materialised config's key paths, each with its value's source"
)


def judge_entrypoint(entrypoint: Entrypoint, seen: StartedEntrypoint) -> Iterator[Violation]:
    """A launcher that stands, a config that stands, and everything started that must be."""
    where = Where(seen.launcher, 1, "") if seen.launcher_exists else None
    if not seen.launcher_exists:
        yield Violation(f"the launcher of {entrypoint.title} is not in the tree", entrypoint.launcher, True, False)
    if not seen.config_exists:
        message = f"the anchored config of {entrypoint.title} is not in the tree"
        yield Violation(message, entrypoint.config, True, False, where=Where(seen.config))
    started = [[s.kind, s.what] for s in seen.starts]
    for kind, what in entrypoint.must_start if seen.launcher_exists else ():
        found = [s for s in seen.starts if (s.kind, s.what) == (kind, what)]
        if not found:
            message = f"{seen.launcher} does not start {what}"
            yield Violation(message, entrypoint.id, [kind, what], started, where=where)
        elif kind == "module" and not found[0].file:
            message = f"{seen.launcher} starts the module {what}, which is not in the tree"
            yield Violation(message, entrypoint.id, what, None, where=Where(found[0].path, found[0].line))


def judge_stage_owners(entrypoint: str, stage: Stage, found: list[ResolvedOwner]) -> Iterator[Violation]:
    """At least one owner that stands, and every owner that stands with its place."""
    standing = [o for o in found if o.status != "missing"]
    if not standing:
        names = sorted(o.asked for o in found)
        message = f"no owner of the stage {stage.title!r} stands in the tree"
        yield Violation(message, f"{entrypoint}/{stage.id}", "an owner", "none", names)
    for o in standing:
        if not (o.path and o.line >= 1 and o.symbol and o.digest):
            message = f"the owner {o.asked} is said to stand in the tree, but without file, line, symbol and digest"
            yield Violation(
                message, f"{entrypoint}/{stage.id}", "path:line symbol digest", msgspec.to_builtins(o), o.asked
            )


def judge_key_exists(entrypoint: str, stage: str, key: Key, values: list[KeyValue]) -> Iterator[Violation]:
    """The key path is a leaf, or a subtree, of the materialised config, and the source of its value is told."""
    found = [v for v in values if key.covers(v.path) or v.path.startswith((f"{key.path}.", f"{key.path}["))]
    if not found and not _null_above(key.path, values):
        message = f"the map lists {key.path} for the stage {stage!r}, but the materialised config has no such key"
        yield Violation(message, f"{entrypoint}/{stage}", key.path, None, key.path)
    for v in found:
        if not v.source:
            message = f"{v.path} is in the materialised config, but it is not told which file or default set it"
            yield Violation(message, f"{entrypoint}/{stage}", "a YAML file or a schema default", v.source, v.path)


def is_open(path: str) -> bool:
    """Whether a key lies in a section that holds only what a config puts there, without defaults of its own."""
    return path.split(".", maxsplit=1)[0] in UPSTREAM_SECTIONS or path.startswith("custom.extra.")


def _null_above(path: str, values: list[KeyValue]) -> bool:
    """Whether a section above the path is present and null, so that its keys have their defaults."""
    parts = path.split(".")
    above = {".".join(parts[:n]) for n in range(2, len(parts))}
    return any(v.path in above and v.value == "null" for v in values)


def judge_key_read(reads: StageReads, key: Key, answer: KeyReads) -> Iterator[Violation]:
    """An owner module reads the key, or its section goes upstream with the key still in it."""
    seen = next((r for r in reads.reads if r.path == key.path), None)
    if key.via == "read":
        if seen is None or not seen.places:
            message = f"no owner module of the stage {reads.stage!r} reads {key.path}"
            at = seen.elsewhere[0] if seen and seen.elsewhere else None
            where = Where(at.path, at.line, at.symbol) if at else None
            only = msgspec.to_builtins(at) if at else "read nowhere"
            subject = f"{reads.entrypoint}/{reads.stage}"
            yield Violation(message, subject, "a place in the stage's modules", only, key.path, where)
        return
    section = key.path.split(".")[0]
    if not any(f.section == section for f in answer.forwards):
        message = f"{key.path} is said to pass through to upstream, but nothing hands the section {section!r} over"
        yield Violation(message, f"{reads.entrypoint}/{reads.stage}", section, None, key.path)
    elif key.path in answer.withheld:
        message = f"{key.path} is said to pass through to upstream, but it is taken out before the hand-over"
        yield Violation(message, f"{reads.entrypoint}/{reads.stage}", "handed over", "taken out", key.path)


__all__ = [
    "ENTRYPOINTS",
    "KEYS",
    "KEY_READS",
    "OWNERS",
    "KeyReads",
    "KeyValue",
    "Keys",
    "KeysRequest",
    "ResolvedOwner",
    "StageReads",
    "StartedEntrypoint",
    "is_open",
    "judge_entrypoint",
    "judge_key_exists",
    "judge_key_read",
    "judge_stage_owners",
]
