"""How a CoordExp tree answers the surfaces of boundary 09, metrics.

A run is short, on the CPU, with the project's own `training_step`, `compute_loss` and `log`. Left out: the optimizer
(weights stay, so that losses are the same in every run) and the upstream `log`, which is where rows are taken. Given:
the text of generation, and a `time.perf_counter` that ticks once a look, so that seconds are the same in every run
while what is summed, reduced and divided is the project's own doing.
"""

import contextlib
import itertools
import math
import time

from coordexp_audit_lib.kit.model import settle
from coordexp_audit_lib.kit.ranks import RankFailed, on_ranks
from coordexp_audit_lib.kit.stand_ins import replaced
from coordexp_audit_lib.pipelines.api import Refused, binds, remembered
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.harness import trainer as harness
from coordexp_audit_lib.pipelines.coordexp.harness.trainer import upstream_bases

SETTINGS = "settings of the harness"
TICK = 0.125


@binds("metrics.realized", ratio=symbols.REALIZED_RATIO, record=symbols.RECORD_REALIZED, trainer=symbols.STAGE2_TRAINER)
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


@binds("metrics.accumulate", pending=symbols.PENDING_LOG, reduce=symbols.STAGE2_REDUCE, trainer=symbols.STAGE2_TRAINER)
@remembered
def accumulate(request, here):
    """Every rank adds its micro-steps to the project's own accumulator, finishes it, and reduces with the others."""
    return {"ranks": reduced(here, [[(m["metrics"], m["weight"]) for m in rank] for rank in request["ranks"]])}


@binds(
    "metrics.reduce",
    shared=symbols.REDUCE_METRICS.optional,
    reduce=symbols.STAGE2_REDUCE,
    pending=symbols.PENDING_LOG,
    trainer=symbols.STAGE2_TRAINER,
)
def reduce(request, here):
    """As `accumulate`, of one micro-step a rank; named for the function that brings the ranks' values together."""
    return {"ranks": reduced(here, [[(dict(pairs), 1.0)] for pairs in request["ranks"]])}


def reduced(here, steps):
    """What each rank is left with of its micro-steps, (metrics, weight) each."""
    pending, trainer = here.pending, here.trainer

    def rank_does(rank):
        made = harness.make_trainer(trainer, None)
        log = pending()
        for metrics, weight in steps[rank]:
            log.add({**metrics, "stage2/_log_weight": weight})
        return portable(made._reduce_stage2_pending_metrics_global(log.finalize(drop_internal=False)))

    settle()
    return ranks(here, len(steps), rank_does)


@binds("metrics.log", log=symbols.STAGE2_LOG, step=symbols.STAGE2_STEP, trainer=symbols.STAGE2_TRAINER)
@remembered
def log(request, here):
    """A run of the project's own training step and log on two gloo ranks; only generation and time are stand-ins."""
    trainer, world = here.trainer, harness.world(here)
    return {"rows": ranks(here, len(request["rollouts"][0]), lambda rank: train(request, rank, trainer, world))[0]}


def ranks(here, size, function):
    """Run on ranks; an error of the settings is no answer about metrics, any other is the target's refusal."""
    try:
        return on_ranks(here, size, function)
    except RankFailed as failed:
        if SETTINGS in str(failed):
            raise harness.unfit(failed) from failed
        raise Refused(failed.kind or "RankFailed", str(failed)) from failed


def train(request, rank, cls, world):
    """The rows that this rank logs, one a step."""
    made = make_trainer(request, rank, cls, world)
    world.model.requires_grad_(False)  # nothing that is logged depends on gradients; in a rank's own process only
    rows: list[dict[str, object]] = []
    texts: list[str] = []
    take_rows(cls, rows)
    made._rollout_many = harness.replaying(lambda one: harness.generated(world, texts.pop(0), one))
    with ticking():
        for step, by_rank in enumerate(request["rollouts"]):
            made.state.global_step = step
            texts[:] = by_rank[rank]
            try:
                for _ in by_rank[rank]:
                    made.training_step(world.model, [harness.sample(request["gt"])])
            except Exception as error:
                if step == 0 and type(error).__name__ in ("ValueError", "TypeError", "AttributeError", "KeyError"):
                    raise RuntimeError("%s: %s: %s" % (SETTINGS, type(error).__name__, error)) from error
                raise
            world.model.zero_grad(set_to_none=True)
            made.state.global_step = step + 1
            made.log({"loss": 1.0 / (step + 1)})
    return [portable(row) for row in rows]


def make_trainer(request, rank, cls, world):
    size, samples = len(request["rollouts"][0]), len(request["rollouts"][0][rank])
    stage2 = {**harness.STAGE2, "schedule": {"b_ratio": request["b_ratio"]}}
    chosen = {"candidate_top_k": 5, "maskiou_resolution": 128}
    packs = {"packing_enabled": True, "packing_length": request["packing_length"]}
    matching = {**harness.MATCHING, **chosen, **packs}
    made = harness.make_trainer(cls, world, seed=request["seed"], stage2=stage2, matching=matching)
    made.args.gradient_accumulation_steps = made.current_gradient_accumulation_steps = samples
    made.args.world_size, made.args.process_index = size, rank
    made.compute_loss_context_manager = contextlib.nullcontext
    made.accelerator.backward = lambda loss: None
    return made


def take_rows(cls, rows):
    """Let the upstream `log`, the last in the chain, keep what it is given. In a rank's own process only."""
    bases = upstream_bases(cls, "log")
    if not bases:
        raise RuntimeError("no upstream class of the trainer has a `log`")
    bases[0].log = lambda self, logs, *args, **kwargs: rows.append(dict(logs))


@contextlib.contextmanager
def ticking():
    """A clock that moves by `TICK` at each look."""
    looks = itertools.count(1)
    with replaced(time, perf_counter=lambda: next(looks) * TICK):
        yield


def portable(row):
    """Numbers as JSON can hold them: losses and diagnostics to four digits, for their last bits are the machine's."""
    made: dict[str, object] = {}
    for key, value in sorted(row.items()):
        number = float(value)
        inexact = str(key).startswith(("loss/", "coord_diag/")) and not number.is_integer()
        made[str(key)] = float("%.4g" % number) if inexact else number
        if not math.isfinite(number):
            made[str(key)] = repr(number)
    return made
