"""The boundary needs loopback only; and the reference's own distributed code holds on two real processes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.targets.reference import ReferenceTarget

SOURCES = pipeline().reference.parent / "reference_rollout" / "src"


def test_the_reference_runs_with_every_socket_but_loopback_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    connect, reached = socket.socket.connect, []

    def guarded(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else "127.0.0.1"
        reached.append(host)
        if host != "127.0.0.1":
            raise AssertionError(f"the network was asked for {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    for claim in claims("rollout"):
        assert judge(ReferenceTarget(), claim, "").status == "held", claim.id
    assert len(reached) >= 15


PROGRAM = """
import datetime, json, os, sys
import torch.distributed as dist
import metric_union

rank, scenario = int(sys.argv[1]), sys.argv[3]
os.environ["GLOO_SOCKET_IFNAME"] = "lo"
dist.init_process_group("gloo", init_method=sys.argv[2], rank=rank, world_size=2,
                        timeout=datetime.timedelta(seconds=60))
try:
    if scenario == "union":
        made = metric_union.union({"loss": 1.0 + rank, f"only/{rank}": 5.0})
    elif scenario == "ready":
        made = metric_union.all_ready(rank == 0)
    else:
        def push():
            raise OSError("no server")
        made = metric_union.push_weights(push, rank)
    print(json.dumps({"value": made}))
except RuntimeError as error:
    print(json.dumps({"error": str(error)}))
dist.destroy_process_group()
"""


@pytest.mark.parametrize(
    ("scenario", "both"),
    [
        ("union", {"value": {"loss": 3.0, "only/0": 5.0, "only/1": 5.0}}),
        ("ready", {"value": False}),
        ("weights", {"error": "rank 0 could not push weights: OSError: no server"}),
    ],
)
def test_two_gloo_processes_agree(scenario: str, both: dict[str, Any], tmp_path: Path) -> None:
    """The code that the scan of collectives calls sound is sound."""
    command = [sys.executable, "-c", PROGRAM]
    meeting = f"file://{tmp_path / 'meeting'}"
    ranks = [
        subprocess.Popen([*command, str(r), meeting, scenario], cwd=SOURCES, stdout=subprocess.PIPE, text=True)
        for r in (0, 1)
    ]
    try:
        told = [json.loads(r.communicate(timeout=120)[0]) for r in ranks]
    finally:
        for r in ranks:
            r.kill()
            r.wait()
    assert told == [both, both]
