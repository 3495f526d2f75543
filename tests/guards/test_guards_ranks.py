"""Two gloo ranks, each a process of its own: a mistake on rank 1 alone stops both in bounded time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

STOPS = {
    "system_prompt": ("template.render_pinned", 0),
    "shifted_labels": ("packing.no_cross_boundary_label", 1),
    "missing_metric": ("metrics.required_keys", 2),
}


FAILS = ("corrupt_prefix", "dies")
BOUND_S = 90  # for all runs of two ranks, on two busy cores
SCRIPT = """
import gc; gc.set_threshold(100_000, 20, 50)
import json, os, socket, sys, time
from pathlib import Path
import torch
from transformers import Trainer
from coordexp_audit_lib import boundaries
from coordexp_audit_lib.guards import rehearsal
from coordexp_audit_lib.kit.model import build, one_thread

boundaries.load(), rehearsal.pins(), build()  # imported, read and built once; then each rank is a fork

def rank(number, port, folder, runs):
    place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({k: str(v) for k, v in place.items()})
    for broken in runs:
        if broken == "dies" and number == 1:
            rehearsal.record = lambda telemetry, step, broken="": os._exit(3) if step else telemetry.step_began("A")
        trainer = rehearsal.trainer(
            folder / broken / str(number), broken if number == 1 else "", steps=4, timeout_s=20,
            output_dir=str(folder / broken / "out"), ddp_backend="gloo", ddp_find_unused_parameters=False,
        )
        try:
            with one_thread():
                trainer.train()
            print("ended at", trainer.state.global_step, flush=True)
        except Exception as error:
            print(f"{type(error).__name__} at {trainer.state.global_step}: {error}", flush=True)

folder, told = Path(sys.argv[1]), []
gc.collect(), gc.freeze()
for runs in json.loads(sys.argv[2]):
    began = time.monotonic()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = [folder / f"said.{len(told)}.{number}" for number in range(2)]
    for number, path in enumerate(said):
        if os.fork() == 0:
            try:
                os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), 1)
                rank(number, port, folder, runs)
            except BaseException as error:
                print(f"it failed before it trained: {error!r}", flush=True)
            finally:
                os._exit(0)
    for _ in said:
        os.wait()
    lines = [path.read_text().splitlines() or ["it said nothing"] for path in said]
    told.append({"said": lines, "seconds": time.monotonic() - began})
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def told(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """What the two ranks said of each run; those of one list one after the other in one group.

    All are forks of one process, and have ended by themselves within the bound.
    """
    groups = [["", *STOPS], *([name] for name in FAILS)]
    command = [sys.executable, "-c", SCRIPT, str(folder), json.dumps(groups)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        try:
            out, err = running.communicate(timeout=BOUND_S * len(groups))
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 0, err[-2000:]
    found = json.loads(out.splitlines()[-1])
    assert all(one["seconds"] < BOUND_S for one in found)
    names = [group[0] for group in groups]
    return {name: list(zip(*one["said"], strict=False)) for name, one in zip(names, found, strict=True)}


def test_what_rank_1_finds_both_ranks_raise(told: dict[str, list[tuple[str, str]]], folder: Path) -> None:
    sound, *stopped = told[""]
    assert sound == ("ended at 4", "ended at 4")
    assert len(stopped) == len(STOPS)
    for (other, own), (claim, step) in zip(stopped, STOPS.values(), strict=True):
        assert own.startswith(f"InvariantViolation at {step}: ") and f"[{claim}]" in own
        assert other.startswith(f"InvariantViolation at {step}: rank 1 stopped: [{claim}] ")
        assert "Remedy: " in other
    for broken, (claim, _) in STOPS.items():  # rank 0 alone writes, also of what rank 1 found
        written = json.loads((folder / broken / "out" / "audit" / "audit.json").read_text())
        assert (written["status"], written["violation"]["invariant"]) == ("stopped", claim)


@pytest.mark.parametrize("broken", FAILS)
def test_a_rank_that_fails_between_two_checks_leaves_no_other_waiting(
    broken: str, told: dict[str, list[tuple[str, str]]]
) -> None:
    [(other, own)] = told[broken]
    assert "ended" not in other and ("Error at" in other or "InvariantViolation at" in other)
    assert ("supervision.prefix_kept" in own) == (broken == "corrupt_prefix")
