"""Packed evaluation: how a CoordExp tree reads it from a config, and whether its launcher lets it through.

The template and the arguments are objects with the one number that the parser asks of them.
"""

from types import SimpleNamespace

from coordexp_audit_lib.pipelines.api import Refused, binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.harness.configs import typed

READ = {"parse": symbols.PARSE_PACKING, "load": symbols.MATERIALISE}
LENGTH = 12000


def read(request, here):
    """The parsed packing settings, the `training` section that they were read from, and the trainer variant."""
    training, variant = {}, ""
    if request["config"]:
        config = typed(here, request["config"])
        training = dict(config.training or {})
        variant = str(getattr(config.custom, "trainer_variant", None) or "")
    training.update(request["training"])
    lengths = SimpleNamespace(max_length=LENGTH, max_model_len=LENGTH)
    return here.call(here.parse, training, lengths, lengths), training, variant


@binds("packing.eval_plan", **READ, rollout=symbols.IS_ROLLOUT_VARIANT.optional)
def eval_plan(request, here):
    parsed, training, variant = read(request, here)
    asked = training.get("eval_packing")
    named = variant.startswith(("rollout_matching", "stage2"))
    return {
        **{"packing": bool(parsed.enabled), "eval_packing": bool(parsed.eval_packing)},
        **{"asked": None if asked is None else bool(asked), "variant": variant},
        "rollout": named if here.rollout is None else bool(here.call(here.rollout, variant)),
    }


@binds("packing.policy", check=symbols.STATIC_PACKING_POLICY, **READ)
def policy(request, here):
    try:
        parsed, _, variant = read(request, here)
    except Refused as error:
        raise RuntimeError("the config could not be read: " + error.told) from error
    here.call(here.check, packing_cfg=parsed, trainer_variant=variant or None)
    return {"allowed": True}
