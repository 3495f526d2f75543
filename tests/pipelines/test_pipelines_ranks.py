"""Two forked gloo ranks: their answers, and that one which raises, dies or hangs ends the call in bounded time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import json, os, sys, time
import torch, torch.distributed as dist
from coordexp_audit_lib.pipelines.coordexp.harness import ranks
ranks.SECONDS = float(sys.argv[3])

class Here:
    scratch = sys.argv[2]

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

try:
    print(json.dumps({"value": ranks.on_ranks(Here, 2, globals()[sys.argv[1]])}))
except ranks.RankFailed as error:
    print(json.dumps({"error": str(error), "kind": error.kind, "left": os.listdir(Here.scratch)}))
try:
    os.waitpid(-1, os.WNOHANG)
    sys.exit("a rank is left behind")
except ChildProcessError:
    pass
"""


@pytest.mark.parametrize(
    ("what", "seconds", "says"),
    [
        ("summed", "60", '"value": [[0, 3.0], [1, 3.0]]'),
        ("raises", "60", "rank 1: ValueError: no such metric"),
        ("dies", "60", "rank 0 died (status 768)"),
        ("hangs", "6", "rank 0 was not done in time"),
    ],
)
def test_ranks(tmp_path: Path, what: str, seconds: str, says: str) -> None:
    started = time.monotonic()
    command = [sys.executable, "-c", SCRIPT, what, str(tmp_path), seconds]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    answer = json.loads(ran.stdout.splitlines()[-1])
    assert says in json.dumps(answer)
    assert answer.get("left", []) == []
    assert time.monotonic() - started < 90
