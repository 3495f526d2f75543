"""How a CoordExp tree answers the surfaces of boundary 09, metrics."""

import hashlib
import json

from coordexp_audit_lib.pipelines.api import Refused, Unbound, binds
from coordexp_audit_lib.pipelines.coordexp.answers import metrics_run
from coordexp_audit_lib.pipelines.coordexp.answers import trainer_harness as harness
from coordexp_audit_lib.pipelines.coordexp.answers.metrics_ranks import RankFailed, on_ranks

MODULES = ("src.trainers.stage2_ab_training:", "src.trainers.stage2_two_channel:")
TRAINER = tuple(m + "Stage2ABTrainingTrainer" for m in MODULES)
PENDING = tuple(m + "_PendingStage2Log" for m in MODULES)
MIXINS = (
    "src.trainers.stage2_ab.scheduler:Stage2ABSchedulerMixin",
    "src.trainers.stage2_two_channel.scheduler:Stage2ABSchedulerMixin",
)
RATIO = tuple(m + "._stage2_b_ratio_realized" for m in MIXINS)
RECORD = tuple(m + "._stage2_record_realized_step" for m in MIXINS)
LOG = tuple(t + ".log" for t in TRAINER)
REDUCE = tuple(t + "._reduce_stage2_pending_metrics_global" for t in TRAINER)
STEP = tuple(t + ".training_step" for t in TRAINER)
_KEPT: "dict[str, tuple[object, Exception | None]]" = {}


def kept(name, request, answer):
    """Several checks ask the same; it is run once, and a refusal is given again."""
    key = name + hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    if key not in _KEPT:
        try:
            _KEPT[key] = answer(), None
        except (Unbound, Refused) as error:
            _KEPT[key] = None, error
    value, refused = _KEPT[key]
    if refused is not None:
        raise refused
    return value


@binds("metrics.realized", ratio=RATIO, record=RECORD, trainer=TRAINER)
def realized(request, here):
    """The trainer's own rule, record and ratio, step by step, as its `training_step` calls them."""
    made = harness.make_trainer(here.trainer, None, stage2={"schedule": {"b_ratio": request["b_ratio"]}})
    channels, ratios = [], []

    def follow():
        for step in range(request["steps"]):
            channels.append(made._stage2_channel_for_step(step))
            made._stage2_record_realized_step(global_step=step, executed_b=channels[-1] == "B")
            ratios.append(float(made._stage2_b_ratio_realized()))

    here.call(follow)
    return {"channels": "".join(channels), "ratios": ratios}


@binds("metrics.accumulate", pending=PENDING, reduce=REDUCE, trainer=TRAINER)
def accumulate(request, here):
    """Every rank adds its micro-steps to the project's own accumulator, finishes it, and reduces with the others."""
    pending, trainer = here.pending, here.trainer

    def rank_does(rank):
        made = harness.make_trainer(trainer, None)
        log = pending()
        for micro in request["ranks"][rank]:
            log.add({**micro["metrics"], "stage2/_log_weight": micro["weight"]})
        reduced = made._reduce_stage2_pending_metrics_global(log.finalize(drop_internal=False))
        return metrics_run.portable(reduced)

    def ask():
        harness.settle()
        return {"ranks": ranks(here, len(request["ranks"]), rank_does)}

    return kept("accumulate", request, ask)


@binds("metrics.log", log=LOG, step=STEP, trainer=TRAINER)
def log(request, here):
    """A run of the project's own training step and log on two gloo ranks; only generation and time are stand-ins."""
    trainer = here.trainer

    def ask():
        world = harness.world(here)
        rows = ranks(here, len(request["rollouts"][0]), lambda rank: metrics_run.train(request, rank, trainer, world))
        return {"rows": rows[0]}

    return kept("log", request, ask)


def ranks(here, size, function):
    """Run on ranks; an error of the settings is no answer about metrics, any other is the target's refusal."""
    try:
        return on_ranks(here, size, function)
    except RankFailed as failed:
        if metrics_run.SETTINGS in str(failed):
            raise Unbound(
                "the trainer refuses the settings that the harness gives it: " + str(failed)[:300]
            ) from failed
        raise Refused(failed.kind or "RankFailed", str(failed)) from failed
