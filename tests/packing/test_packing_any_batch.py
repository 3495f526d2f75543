"""Any batch: a right one of any kind is without a finding, one with a single fault is told, with the tensor at fault.

A seeded share of what `benchmarks/any_batch.py` makes ten thousand of.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.cli.commands import main
from coordexp_audit_lib.cli.reporting import exit_status
from coordexp_audit_lib.run.batches import audit_batch
from tests.packing import broken, generated

boundaries.load(["packing", "template"], ("claims",))


@pytest.mark.parametrize("family", generated.FAMILIES)
@pytest.mark.parametrize("layout", generated.LAYOUTS)
def test_a_right_batch_is_without_a_finding(layout: str, family: str) -> None:
    for seed in range(3):
        made = generated.right(np.random.default_rng(seed), layout, family, prompts=seed == 2)
        found = audit_batch(made.tensors).findings
        assert [(f.invariant, f.violations, f.note) for f in found if f.status in ("violated", "error")] == []
        assert exit_status(found, "P2", partial=True) == 0


@pytest.mark.parametrize("fault", broken.FAULTS)
def test_a_batch_with_one_fault_is_told_with_the_field(fault: str) -> None:
    change, claims, said = broken.FAULTS[fault]
    for made, tensors in broken.some(change, 4):
        found = audit_batch(tensors).findings
        told = [(f.invariant, v.message) for f in found for v in f.violations]
        assert any(i in claims and any(s in m for s in said) for i, m in told), (made.layout, made.family, told)
        assert [(f.invariant, f.note) for f in found if f.status == "error"] == []


def test_there_are_faults_of_many_kinds() -> None:
    assert len(broken.FAULTS) >= 40
    assert len(generated.LAYOUTS) >= 20


def kept(made: generated.Made, folder: Path) -> Path:
    path = folder / "batch.safetensors"
    save_file({n: np.ascontiguousarray(a) for n, a in made.tensors.items()}, path)
    return path


@pytest.mark.parametrize("layout", ["ms-swift", "left padded", "AReaL"])
def test_the_ribbon_shows_every_token_and_where_something_is_wrong(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = generated.right(np.random.default_rng(1), layout, "qwen3_vl")
    picture = tmp_path / "ribbon.svg"
    assert main(["batch", str(kept(made, tmp_path)), "--draw", str(picture)]) == 0
    said = capsys.readouterr().out.splitlines()
    rows = [line for line in said if "segments, " in line and "supervised" in line]
    assert len(rows) == (len(made.parts) if layout in generated.PADDED else 1)
    assert "!" not in said[3] and picture.read_text(encoding="utf-8").startswith("<?xml")
    again = tmp_path / "again.svg"
    assert main(["batch", str(tmp_path / "batch.safetensors"), "--draw", str(again)]) == 0
    same = [p.read_text(encoding="utf-8") for p in (picture, again)]
    assert len(same[0]) == len(same[1])


def test_the_ribbon_marks_the_culprit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    change, _, _ = broken.FAULTS["a stray image pad"]
    made, tensors = next((m, t) for m, t in broken.some(change, 30) if m.layout == "ms-swift, four rows")
    _, at = np.argwhere(tensors["input_ids"] != made.tensors["input_ids"])[0].tolist()
    made.tensors = tensors
    assert main(["batch", str(kept(made, tmp_path))]) == 1
    lines = capsys.readouterr().out.splitlines()
    count = tensors["input_ids"].shape[1]
    assert f"wrong at {at}" in lines[1] and lines[3].index("!") == at * min(count, 120) // count


@pytest.mark.parametrize("name", ["ribbon.txt", "missing/ribbon.svg"])
def test_a_ribbon_that_can_not_be_written_is_refused_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = generated.right(np.random.default_rng(2), "ms-swift", "qwen3_vl")
    assert main(["batch", str(kept(made, tmp_path)), "--draw", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Remedy" in said


def test_a_dump_on_standard_input_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kept(generated.right(np.random.default_rng(3), "verl", "qwen3_vl"), tmp_path)
    with path.open("rb") as opened:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(opened))
        assert main(["batch", "-"]) == 0
    assert "target: stdin" in capsys.readouterr().out
