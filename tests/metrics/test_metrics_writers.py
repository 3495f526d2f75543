"""Logs of other trainers, and who wrote a log: by content, whatever the file is called."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.metrics.artifact.run import audit_log
from coordexp_audit_lib.core.finding import Finding

boundaries.load(["metrics"])
Rows = list[dict[str, Any]]


def swift(steps: range | list[int], last: int = 0, **extra: Any) -> Rows:
    """Rows as ms-swift's callback writes them, the last two of a run included where `last` names its last step."""
    total = last or max(steps)
    rows: Rows = [
        {
            "loss": 3 / s,
            "grad_norm": 0.5,
            "learning_rate": 1e-5,
            "token_acc": 0.7,
            "epoch": s / total,
            **place(s, total),
        }
        | extra
        for s in steps
    ]
    if last:
        rows.append({"eval_loss": 1.5, "eval_runtime": 3.2, "epoch": 1.0, **place(last, last)})
        rows.append({"train_runtime": 9.1, "total_flos": 1e18, "train_loss": 1.0, "epoch": 1.0, **place(last, last)})
        closing = {"last_model_checkpoint": "out/checkpoint-51", "best_metric": None, "global_step": last}
        rows.append(
            {"train_dataset": "512.0±3.2", **closing, "log_history": [{"loss": 1.0, "step": 1}], "memory": 18.3}
        )
    return rows


def place(step: int, total: int) -> dict[str, Any]:
    return {
        "global_step/max_steps": f"{step}/{total}",
        "percentage": f"{step / total:.2%}",
        "elapsed_time": f"{step}s",
        "remaining_time": "8m 3s",
        "memory(GiB)": 18.4,
        "train_speed(iter/s)": 0.17 + step / 1000,
    }


def megatron(step: int, total: int) -> dict[str, Any]:
    words = {"iteration": f"{step}/{total}", "elapsed_time": "3s", "remaining_time": "4s", "train_speed(s/it)": 1.5}
    return {"loss": 3 / step, "grad_norm": 0.5, "learning_rate": 1e-5, **words}


def factory(step: int, total: int, **values: Any) -> dict[str, Any]:
    columns = dict.fromkeys(("loss", "eval_loss", "predict_loss", "reward", "accuracy", "lr"))
    times = {"percentage": 100 * step / total, "elapsed_time": "0:00:10", "remaining_time": "0:01:30"}
    return {"current_steps": step, "total_steps": total, **columns, "epoch": step / total, **times, **values}


def trl(step: int) -> dict[str, Any]:
    reward = {"reward": 0.4, "reward_std": 0.1, "rewards/format/mean": 1.0, "clip_ratio/region_mean": 0.0}
    return {"loss": 0.0, "grad_norm": 0.2, "num_tokens": 4096.0, **reward, "kl": 0.001, "step": step, "epoch": step / 9}


GRPO = {"reward": 0.5, "reward_std": 0.1, "frac_reward_zero_std": 0.2, "completions/mean_length": 99.5, "kl": 0.1}
SOUND: dict[str, Rows] = {
    "ms-swift SFT": swift(range(1, 52), 51),
    "ms-swift GRPO": swift(range(1, 9), 8, **GRPO),
    "ms-swift GKD": swift(range(1, 9), 8, **{"jsd_loss": 0.25}),
    "ms-swift's Megatron trainer": [megatron(s, 9) for s in range(1, 10)],
    "ms-swift 2": [{"loss": 4.5 / s, "acc": 0.1, "train_speed(iter/s)": 0.1, "global_step": s} for s in range(1, 9)],
    "LLaMA-Factory, every column in every row": [
        *(factory(s, 30, loss=3 / s, lr=1e-5) for s in (10, 20, 30)),
        factory(30, 30, eval_loss=1.5),
        factory(30, 30),
    ],
    "LLaMA-Factory, values that are lists of nulls": [
        factory(s, 30, loss=3 / s, lr=1e-5, accuracy=[None, None]) for s in (10, 20, 30)
    ],
    "LLaMA-Factory, what it has": [
        {"current_steps": s, "total_steps": 9, "loss": 1.0, "lr": 1e-5, "epoch": 1.0, "percentage": 33.3}
        for s in (3, 6, 9)
    ],
    "TRL GRPO": [
        *map(trl, range(1, 9)),
        {"eval_reward": 0.5, "eval_loss": 0.0, "step": 8, "epoch": 0.9},
        {"train_runtime": 3.2, "train_loss": 0.1, "total_flos": 0.0, "step": 8, "epoch": 1.0},
    ],
    "TRL, parts of a step in rows of their own": [
        {"loss": 1.0, "step": 1},
        {"rewards/chosen": 0.5, "rewards/margins": 0.25, "step": 1},
        {"loss": 0.9, "step": 2},
        {"rewards/chosen": 0.5, "rewards/margins": 0.25, "step": 2},
    ],
    "two evaluations at one step": [
        {"loss": 1.0, "step": 1},
        {"eval_val_loss": 1.0, "step": 1},
        {"eval_test_loss": 1.0, "step": 1},
    ],
    "resumed at step 5": swift(range(1, 9)) + swift(range(5, 13), 12),
    "started again": swift(range(1, 9)) + swift(range(1, 13), 12),
    "resumed three times": swift(range(1, 9)) + swift(range(5, 12)) + swift(range(9, 14)) + swift(range(11, 20)),
}


def written(folder: Path, rows: Rows, name: str = "logging.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def verdicts(found: list[Finding]) -> dict[str, str]:
    return {f.invariant: f.status for f in found}


def read_as(found: list[Finding]) -> str:
    return next(str(e.value) for f in found for e in f.evidence if e.symbol == "read as")


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_log_of_any_trainer_holds(tmp_path: Path, name: str) -> None:
    found = audit_log(written(tmp_path, SOUND[name], "some_log.jsonl"))
    assert verdicts(found) == {"metrics.finite": "held", "metrics.step_once": "held"}
    assert all(f.checked for f in found)


def as_state(path: Path, rows: Rows) -> Path:
    path.write_text(json.dumps({"epoch": 1.0, "global_step": 8, "log_history": rows}, indent=2))
    return path


def on_one_line(path: Path, rows: Rows) -> Path:
    path.write_text(json.dumps({"log_history": rows, "global_step": 8}))
    return path


def as_array(path: Path, rows: Rows) -> Path:
    path.write_text(json.dumps(rows, indent=2))
    return path


@pytest.mark.parametrize("write", [as_state, on_one_line, as_array])
def test_a_trainer_state_is_known_by_its_content(tmp_path: Path, write: Callable[[Path, Rows], Path]) -> None:
    sound = audit_log(write(tmp_path / "backup of state.txt", SOUND["TRL GRPO"]))
    assert verdicts(sound) == {"metrics.finite": "held", "metrics.step_once": "held"}
    assert "8 training steps, 1 to 8" in read_as(sound)
    broken = [{**row, "loss": math.nan} for row in SOUND["TRL GRPO"][:3]]
    assert verdicts(audit_log(write(tmp_path / "x", broken)))["metrics.finite"] == "violated"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ms-swift SFT", "ms-swift's log: 51 training steps, 1 to 51"),
        ("LLaMA-Factory, every column in every row", "LLaMA-Factory's trainer log: 3 training steps, 10 to 30"),
        ("TRL GRPO", "rows of a trainer: 8 training steps, 1 to 8"),
        ("resumed at step 5", "resumed at step 5 after step 8 (line 9)"),
        ("started again", "started again at step 1 after step 8 (line 9)"),
    ],
)
def test_what_a_log_was_taken_for_is_said(tmp_path: Path, name: str, says: str) -> None:
    assert says in read_as(audit_log(written(tmp_path, SOUND[name])))


def faster(rows: Rows) -> Rows:
    return [{**row, "train_speed(iter/s)": 0.9} for row in rows]


def paired(a: Rows, b: Rows) -> Rows:
    return [row for both in zip(a, b, strict=True) for row in both]


TEN = swift(range(1, 11))
OTHER = [{**row, "loss": row["loss"] * 1.1} for row in TEN]


@pytest.mark.parametrize(
    ("rows", "count", "says"),
    [
        (paired(TEN, faster(TEN)), 10, "two processes write one log"),
        (paired(TEN, OTHER), 10, "two runs, or processes, write one log"),
        (TEN[:4] + paired(TEN[4:], faster(TEN[4:])), 6, "two processes write one log"),
        (paired([trl(s) for s in range(1, 9)], [trl(s) for s in range(1, 9)]), 8, "two processes write one log"),
        (
            paired(
                [{"reward": 0.5, "kl": 0.1, "step": s} for s in (1, 2)],
                [{"reward": 0.4, "kl": 0.1, "step": s} for s in (1, 2)],
            ),
            2,
            "two runs",
        ),
        (TEN[:6] + [r for a, b in zip(TEN[6:], TEN, strict=False) for r in (b, a)], 1, "two runs write one log"),
    ],
)
def test_two_writers_of_one_log_are_told(tmp_path: Path, rows: Rows, count: int, says: str) -> None:
    found = {f.invariant: f for f in audit_log(written(tmp_path, rows))}
    assert (found["metrics.finite"].status, found["metrics.step_once"].status) == ("held", "violated")
    assert found["metrics.step_once"].violation_count == count
    assert (found["metrics.step_once"].severity, found["metrics.step_once"].authority) == ("P1", "upstream")
    assert all(says in v.message for v in found["metrics.step_once"].violations)


@pytest.mark.parametrize(
    ("edit", "subject"),
    [
        ({"loss": math.nan}, "loss"),
        ({"loss": None}, "loss"),
        ({"loss": "nan"}, "loss"),
        ({"grad_norm": math.inf}, "grad_norm"),
        ({"token_acc": None}, "token_acc"),
        ({"token_acc": [0.7]}, "token_acc"),
        ({"rewards": [0.5, math.nan]}, "rewards"),
        ({"rewards": {"format": -math.inf}}, "rewards"),
        ({"global_step": 10**400}, "global_step"),
    ],
)
def test_what_is_no_number_is_told_in_any_log(tmp_path: Path, edit: dict[str, Any], subject: str) -> None:
    rows = [dict(row) for row in SOUND["ms-swift SFT"]]
    rows[7] |= edit
    found = {f.invariant: f for f in audit_log(written(tmp_path, rows))}["metrics.finite"]
    assert (found.status, found.severity, [v.subject for v in found.violations]) == ("violated", "P0", [subject])
    assert "step 8" in found.violations[0].message


def test_an_unreadable_log_costs_the_others_of_a_folder_nothing(tmp_path: Path) -> None:
    written(tmp_path, SOUND["ms-swift SFT"], "trainer_log.jsonl")
    written(tmp_path, [{"text": "a completion", "step": 3}], "completions.jsonl")
    (tmp_path / "logging.jsonl").write_text('{"loss": 1.0, "step": 1}\n{"loss": 1.0, "st')
    found = audit_log(tmp_path)
    assert [(f.config, f.status) for f in found] == [
        ("logging.jsonl", "error"),
        ("trainer_log.jsonl", "held"),
        ("trainer_log.jsonl", "held"),
    ]
    assert "is cut off" in found[0].note
