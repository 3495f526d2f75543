"""One optimizer step of the project's own Stage-2 trainer over the packs that it makes of its samples."""

import contextlib

from coordexp_audit_lib.kit import varlen
from coordexp_audit_lib.kit.replies import ROUNDING
from coordexp_audit_lib.pipelines.api import Refused, binds, remembered
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.answers.packing.forward import stage2
from coordexp_audit_lib.pipelines.coordexp.harness import trainer as harness
from coordexp_audit_lib.pipelines.coordexp.harness import wording


@binds("packing.step", step_b=symbols.STEP_B, step_a=symbols.STEP_A, trainer=symbols.STAGE2_TRAINER)
@remembered
def step(request, here):
    """The step's own function; only generation is given, and the optimizer left out."""
    world = harness.world(here)
    samples = [harness.sample(things(n)) for n in request["objects"]]
    made = stage2(here, world, True)
    made.rollout_matching_cfg["packing_length"] = request["packing_length"]
    made.compute_loss_context_manager = contextlib.nullcontext
    made._rollout_many = lambda chunk, **_: [harness.generated(world, found(one), one) for one in chunk]
    packs, loss_of = [], made.compute_loss

    def noted(model, batch, **more):
        packs.append(len(batch["_rollout_matching_meta"]))
        return loss_of(model, batch, **more).detach().requires_grad_() * 1.0  # no gradient is looked at

    made.compute_loss = noted
    run = getattr(made, (symbols.STEP_A if request["channel"] == "A" else symbols.STEP_B).member)
    try:
        with varlen.attending(world.model, "varlen"):
            loss = here.call(run, world.model, raw_samples=samples, global_step=0)
    except Refused as refused:
        if here.trainer.__module__ == symbols.STAGE2[0]:
            raise
        raise harness.unfit(refused.told) from refused
    finally:
        world.model.zero_grad(set_to_none=True)
    return {"packs": packs, "loss": portable(float(loss))}


def portable(loss):
    """What processors share: as many digits as are not rounding."""
    return round(loss, 4) if abs(loss) > ROUNDING else 0.0


def things(count):
    return [{"desc": "thing %d" % i, "bbox": [10 * i, 10 * i, 10 * i + 300, 10 * i + 300]} for i in range(count)]


def found(one):
    """A rollout that finds every object."""
    records = (
        '{"desc": "%s", "bbox_2d": [%s]}' % (o["desc"], ", ".join(o["bbox_2d"]))
        for o in wording.objects_of(one["assistant_payload"])
    )
    return '{"objects": [' + ", ".join(records) + "]}"
