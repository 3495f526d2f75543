"""A short training run on the CPU with the project's own `training_step`, `compute_loss` and `log`.

Left out: the optimizer (weights stay, so that losses are the same in every run) and the upstream `log`, which is where
rows are taken. Stand-ins: the text that generation gives, and `time.perf_counter`, which ticks once a look, so that
seconds are the same in every run while what is summed, reduced and divided is the project's own doing.
"""

import contextlib
import math
import time

from coordexp_audit_lib.pipelines.coordexp.answers import trainer_harness as harness

SETTINGS = "settings of the harness"
TICK = 0.125


def train(request, rank, cls, world):
    """The rows that this rank logs, one a step."""
    made = make_trainer(request, rank, cls, world)
    rows: list[dict[str, object]] = []
    texts: list[str] = []
    take_rows(cls, rows)
    made._rollout_many = lambda chunk, **_: [generated(texts.pop(0), s, world) for s in chunk]
    gt = [{"desc": o["desc"], "bbox": o["bbox"]} for o in request["gt"]]
    with ticking():
        for step, by_rank in enumerate(request["rollouts"]):
            made.state.global_step = step
            texts[:] = by_rank[rank]
            try:
                for _ in by_rank[rank]:
                    made.training_step(world.model, [harness.sample(gt)])
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
    stage2 = {
        "schedule": {"b_ratio": request["b_ratio"]},
        "n_softctx_iter": 1,
        "softctx_grad_mode": "unroll",
        "softctx_temperature": 1.0,
        "desc_ce_weight": 1.0,
        "bbox_smoothl1_weight": 1.0,
        "bbox_ciou_weight": 1.0,
        "channel_b": {"drop_invalid_struct_ce_multiplier": 1.0},
    }
    matching = {
        "rollout_backend": "hf",
        "decode_mode": "greedy",
        "decode_batch_size": 4,
        "max_new_tokens": 4096,
        "maskiou_gate": 0.3,
        "candidate_top_k": 5,
        "maskiou_resolution": 128,
        "fp_cost": 1.0,
        "fn_cost": 1.0,
        "decoding": {"temperature": 0.0},
        "packing_enabled": True,
        "packing_length": request["packing_length"],
        "packing_buffer": 64,
        "packing_min_fill_ratio": 0.1,
        "packing_drop_last": True,
    }
    made = harness.make_trainer(cls, world, seed=request["seed"], stage2=stage2, matching=matching)
    made.args.gradient_accumulation_steps = made.current_gradient_accumulation_steps = samples
    made.args.world_size, made.args.process_index = size, rank
    made.compute_loss_context_manager = contextlib.nullcontext
    return made


def take_rows(cls, rows):
    """Let the upstream `log`, the last in the chain, keep what it is given. In a rank's own process only."""
    for base in cls.__mro__:
        if base.__module__.split(".")[0] in ("swift", "transformers") and "log" in vars(base):
            base.log = lambda self, logs, *args, **kwargs: rows.append(dict(logs))
            return
    raise RuntimeError("no upstream class of the trainer has a `log`")


def generated(text, sample, world):
    ids = [*world.tokenizer.encode(text, add_special_tokens=False), 151645]
    return ids, text, "greedy", harness.prompt_ids(world.template, sample)


@contextlib.contextmanager
def ticking():
    """A clock that moves by `TICK` at each look."""
    looks, real = [0], time.perf_counter

    def tick():
        looks[0] += 1
        return looks[0] * TICK

    time.perf_counter = tick
    try:
        yield
    finally:
        time.perf_counter = real


def portable(row):
    """Numbers as JSON can hold them: losses and diagnostics to four digits, for their last bits are the machine's."""
    made: dict[str, object] = {}
    for key, value in sorted(row.items()):
        number = float(value)
        if not math.isfinite(number):
            made[str(key)] = repr(number)
        elif str(key).startswith(("loss/", "coord_diag/")) and number != int(number):
            made[str(key)] = float("%.4g" % number)
        else:
            made[str(key)] = number
    return made
