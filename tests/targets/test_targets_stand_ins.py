"""What stood in for something that is not installed is told with the answer, and nothing is held on its strength."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib.core.claim import Claim, Context
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.finding import Finding, Violation
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.targets.checkout import CheckoutTarget
from coordexp_audit_lib.targets.recording import Recorder, RecordingTarget

BINDING = """
from coordexp_audit_lib.kit import stand_ins
from coordexp_audit_lib.pipelines.api import Refused, binds, remembered

@binds("hostile.deed", do=("src.deeds:do",))
@remembered
def deed(request, here):
    if request["deed"] in ("sound", "unsound"):
        stand_ins.used("a_loader", "a stand-in of ours", request["deed"] == "sound")
    if request["deed"] == "both":
        stand_ins.used("a_loader", "a stand-in of ours", False)
        stand_ins.used("a_loader", "a stand-in of ours", True)
        raise Refused("ValueError", "no")
    return {"said": "done"}
"""


@pytest.fixture
def asked(tree: Path, tmp_path: Path, questions: Any) -> Iterator[CheckoutTarget]:
    folder = tmp_path / "told"
    folder.mkdir()
    (folder / "told.py").write_text(BINDING)
    with CheckoutTarget(tree, python=sys.executable, bindings_dir=folder) as target:
        yield target


def finding(target: Any, questions: Any, *deeds: str) -> Finding:
    def check(ctx: Context) -> Iterator[Violation]:
        for deed in deeds:
            ctx.judged()
            ctx.ask(questions["deed"], questions["deed"].request(deed=deed, pids=""))
        yield from ()

    return judge(target, Claim("hostile.told", "", check, severity="P1", kind="B", remedy=""), "")


TOLD = Evidence("stand-in", symbol="a_loader", value="a stand-in of ours")


def test_a_stand_in_that_answers_alike_is_evidence(asked: CheckoutTarget, questions: Any) -> None:
    for _ in range(2):  # the second time the answer comes from memory
        found = finding(asked, questions, "honest", "sound")
        assert found.status == "held" and TOLD in found.evidence
    assert TOLD not in finding(asked, questions, "honest").evidence


@pytest.mark.parametrize("deed", ["unsound", "both"])
def test_nothing_is_held_on_the_strength_of_another(deed: str, asked: CheckoutTarget, questions: Any) -> None:
    for _ in range(2):
        found = finding(asked, questions, "sound", deed)
        assert found.status == "unbound" and TOLD in found.evidence
        assert "a_loader: it is not installed" in found.note and "a stand-in of ours" in found.note


def test_a_recording_tells_it_too(asked: CheckoutTarget, questions: Any) -> None:
    recorder = Recorder(asked)
    live = [finding(recorder, questions, deed) for deed in ("sound", "unsound", "honest")]
    replayed = RecordingTarget(recorder.recording("", ""), "again")
    again = [finding(replayed, questions, deed) for deed in ("sound", "unsound", "honest")]
    assert [(f.status, f.note, f.evidence) for f in again] == [(f.status, f.note, f.evidence) for f in live]
    assert [f.status for f in again] == ["held", "unbound", "held"]


@pytest.mark.checkout
def test_the_versions_name_every_package_that_answers(checkout: CheckoutTarget) -> None:
    versions = checkout.info().versions
    assert {"qwen_vl_utils", "torchvision", "pycocotools", "msgspec", "pyyaml", "pillow"} <= set(versions)
