"""Two gloo ranks, each a process of its own: a mistake on rank 1 alone stops both in bounded time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
from pathlib import Path
from coordexp_audit_lib.guards import rehearsal
from coordexp_audit_lib.parts.model import one_thread

folder, broken = Path(sys.argv[1]), sys.argv[2]
rank = int(os.environ["RANK"])
if broken == "dies" and rank == 1:
    rehearsal.record = lambda telemetry, step, broken="": os._exit(3) if step else telemetry.step_began("A")
trainer = rehearsal.trainer(
    folder / str(rank), broken if rank == 1 else "", steps=6, timeout_s=20, output_dir=str(folder / "out"),
    ddp_backend="gloo", ddp_find_unused_parameters=False,
)
try:
    with one_thread():
        trainer.train()
    print("ended at", trainer.state.global_step)
except Exception as error:
    print(f"{type(error).__name__} at {trainer.state.global_step}: {error}")
"""
BOUND_S = 90  # starting two interpreters with torch and transformers on two busy cores takes most of it


def ranks(folder: Path, broken: str) -> list[str]:
    """What each rank said last; both have ended by themselves within the bound."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    running = []
    for rank in range(2):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        env = {**os.environ, **{k: str(v) for k, v in place.items()}, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", SCRIPT, str(folder), broken]
        running.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    try:
        said = [p.communicate(timeout=max(1.0, BOUND_S - (time.monotonic() - started))) for p in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()
    return [(out.strip().splitlines() or [err[-1500:]])[-1] for out, err in said]


def test_two_sound_ranks_train_and_one_writes(tmp_path: Path) -> None:
    assert ranks(tmp_path, "") == ["ended at 6"] * 2
    assert sorted(p.name for p in (tmp_path / "out" / "audit").iterdir())[0] == "audit.json"


@pytest.mark.parametrize(
    ("broken", "claim", "step"),
    [
        ("system_prompt", "template.render_pinned", 0),
        ("shifted_labels", "packing.no_cross_boundary_label", 1),
        ("missing_metric", "metrics.required_keys", 2),
    ],
)
def test_what_rank_1_finds_both_ranks_raise(tmp_path: Path, broken: str, claim: str, step: int) -> None:
    other, own = ranks(tmp_path, broken)
    assert own.startswith(f"InvariantViolation at {step}: ") and f"[{claim}]" in own
    assert other.startswith(f"InvariantViolation at {step}: rank 1 stopped: [{claim}] ")
    assert "Cure: " in other


@pytest.mark.parametrize("broken", ["corrupt_prefix", "dies"])
def test_a_rank_that_fails_between_two_checks_leaves_no_other_waiting(tmp_path: Path, broken: str) -> None:
    other, own = ranks(tmp_path, broken)
    assert "ended" not in other and ("Error at" in other or "InvariantViolation at" in other)
    assert ("supervision.prefix_kept" in own) == (broken == "corrupt_prefix")
