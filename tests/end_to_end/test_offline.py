"""The audit needs no network, no hub and no CUDA: shown in a process that can reach nothing but this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """An environment whose Pythons can connect to loopback only, and write down what else they tried."""
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "BLOCKED_LOG": str(tmp_path / "log"), "CUDA_VISIBLE_DEVICES": ""}


def test_the_block_blocks(offline: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], env=offline, capture_output=True, text=True, check=False)
    assert "blocked: ('192.0.2.1', 80)" in done.stderr
    assert "192.0.2.1" in Path(offline["BLOCKED_LOG"]).read_text()


def test_template_packing_supervision_and_rollout_need_loopback_only(offline: dict[str, str]) -> None:
    command = [sys.executable, "-m", "coordexp_audit_lib.cli", "check", "--target", "reference", "--json", "--boundary"]
    names = ["template", "packing", "supervision", "rollout"]
    done = subprocess.run([*command, *names], env=offline, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    findings = json.loads(done.stdout)["findings"]
    assert {f["boundary"] for f in findings} == set(names)
    assert {f["status"] for f in findings} == {"held"}
    assert not Path(offline["BLOCKED_LOG"]).exists()
