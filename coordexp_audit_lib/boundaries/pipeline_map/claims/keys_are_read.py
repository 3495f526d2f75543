"""Every listed key path is read in an owner module of its stage (file and line), or the map says that it is passed
through to upstream.

A key that is parsed and then read by nobody is worse than an unknown one: the config says that a term has a weight, and
the loss is computed without it. The two runs of an ablation over such a key are the same run.

Example: a schema parses the weight of a loss term, and no code of the stage reads it: the term keeps weight 1."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.pipeline_map import predicates
from coordexp_audit_lib.boundaries.pipeline_map.cases import key_reads_request, the_map
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.key_reads import KEY_READS, StageReads
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P2",
    kind="S",
    remedy="name the module that reads the key now as an owner of the stage, or take the key off the map",
)
def keys_are_read(ctx: Context) -> Iterator[Problem]:
    known = the_map(ctx.contract)
    answer = ctx.value(KEY_READS, key_reads_request(known))
    by_stage = {(s.entrypoint, s.stage): s for s in answer.stages}
    for f in answer.forwards:
        ctx.note(Evidence("key", f.place.path, f.place.line, f.place.symbol, f.section, value="passed through whole"))
    for e in known.entrypoints:
        for stage in known.stages_of(e.id):
            reads = by_stage.get((e.id, stage.id)) or StageReads(e.id, stage.id, [])
            for r in reads.reads:
                if r.replaced:
                    ctx.fact("read only in a method that a subclass replaces", f"{r.path} ({r.replaced})")
            for key in known.keys_of(stage.id, e.id):
                ctx.judged()
                yield from predicates.key_read(reads, key, answer)


def _unread(told: list[StageReads], endings: tuple[str, ...]) -> list[StageReads]:
    return [
        replace(s, reads=[replace(r, places=[], count=0) if r.path.endswith(endings) else r for r in s.reads])
        for s in told
    ]


fault(keys_are_read, "key_unread", KEY_READS, "no owner reads the coordinate loss's weights any more")(
    answered(stages=lambda told: _unread(told.stages, (".soft_ce_weight", ".w1_weight")))
)
fault(keys_are_read, "section_not_forwarded", KEY_READS, "the data section is no longer handed over to upstream")(
    answered(forwards=lambda told: [f for f in told.forwards if f.section != "data"])
)
fault(
    keys_are_read,
    "key_withheld",
    KEY_READS,
    "a key that should pass through to upstream is taken out before the hand-over",
)(answered(withheld=lambda told: ["training.max_grad_norm"]))
