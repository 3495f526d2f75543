"""Two gloo ranks, each a process of its own: a mistake on rank 1 alone stops both in bounded time."""

from __future__ import annotations

import json
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
from coordexp_audit_lib.kit.model import one_thread

folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
for broken in sys.argv[2].split(","):
    if broken == "dies" and rank == 1:
        rehearsal.record = lambda telemetry, step, broken="": os._exit(3) if step else telemetry.step_began("A")
    trainer = rehearsal.trainer(
        folder / broken / str(rank), broken if rank == 1 else "", steps=4, timeout_s=20,
        output_dir=str(folder / broken / "out"), ddp_backend="gloo", ddp_find_unused_parameters=False,
    )
    try:
        with one_thread():
            trainer.train()
        print("ended at", trainer.state.global_step)
    except Exception as error:
        print(f"{type(error).__name__} at {trainer.state.global_step}: {error}")
"""
BOUND_S = 90  # starting two interpreters with torch and transformers on two busy cores takes most of it


def ranks(folder: Path, *broken: str) -> list[tuple[str, str]]:
    """What the two ranks said of each run, one run after the other; both have ended by themselves within the bound."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    running = []
    for rank in range(2):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        env = {**os.environ, **{k: str(v) for k, v in place.items()}, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", SCRIPT, str(folder), ",".join(broken)]
        running.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    try:
        said = [p.communicate(timeout=max(1.0, BOUND_S - (time.monotonic() - started))) for p in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()
    told = [out.strip().splitlines() or [err[-1500:]] for out, err in said]
    return list(zip(*told, strict=False))


STOPS = {
    "system_prompt": ("template.render_pinned", 0),
    "shifted_labels": ("packing.no_cross_boundary_label", 1),
    "missing_metric": ("metrics.required_keys", 2),
}


def test_what_rank_1_finds_both_ranks_raise(tmp_path: Path) -> None:
    sound, *stopped = ranks(tmp_path, "", *STOPS)
    assert sound == ("ended at 4", "ended at 4")
    assert len(stopped) == len(STOPS)
    for (other, own), (claim, step) in zip(stopped, STOPS.values(), strict=True):
        assert own.startswith(f"InvariantViolation at {step}: ") and f"[{claim}]" in own
        assert other.startswith(f"InvariantViolation at {step}: rank 1 stopped: [{claim}] ")
        assert "Remedy: " in other
    for broken, (claim, _) in STOPS.items():  # rank 0 alone writes, also of what rank 1 found
        written = json.loads((tmp_path / broken / "out" / "audit" / "audit.json").read_text())
        assert (written["status"], written["violation"]["invariant"]) == ("stopped", claim)


@pytest.mark.parametrize("broken", ["corrupt_prefix", "dies"])
def test_a_rank_that_fails_between_two_checks_leaves_no_other_waiting(tmp_path: Path, broken: str) -> None:
    [(other, own)] = ranks(tmp_path, broken)
    assert "ended" not in other and ("Error at" in other or "InvariantViolation at" in other)
    assert ("supervision.prefix_kept" in own) == (broken == "corrupt_prefix")
