"""Made-up right logs of every trainer without a finding, and as many with one random fault, each of which is told.

    python benchmarks/logs_right_and_wrong.py [HOW_MANY]

Prints one JSON line: how many logs of each writer were judged, the false alarms, and how many broken ones were told.
"""

from __future__ import annotations

import json
import math
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.metrics.artifact.run import audit_log

Rows = list[dict[str, Any]]


def swift(rng: random.Random, steps: list[int], total: int) -> Rows:
    more = rng.choice(
        ({}, {"token_acc": 0.5}, {"reward": 0.1, "kl": 0.0, "completions/mean_length": 31.5}, {"jsd_loss": 0.2})
    )
    speed = rng.choice(("train_speed(iter/s)", "train_speed(s/it)"))
    rows: Rows = [
        {"loss": rng.random(), "grad_norm": rng.random(), "learning_rate": 1e-5, **more, "epoch": s / total}
        | {"global_step/max_steps": f"{s}/{total}", "elapsed_time": f"{s}s", speed: rng.random()}
        for s in steps
    ]
    if rng.random() < 0.5:
        place = {"epoch": 1.0, "global_step/max_steps": f"{total}/{total}"}
        rows += [{"eval_loss": rng.random(), **place}, {"train_runtime": 9.1, "train_loss": 0.5, **place}]
        rows.append(
            {"last_model_checkpoint": "out", "best_metric": None, "global_step": total, "log_history": rows[:1]}
        )
    return rows


def trainer(rng: random.Random, steps: list[int], total: int) -> Rows:
    rows: Rows = []
    for s in steps:
        rows.append(
            {"loss": rng.random(), "learning_rate": 1e-5, "grad_norm": rng.random(), "epoch": s / total, "step": s}
        )
        if rng.random() < 0.2:
            rows.append({"eval_loss": rng.random(), "eval_runtime": 1.5, "epoch": s / total, "step": s})
    return [*rows, {"train_runtime": 3.2, "train_loss": 0.1, "total_flos": 0.0, "step": total, "epoch": 1.0}]


def factory(rng: random.Random, steps: list[int], total: int) -> Rows:
    columns = rng.choice(({}, dict.fromkeys(("eval_loss", "predict_loss", "reward")), {"accuracy": [None, None]}))
    place = {"total_steps": total, "elapsed_time": "0:00:10", "remaining_time": "0:01:30"}
    return [
        {"current_steps": s, **place, **columns, "loss": rng.random(), "lr": 1e-5, "percentage": 50.0} for s in steps
    ]


def megatron(rng: random.Random, steps: list[int], total: int) -> Rows:
    return [{"loss": rng.random(), "grad_norm": 1.5, "iteration": f"{s}/{total}", "elapsed_time": "3s"} for s in steps]


WRITERS = {"ms-swift": swift, "transformers and TRL": trainer, "LLaMA-Factory": factory, "Megatron": megatron}


def made(rng: random.Random, name: str) -> Rows:
    """A right log: one start, or one that was resumed or started again."""
    every, n = rng.choice((1, 5, 10)), rng.randrange(6, 30)
    steps = [every * k for k in range(1, n + 1)]
    rows = WRITERS[name](rng, steps, steps[-1])
    if name != "Megatron" and rng.random() < 0.2:
        rows = WRITERS[name](rng, steps[: rng.randrange(3, n)], steps[-1]) + rows
    return rows


def _set(value: Any) -> Callable[[random.Random, Rows], Rows]:
    def broken(rng: random.Random, rows: Rows) -> Rows:
        row = rng.choice([r for r in rows if "loss" in r])
        row["loss"] = value
        return rows

    return broken


def _twice(rng: random.Random, rows: Rows) -> Rows:
    return [copy for row in rows for copy in ((row, {**row, "elapsed_time": "1s"}) if "loss" in row else (row,))]


def _from_some_step(rng: random.Random, rows: Rows) -> Rows:
    train = [r for r in rows if "loss" in r]
    at = rows.index(rng.choice(train[:-2]))
    return rows[:at] + _twice(rng, rows[at:])


def _two_runs(rng: random.Random, rows: Rows) -> Rows:
    return [copy for row in rows for copy in ((row, {**row, "loss": row["loss"] + 0.1}) if "loss" in row else (row,))]


def _in_a_list(rng: random.Random, rows: Rows) -> Rows:
    rng.choice(rows[:-1] or rows)["values"] = [0.5, rng.choice((math.nan, math.inf))]
    return rows


FAULTS: dict[str, Callable[[random.Random, Rows], Rows]] = {
    "NaN": _set(math.nan),
    "infinity": _set(math.inf),
    "minus infinity": _set(-math.inf),
    "NaN as text": _set("nan"),
    "a number as text": _set("0.5"),
    "a list for a number": _set([0.5]),
    "a flag for a number": _set(True),
    "an integer of 400 digits": _set(10**400),
    "NaN in a list": _in_a_list,
    "every step twice": _twice,
    "every step twice from some on": _from_some_step,
    "two runs at once": _two_runs,
}


def main(count: int) -> None:
    boundaries.load(["metrics"])
    right, alarms, broken, told = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"

        def violated(rows: Rows) -> bool:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            return any(f.status != "held" for f in audit_log(path))

        for n in range(count):
            rng, name = random.Random(n), list(WRITERS)[n % len(WRITERS)]
            right[name] += 1
            alarms[name] += violated(made(rng, name))
            fault = list(FAULTS)[n // len(WRITERS) % len(FAULTS)]
            broken[fault] += 1
            told[fault] += violated(FAULTS[fault](rng, made(rng, name)))
    missed = {fault: broken[fault] - told[fault] for fault in broken if broken[fault] > told[fault]}
    print(
        json.dumps({"right": right, "false alarms": +alarms, "broken": broken, "told": told.total(), "missed": missed})
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
