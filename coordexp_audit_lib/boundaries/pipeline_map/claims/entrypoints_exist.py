"""Both anchored launchers and both anchored configs exist, and each launcher starts the module it is said to start
(src/sft.py; the Stage-2 one also swift rollout).

Everything else that the audit says is about what these two launches run. Where a launcher starts another program, or a
Stage-2 run has no server of its own to ask for rollouts, the objective that is audited is not the one that is trained.

Example: a launcher that builds `RUN=(torchrun -m train)` and never runs `"${RUN[@]}"` starts nothing."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.pipeline_map import predicates
from coordexp_audit_lib.boundaries.pipeline_map.cases import entrypoints_request, the_map
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.entrypoints import ENTRYPOINTS
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P0",
    kind="S",
    remedy="restore the launcher or the config, or anchor the audit to the entrypoints that replaced them",
)
def entrypoints_exist(ctx: Context) -> Iterator[Problem]:
    known = the_map(ctx.contract)
    by_id = {e.id: e for e in ctx.value(ENTRYPOINTS, entrypoints_request(ctx, known)).entrypoints}
    for e in known.entrypoints:
        ctx.judged(2 + len(e.must_start))
        if e.id not in by_id:
            yield Problem(f"nothing is said about {e.title}", e.id, "an answer", "none")
            continue
        for s in by_id[e.id].starts:
            ctx.note(Evidence(kind="symbol", path=s.path, line=s.line, symbol=f"starts {s.kind} {s.what}"))
        yield from predicates.entrypoint(e, by_id[e.id])


fault(
    entrypoints_exist, "server_not_started", ENTRYPOINTS, "the Stage-2 launcher starts training but no rollout server"
)(
    answered(
        entrypoints=lambda t: [replace(e, starts=[s for s in e.starts if s.kind != "command"]) for e in t.entrypoints]
    )
)
fault(
    entrypoints_exist,
    "launcher_gone",
    ENTRYPOINTS,
    "a launcher and the anchored config of its entrypoint are not in the tree",
)(
    answered(
        entrypoints=lambda t: [
            replace(e, launcher_exists=False, config_exists=False, starts=[]) if e is t.entrypoints[0] else e
            for e in t.entrypoints
        ]
    )
)
fault(entrypoints_exist, "bad_substitution", ENTRYPOINTS, "the launcher expands ${:-900}, at which bash stops")(
    answered(entrypoints=lambda t: [replace(e, refused_at=27) if e is t.entrypoints[1] else e for e in t.entrypoints])
)
fault(entrypoints_exist, "module_gone", ENTRYPOINTS, "the launchers start a module that is not in the tree")(
    answered(entrypoints=lambda t: [replace(e, starts=[replace(s, file="") for s in e.starts]) for e in t.entrypoints])
)
