"""The boundary needs loopback only; and the reference's own distributed code holds on two real processes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
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

rank = int(sys.argv[1])
os.environ["GLOO_SOCKET_IFNAME"] = "lo"
dist.init_process_group("gloo", init_method=sys.argv[2], rank=rank, world_size=2,
                        timeout=datetime.timedelta(seconds=60))
def push():
    raise OSError("no server")
scenarios = {
    "union": lambda: metric_union.union({"loss": 1.0 + rank, f"only/{rank}": 5.0}),
    "ready": lambda: metric_union.all_ready(rank == 0),
    "weights": lambda: metric_union.push_weights(push, rank),
}
told = {}
for name, scenario in scenarios.items():
    try:
        told[name] = {"value": scenario()}
    except RuntimeError as error:
        told[name] = {"error": str(error)}
print(json.dumps(told))
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes in one group says of each scenario."""
    command = [sys.executable, "-c", PROGRAM]
    meeting = f"file://{tmp_path_factory.mktemp('gloo') / 'meeting'}"
    ranks = [
        subprocess.Popen([*command, str(r), meeting], cwd=SOURCES, stdout=subprocess.PIPE, text=True) for r in (0, 1)
    ]
    try:
        return [json.loads(r.communicate(timeout=120)[0]) for r in ranks]
    finally:
        for r in ranks:
            r.kill()
            r.wait()


@pytest.mark.parametrize(
    ("scenario", "both"),
    [
        ("union", {"value": {"loss": 3.0, "only/0": 5.0, "only/1": 5.0}}),
        ("ready", {"value": False}),
        ("weights", {"error": "rank 0 could not push weights: OSError: no server"}),
    ],
)
def test_two_gloo_processes_agree(scenario: str, both: dict[str, Any], told: list[dict[str, Any]]) -> None:
    """The code that the scan of collectives calls sound is sound."""
    assert [t[scenario] for t in told] == [both, both]
