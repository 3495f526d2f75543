"""The claims of boundary 01."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.pipeline_map import contract, questions
from coordexp_audit_lib.boundaries.pipeline_map.keys import keys_of
from coordexp_audit_lib.boundaries.pipeline_map.stages import ENTRYPOINTS, entrypoint_of, stages_of
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.finding import Violation

SPEC = "audit requirement: Audit produces a pipeline map"


@invariant(
    "pipeline_map.entrypoints_exist",
    boundary="pipeline_map",
    severity="P0",
    kind="S",
    claim="Both anchored launchers and both anchored configs exist, and each launcher starts the module it is said to "
    "start (src/sft.py; the Stage-2 one also swift rollout).",
    remedy="restore the launcher or the config, or anchor the audit to the entrypoints that replaced them",
    spec=SPEC,
)
def entrypoints_exist(ctx: Context) -> Iterator[Violation]:
    answer = ctx.value(contract.ENTRYPOINTS, questions.entrypoints(ctx))
    by_id = {e.id: e for e in answer.entrypoints}
    for e in ENTRYPOINTS:
        ctx.judged(2 + len(e.must_start))
        if e.id not in by_id:
            yield Violation(f"nothing is said about {e.title}", e.id, "an answer", "none")
            continue
        for s in by_id[e.id].starts:
            ctx.note(Evidence(kind="symbol", path=s.path, line=s.line, symbol=f"starts {s.kind} {s.what}"))
        yield from contract.judge_entrypoint(e, by_id[e.id])


@invariant(
    "pipeline_map.owners_resolve",
    boundary="pipeline_map",
    severity="P1",
    kind="S",
    claim="Every stage has at least one owner, each resolved to file, line and symbol at the audited commit; an owner "
    "that moved is reported as moved, one that is gone as missing.",
    remedy="name the function that does the stage's work now, as a further candidate of the owner",
    spec=SPEC,
)
def owners_resolve(ctx: Context) -> Iterator[Violation]:
    found = questions.resolved_owners(ctx)
    states: dict[str, int] = {"found": 0, "moved": 0, "missing": 0}
    for o in dict.fromkeys(found.values()):
        states[o.status] = states.get(o.status, 0) + 1
        if o.status == "missing":
            ctx.fact("missing owner", o.asked)
        else:
            note = o.asked if o.status == "moved" else None
            ctx.note(Evidence("symbol", o.path, o.line, o.symbol, digest=o.digest, value=note and f"moved from {note}"))
    for status, count in sorted(states.items()):
        ctx.fact(f"owners {status}", count)
    for e in ENTRYPOINTS:
        for stage in stages_of(e.id):
            asked = questions.names_of(stage.id, e.id)
            ctx.judged(len(asked))
            yield from contract.judge_stage_owners(e.id, stage, [found[n[0]] for n in asked if n[0] in found])


@invariant(
    "pipeline_map.keys_exist",
    boundary="pipeline_map",
    severity="P1",
    kind="B",
    claim="Every YAML key path listed for a stage is present in the materialised config of an entrypoint, or comes "
    "from a schema default, and the map says which.",
    remedy="list the key under the name that the config has now, or take it off the map",
    spec=SPEC,
    per_config=True,
)
def keys_exist(ctx: Context) -> Iterator[Violation]:
    entrypoint = entrypoint_of(ctx.config)
    answer = ctx.ask(contract.KEYS, questions.keys(ctx))
    if answer.content is None:
        ctx.judged()
        reason = answer.refusal.message if answer.refusal else ""
        yield Violation(
            f"the target's loader refuses the config {ctx.config}", ctx.config, "a materialised config", reason
        )
        return
    for file in answer.content.chain:
        ctx.note(Evidence(kind="key", path=file, key="extends"))
    anchored = ctx.config == entrypoint.config
    for stage in stages_of(entrypoint.id):
        for key in keys_of(stage.id, entrypoint.id):
            if not anchored and contract.is_open(key.path):
                continue  # the anchored config sets it; another one may leave it to upstream
            ctx.judged()
            yield from contract.judge_key_exists(entrypoint.id, stage.id, key, answer.content.keys)


@invariant(
    "pipeline_map.keys_are_read",
    boundary="pipeline_map",
    severity="P2",
    kind="S",
    claim="Every listed key path is read in an owner module of its stage (file and line), or the map says that it is "
    "passed through to upstream.",
    remedy="name the module that reads the key now as an owner of the stage, or take the key off the map",
    spec=SPEC,
)
def keys_are_read(ctx: Context) -> Iterator[Violation]:
    answer = ctx.value(contract.KEY_READS, questions.key_reads())
    by_stage = {(s.entrypoint, s.stage): s for s in answer.stages}
    for f in answer.forwards:
        ctx.note(Evidence("key", f.place.path, f.place.line, f.place.symbol, f.section, value="passed through whole"))
    for e in ENTRYPOINTS:
        for stage in stages_of(e.id):
            reads = by_stage.get((e.id, stage.id)) or contract.StageReads(e.id, stage.id, [])
            for r in reads.reads:
                if r.replaced:
                    ctx.fact("read only in a method that a subclass replaces", f"{r.path} ({r.replaced})")
            for key in keys_of(stage.id, e.id):
                ctx.judged()
                yield from contract.judge_key_read(reads, key, answer)
