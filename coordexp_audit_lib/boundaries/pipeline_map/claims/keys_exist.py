"""Every YAML key path listed for a stage is present in the materialised config of an entrypoint, or comes from a schema
default, and the map says which.

A key that the loader no longer knows is a setting without effect: a loss weight, a packing switch or a sampling limit
that stands in the YAML, is read by nobody, and leaves the objective at a default that the run's author did not choose.

Example: `stage2_ab.bbox_ciou_weight` is set by the production file, `stage2_ab.bbox_smoothl1_weight` by its base, and
`rollout_matching.num_beams` by the schema's default."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.pipeline_map import predicates
from coordexp_audit_lib.boundaries.pipeline_map.cases import keys_request, the_map
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.keys import KEYS, Keys, KeysRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Refuse


@claim(
    severity="P1",
    kind="B",
    remedy="list the key under the name that the config has now, or take it off the map",
    per_config=True,
)
def keys_exist(ctx: Context) -> Iterator[Problem]:
    known = the_map(ctx.contract)
    entrypoint = known.entrypoint_of(ctx.config)
    answer = ctx.ask(KEYS, keys_request(ctx))
    if answer.content is None:
        ctx.judged()
        reason = answer.refusal.message if answer.refusal else ""
        message = f"the target's loader refuses the config {ctx.config}"
        yield Problem(message, ctx.config, "a materialised config", reason)
        return
    for file in answer.content.chain:
        ctx.note(Evidence(kind="key", path=file, key="extends"))
    anchored = ctx.config == entrypoint.config
    for stage in known.stages_of(entrypoint.id):
        for key in known.keys_of(stage.id, entrypoint.id):
            if not anchored and known.is_open(key.path):
                continue  # the anchored config sets it; another one may leave it to upstream
            ctx.judged()
            yield from predicates.key_exists(entrypoint.id, stage.id, key, answer.content.keys)


fault(keys_exist, "key_gone", KEYS, "the materialised config lost the packing switch")(
    answered(keys=lambda told: [k for k in told.keys if k.path != "training.packing"])
)
fault(keys_exist, "source_untold", KEYS, "values stand in the config, but nothing tells what set them")(
    answered(keys=lambda told: [replace(k, source="") if k.path.startswith("debug.") else k for k in told.keys])
)


@fault(keys_exist, "config_refused", KEYS, "the loader refuses the anchored config")
def config_refused(request: KeysRequest, honest: Callable[[KeysRequest], Keys]) -> Keys:
    raise Refuse("Unknown training keys: ['training.packing']")
