"""The work that a log costs grows no faster than the log, whatever is in it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.metrics.artifact.run import audit_log

boundaries.load(["metrics"])
Rows = Iterator[dict[str, Any]]
Count = Callable[[Callable[[], object]], int]
FEW, TIMES = 60, 4


def plain(n: int) -> Rows:
    yield from ({"loss": 1.0 / s, "grad_norm": 0.5, "global_step/max_steps": f"{s}/{n}"} for s in range(1, n + 1))


def both_channels(n: int) -> Rows:
    for s, row in enumerate(plain(n), 1):
        ran = 3 * s // 4
        is_b = ran > 3 * (s - 1) // 4
        row |= {"stage2/channel_a": float(not is_b), "stage2/channel_b": float(is_b), "time/forward_s": 1.0 + s % 3}
        yield {**row, "stage2_ab/b_ratio_realized": ran / s, "rollout/seed_base": 17 + (s - 1) * 1_000_003 + s * s}


LOGS: dict[str, Callable[[int], Rows]] = {
    "a sound log": plain,
    "both channels, seeds that vary": both_channels,
    "keys of one row each": lambda n: ({**r, f"coord_diag/{k}": 1.0, f"x_{k}": None} for k, r in enumerate(plain(n))),
    "a key in every second row": lambda n: (
        {**r, **({"coord_diag/x": 1.0} if k % 2 else {})} for k, r in enumerate(plain(n))
    ),
    "every row broken": lambda n: ({**r, "loss": math.nan, "train/samples_total": -0.5} for r in both_channels(n)),
    "two processes": lambda n: (row for once in plain(n // 2) for row in (once, once)),
}


@pytest.mark.parametrize("name", LOGS)
def test_work_grows_no_faster_than_the_log(tmp_path: Path, lines_run: Count, name: str) -> None:
    def work(rows: int) -> int:
        path = tmp_path / f"{rows}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in LOGS[name](rows)))
        return lines_run(lambda: audit_log(path))

    work(FEW)  # what is compiled and kept on first use
    few, many = work(FEW), work(FEW * TIMES)
    assert many <= few * TIMES * 1.1


def test_what_a_violation_shows_is_bounded(tmp_path: Path) -> None:
    rows = ({"coord_diag/x": 1.0, "time/forward_s": float(s), "step": s} for s in range(1, 5001))
    path = tmp_path / "logging.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = {f.invariant: f for f in audit_log(path)}["metrics.per_step_not_cumulative"]
    assert found.status == "violated"
    assert len(str(found.violations)) < 5000
