"""Two forked gloo ranks: their answers, and that one which raises, dies or hangs ends the call in bounded time."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

SCRIPT = """
import json, os, sys, time
import torch, torch.distributed as dist
from coordexp_audit_lib.kit import ranks

class Here:
    scratch = sys.argv[1]

def summed(rank):
    value = torch.tensor([rank + 1.0])
    dist.all_reduce(value)
    return [rank, value.item()]

def raises(rank):
    if rank == 1:
        raise ValueError("no such metric")
    dist.all_reduce(torch.tensor([1.0]))

def dies(rank):
    if rank == 0:
        os._exit(3)
    dist.all_reduce(torch.tensor([1.0]))

def hangs(rank):
    if rank == 0:
        time.sleep(1000)
    dist.all_reduce(torch.tensor([1.0]))

for what, seconds in json.loads(sys.argv[2]).items():
    ranks.SECONDS, began = seconds, time.monotonic()
    try:
        told = {"value": ranks.on_ranks(Here, 2, globals()[what])}
    except ranks.RankFailed as error:
        told = {"error": str(error), "kind": error.kind, "left": os.listdir(Here.scratch)}
    try:
        os.waitpid(-1, os.WNOHANG)
        sys.exit("a rank is left behind")
    except ChildProcessError:
        pass
    print(json.dumps({"what": what, "seconds": time.monotonic() - began, **told}))
"""
CASES = {
    "summed": (60, '"value": [[0, 3.0], [1, 3.0]]'),
    "raises": (60, "rank 1: ValueError: no such metric"),
    "dies": (60, "rank 0 died (status 768)"),
    "hangs": (2, "rank 0 was not done in time"),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Each case in turn in one process, which imports torch once."""
    seconds = json.dumps({what: limit for what, (limit, _) in CASES.items()})
    command = [sys.executable, "-c", SCRIPT, str(tmp_path_factory.mktemp("ranks")), seconds]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    told = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    return {t["what"]: t for t in told}


@pytest.mark.parametrize("what", CASES)
def test_ranks(what: str, answers: dict[str, dict[str, Any]]) -> None:
    assert CASES[what][1] in json.dumps(answers[what])
    assert answers[what].get("left", []) == []
    assert answers[what]["seconds"] < 90
