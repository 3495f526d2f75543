"""`coordexp-audit faults`, whole: every claim holds on the unbroken reference, and is violated by each fault of its."""

from __future__ import annotations

import json
from functools import partial

import pytest

from coordexp_audit_lib.cli import main
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.fault import faults
from coordexp_audit_lib.run.prove import prove
from coordexp_audit_lib.targets.reference import Memory


def test_every_claim_is_proven_by_every_fault_that_it_is_said_to_catch(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, memory: Memory
) -> None:
    monkeypatch.setattr("coordexp_audit_lib.run.prove.prove", partial(prove, memory=memory))
    status = main(["faults", "--json"])
    proof = json.loads(capsys.readouterr().out)
    assert (proof["unsound"], proof["unproven"]) == ({}, [])
    assert {d["fault"]: d["missed"] for d in proof["detections"] if d["missed"]} == {}
    assert status == 0
    assert [d["fault"] for d in proof["detections"]] == [f.id for f in faults()]
    assert {c for d in proof["detections"] for c in d["caught"]} == {c.id for c in claims()}
    nowhere = [d["fault"] for d in proof["detections"] if not d["example"] or not all(d["places"].values())]
    assert nowhere == [], "what they break is violated without a message or a place"


def test_the_command_says_so_in_its_last_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [f for f in faults() if f.id == "coordjson.quoted_accepted"] or faults("coordjson")[:1]
    monkeypatch.setattr("coordexp_audit_lib.cli.commands.faults", lambda: few)
    mine = [c for c in claims() if c.id in few[0].caught_by]
    monkeypatch.setattr("coordexp_audit_lib.cli.commands.claims", lambda boundary=None: mine)
    assert main(["faults"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"1 faults, {len(mine)} checks, all proven"
