"""What the audit says is violated at the reference commit is so, by demonstrations that know nothing of the audit."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coordexp_audit_lib.core.claim import claims

CONFIRM = Path(__file__).resolve().parents[2] / "tools" / "confirm"
SHARED = ("__main__", "parts")


def demonstrations() -> list[str]:
    """The claims that there is a demonstration of, by the names of files and functions."""
    found = []
    for path in sorted(p for p in CONFIRM.glob("*.py") if p.stem not in SHARED):
        functions = (n for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.FunctionDef))
        found += [f"{path.stem}.{f.name}" for f in functions if not f.name.startswith("_")]
    return found


def test_each_demonstration_is_named_after_a_claim() -> None:
    found = demonstrations()
    assert len(found) > 50
    assert set(found) <= {c.id for c in claims()}


def test_the_demonstrations_know_nothing_of_the_audit() -> None:
    for path in CONFIRM.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        modules |= {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert not [m for m in modules if m.startswith("coordexp_audit_lib")], path.name


@pytest.mark.checkout
def test_every_violation_that_the_recording_holds_is_confirmed(tmp_path: Path) -> None:
    repo, python = os.environ.get("COORDEXP_REPO"), os.environ.get("COORDEXP_PYTHON")
    if not repo or not python:
        pytest.skip("set COORDEXP_REPO and COORDEXP_PYTHON to run the tests that need a CoordExp checkout")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repo, capture_output=True, text=True, check=False).stdout
    if not commit.startswith("b46e74f"):
        pytest.skip("the demonstrations are of what is violated at b46e74f")
    audit = [
        sys.executable,
        "-m",
        "coordexp_audit_lib.cli",
        "check",
        "--target",
        "coordexp-b46e74f",
        "--out",
        str(tmp_path),
    ]
    subprocess.run(audit, capture_output=True, check=False)
    asked = [python, str(CONFIRM), repo, "--of", str(tmp_path / "audit.json")]
    ran = subprocess.run(asked, capture_output=True, text=True, check=False)
    lines = [line.split(" | ") for line in ran.stdout.splitlines()]
    assert {verdict for _, verdict, *_ in lines} == {"CONFIRMED"}, ran.stdout + ran.stderr
    assert len(lines) > 50
    assert ran.returncode == 0
