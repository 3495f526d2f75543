"""No verdict depends on the processor: the same findings on plain arithmetic and on what the processor does best."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

MODELS = ("packing", "supervision", "template", "upstream")  # the boundaries at which a model runs


def findings(boundary: str, **environment: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "coordexp_audit_lib.cli", "check", "--target", "reference", "--json"]
    inherited = {k: v for k, v in os.environ.items() if k not in ("ATEN_CPU_CAPABILITY", "OMP_NUM_THREADS")}
    done = subprocess.run(
        [*command, "--boundary", boundary], env=inherited | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return [{k: v for k, v in f.items() if k != "seconds"} for f in found]


@pytest.mark.parametrize("boundary", MODELS)
def test_the_findings_are_the_same_on_any_arithmetic(boundary: str) -> None:
    plain = findings(boundary, ATEN_CPU_CAPABILITY="default", OMP_NUM_THREADS="1")
    assert plain == findings(boundary, OMP_NUM_THREADS="4")
    assert {f["status"] for f in plain} == {"held"}
