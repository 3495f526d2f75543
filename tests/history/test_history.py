"""Real bugs of the audited project's history: what is kept of them, and that it is so (with a clone of the history)."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.report import detection

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def history() -> ModuleType:
    spec = importlib.util.spec_from_file_location("history", ROOT / "tools" / "history.py")
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_every_pair_names_a_claim_that_there_is_or_why_none_sees_it(history: ModuleType) -> None:
    boundaries.load(None)
    known = {c.id for c in claims()}
    for row in history.rows():
        assert row["claim"] in known or row["unseen"], row["fix"]
    assert len({row["fix"] for row in history.rows()}) == len(history.rows()) >= 30


def test_kept_verdicts_follow_from_what_was_kept(history: ModuleType) -> None:
    measured = history.measured()
    judged = {fix: m for fix, m in measured.items() if "verdict" in m}
    assert judged
    for fix, m in judged.items():
        assert m["verdict"] == history.verdict(m["before"], m["after"]), fix


def test_a_demonstration_fails_before_and_passes_after(history: ModuleType) -> None:
    shown = {
        fix: (m["before"]["shown"], m["after"]["shown"])
        for fix, m in history.measured().items()
        if "shown" in m["after"]
    }
    assert shown
    assert set(shown.values()) == {(False, True)}


@pytest.mark.parametrize(
    ("told", "among", "low", "high"), [(18, 20, 0.699, 0.972), (0, 10, 0.0, 0.278), (0, 0, 0.0, 1.0)]
)
def test_intervals_are_wilsons(told: int, among: int, low: float, high: float) -> None:
    assert detection.wilson(told, among) == pytest.approx((low, high), abs=5e-4)


@pytest.mark.checkout
@pytest.mark.parametrize("fix", ["dda8c09", "27bbbba", "d7f299b", "e1858c4", "88a0873"])
def test_a_pair_is_told_apart_today(history: ModuleType, fix: str) -> None:
    repository, python = os.environ.get("COORDEXP_REPO"), os.environ.get("COORDEXP_PYTHON")
    if not repository or not python:
        pytest.skip("set COORDEXP_REPO (a clone with its history) and COORDEXP_PYTHON")
    (row,) = [r for r in history.rows() if r["fix"] == fix]
    assert history.measure(Path(repository), row, python, ask=True)["verdict"] == "apart"
