"""What must be true of a pipeline map, over what the target answers."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from coordexp_audit_lib.boundaries.pipeline_map.cases import Entrypoint, Key, Stage
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.code import Code
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.entrypoints import StartedEntrypoint
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.key_reads import KeyReads, StageReads
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.keys import KeyValue
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.owners import ResolvedOwner
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.problem import Problem


def entrypoint(entrypoint: Entrypoint, seen: StartedEntrypoint) -> Iterator[Problem]:
    """A launcher that stands, a config that stands, and everything started that must be."""
    where = Where(seen.launcher, 1, "") if seen.launcher_exists else None
    if not seen.launcher_exists:
        yield Problem(f"the launcher of {entrypoint.title} is not in the tree", entrypoint.launcher, True, False)
    if not seen.config_exists:
        message = f"the anchored config of {entrypoint.title} is not in the tree"
        yield Problem(message, entrypoint.config, True, False, where=Where(seen.config))
    if seen.refused_at:
        message, line = (
            f"{seen.launcher} stops at an expansion of no variable, before it starts anything",
            seen.refused_at,
        )
        yield Problem(message, entrypoint.id, "a name in ${…}", "none", where=Where(seen.launcher, line))
    started = [[s.kind, s.what] for s in seen.starts]
    for kind, what in entrypoint.must_start if seen.launcher_exists else ():
        found = [s for s in seen.starts if (s.kind, s.what) == (kind, what)]
        if not found:
            message = f"{seen.launcher} does not start {what}"
            yield Problem(message, entrypoint.id, [kind, what], started, where=where)
        elif kind == "module" and not found[0].file:
            message = f"{seen.launcher} starts the module {what}, which is not in the tree"
            yield Problem(message, entrypoint.id, what, None, where=Where(found[0].path, found[0].line))


def broken_code(code: Code, kinds: tuple[str, ...]) -> Iterator[Problem]:
    """What is broken, of some kinds."""
    for b in code.broken:
        if b.kind in kinds:
            yield Problem(b.message, b.symbol or b.path, where=Where(b.path, b.line, b.symbol))


def stage_owners(entrypoint: str, stage: Stage, found: list[ResolvedOwner]) -> Iterator[Problem]:
    """At least one owner that stands, and every owner that stands with its place."""
    standing = [o for o in found if o.status != "missing"]
    if not standing:
        names = sorted(o.asked for o in found)
        message = f"no owner of the stage {stage.title!r} stands in the tree"
        yield Problem(message, f"{entrypoint}/{stage.id}", "an owner", "none", names)
    for o in standing:
        if not (o.path and o.line >= 1 and o.symbol and o.digest):
            message = f"the owner {o.asked} is said to stand in the tree, but without file, line, symbol and digest"
            wanted, shown = "path:line symbol digest", msgspec.to_builtins(o)
            yield Problem(message, f"{entrypoint}/{stage.id}", wanted, shown, o.asked)


def key_exists(entrypoint: str, stage: str, key: Key, values: list[KeyValue]) -> Iterator[Problem]:
    """The key path is a leaf, or a subtree, of the materialised config, and the source of its value is told."""
    found = [v for v in values if key.holds(v.path)]
    if not found and not _null_above(key.path, values):
        message = f"the map lists {key.path} for the stage {stage!r}, but the materialised config has no such key"
        yield Problem(message, f"{entrypoint}/{stage}", key.path, None, key.path)
    for v in found:
        if not v.source:
            message = f"{v.path} is in the materialised config, but it is not told which file or default set it"
            yield Problem(message, f"{entrypoint}/{stage}", "a YAML file or a schema default", v.source, v.path)


def _null_above(path: str, values: list[KeyValue]) -> bool:
    """Whether a section above the path is present and null, so that its keys have their defaults."""
    parts = path.split(".")
    above = {".".join(parts[:n]) for n in range(2, len(parts))}
    return any(v.path in above and v.value == "null" for v in values)


def key_read(reads: StageReads, key: Key, answer: KeyReads) -> Iterator[Problem]:
    """An owner module reads the key, or its section goes upstream with the key still in it."""
    subject, section = f"{reads.entrypoint}/{reads.stage}", key.path.split(".")[0]
    seen = next((r for r in reads.reads if r.path == key.path), None)
    passes = f"{key.path} is said to pass through to upstream, but"
    if key.via == "read" and (seen is None or not seen.places):
        message = f"no owner module of the stage {reads.stage!r} reads {key.path}"
        at = seen.elsewhere[0] if seen and seen.elsewhere else None
        where = Where(at.path, at.line, at.symbol) if at else None
        only = msgspec.to_builtins(at) if at else "read nowhere"
        yield Problem(message, subject, "a place in the stage's modules", only, key.path, where=where)
    elif key.via != "read" and not any(f.section == section for f in answer.forwards):
        message = f"{passes} nothing hands the section {section!r} over"
        yield Problem(message, subject, section, None, key.path)
    elif key.via != "read" and key.path in answer.withheld:
        message = f"{passes} it is taken out before the hand-over"
        yield Problem(message, subject, "handed over", "taken out", key.path)
