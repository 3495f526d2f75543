"""`list`, `explain`, `--select` and `--ignore`: a stranger finds what is claimed, and judges a part of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coordexp_audit_lib.cli import main

ROOT = Path(__file__).resolve().parents[2]


def test_list_tells_every_claim_of_a_boundary_with_its_demand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "packing", "--json"]) == 0
    known = {c["id"]: c for c in json.loads(capsys.readouterr().out)}
    files = {p.stem for p in (ROOT / "coordexp_audit_lib/boundaries/packing/claims").glob("*.py")} - {"__init__"}
    assert {i.removeprefix("packing.") for i in known} == files
    assert "int32" in known["packing.cu_seqlens"]["claim"] and known["packing.cu_seqlens"]["faults"]


def test_explain_says_why_and_where_it_is_declared_and_what_proves_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "packing.cu_seqlens"]) == 0
    told = capsys.readouterr().out
    assert "Example: " in told and "remedy: " in told and "proven by the fault packing.cu_int64" in told
    (declared,) = (line.partition(": ")[2] for line in told.splitlines() if line.startswith("declared in: "))
    assert (ROOT / declared).is_file()


@pytest.mark.parametrize("words", [["explain", "packing.cu_seqlen"], ["check", "--select", "packing.cu_seqlenz"]])
def test_a_misspelt_claim_is_told_with_the_one_that_is_meant(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert "did you mean packing.cu_seqlens?" in capsys.readouterr().err


def test_a_check_judges_what_is_selected_and_not_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    how = ["check", "--target", "reference", "--boundary", "coordjson", "--json"]
    assert main([*how, "--select", "coordjson.spans", "coordjson.salvage", "--ignore", "coordjson.salvage_acc"]) == 0
    judged = {f["invariant"] for f in json.loads(capsys.readouterr().out)["findings"]}
    assert judged and all(i.startswith(("coordjson.spans", "coordjson.salvage")) for i in judged)
    assert "coordjson.salvage_accounts" not in judged
    assert main([*how, "--ignore", "coordjson"]) == 2
    assert "no claim is left to judge" in capsys.readouterr().err
