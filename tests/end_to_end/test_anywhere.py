"""The audit needs no network, no hub, no CUDA and no certain processor: shown in a process that can reach nothing but
this machine and computes on plain arithmetic, beside this one, which computes with what the processor does best."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.judge import audit
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.report.document import document
from coordexp_audit_lib.targets.reference import Memory, ReferenceTarget

MODELS = ("packing", "supervision", "template", "upstream")  # the boundaries at which a model runs
BLOCK = """
import ipaddress, os, socket

def local(address):
    if not isinstance(address, tuple):
        return True  # a Unix socket
    try:
        return ipaddress.ip_address(address[0].split("%")[0]).is_loopback
    except ValueError:
        return address[0] in ("", "localhost")

def guarded(name):
    original = getattr(socket.socket, name)
    def call(self, address, *rest):
        if not local(address):
            with open(os.environ["BLOCKED_LOG"], "a") as log:
                log.write(f"{name} {address}\\n")
            raise OSError(f"blocked: {address}")
        return original(self, address, *rest)
    return call

for name in ("connect", "connect_ex"):
    setattr(socket.socket, name, guarded(name))
"""
PROBE = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose Pythons can connect to loopback only, and write down what else they tried."""
    folder = tmp_path_factory.mktemp("offline")
    (folder / "sitecustomize.py").write_text(BLOCK)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "BLOCKED_LOG": str(folder / "log"), "CUDA_VISIBLE_DEVICES": ""}


def findings(boundaries: tuple[str, ...], environment: dict[str, str], **changed: str) -> list[dict[str, Any]]:
    """What `check` finds on the reference in a process of its own, times left out."""
    command = [sys.executable, "-m", "coordexp_audit_lib.cli", "check", "--target", "reference", "--json", "--boundary"]
    inherited = {k: v for k, v in environment.items() if k not in ("ATEN_CPU_CAPABILITY", "OMP_NUM_THREADS")}
    done = subprocess.run([*command, *boundaries], env=inherited | changed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return [{k: v for k, v in f.items() if k != "seconds"} for f in found]


@pytest.fixture(scope="module")
def plain(offline: dict[str, str]) -> list[dict[str, Any]]:
    """Offline, on the plainest arithmetic that the processor has, on four threads."""
    return findings((*MODELS, "rollout"), offline, ATEN_CPU_CAPABILITY="default", OMP_NUM_THREADS="4")


@pytest.fixture(scope="module")
def best(memory: Memory) -> list[dict[str, Any]]:
    """In this process: with the widest kernels that the processor has, on as many threads as the tests have."""
    target, asked = ReferenceTarget(memory=memory), [claim for name in MODELS for claim in claims(name)]
    configs = pipeline().configs
    found = document(target.info(), target.bindings(), configs, audit(target, asked, configs))["findings"]
    told: list[dict[str, Any]] = json.loads(json.dumps(found))
    return [{k: v for k, v in f.items() if k != "seconds"} for f in told]


def test_model_and_rollout_boundaries_need_loopback_only(plain: list[dict[str, Any]], offline: dict[str, str]) -> None:
    assert {f["boundary"] for f in plain} == {*MODELS, "rollout"}
    assert {f["status"] for f in plain} == {"held"}
    log = Path(offline["BLOCKED_LOG"])
    assert not log.exists() or log.read_text() == ""


@pytest.mark.parametrize("boundary", MODELS)
def test_the_findings_are_the_same_on_any_arithmetic(
    boundary: str, plain: list[dict[str, Any]], best: list[dict[str, Any]]
) -> None:
    mine = [f for f in plain if f["boundary"] == boundary]
    assert mine == [f for f in best if f["boundary"] == boundary]
    assert {f["status"] for f in mine} == {"held"}


def test_the_block_blocks(offline: dict[str, str], tmp_path: Path) -> None:
    environment = {**offline, "BLOCKED_LOG": str(tmp_path / "log")}
    done = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=False)
    assert "blocked: ('192.0.2.1', 80)" in done.stderr
    assert "192.0.2.1" in (tmp_path / "log").read_text()
