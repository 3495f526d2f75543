"""The book's page on adapters: its code is what lies in `examples/`, and that is run, sound and broken."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordexp_audit_lib.boundaries.packing.claims.each_once import each_once
from coordexp_audit_lib.boundaries.packing.claims.no_cross_boundary_label import no_cross_boundary_label
from coordexp_audit_lib.boundaries.packing.claims.positions_restart import positions_restart
from coordexp_audit_lib.boundaries.policies import POLICIES
from coordexp_audit_lib.cli.reporting import HELD
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.surface import surfaces
from coordexp_audit_lib.targets.adapter import AdapterTarget

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES, PAGE = ROOT / "examples", ROOT / "book" / "audit_your_own_pipeline.md"


def test_the_page_shows_the_code_that_is_run_and_names_what_there_is() -> None:
    page = PAGE.read_text(encoding="utf-8")
    sources = [p.read_text(encoding="utf-8") for p in sorted(EXAMPLES.glob("*.py"))]
    shown = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(shown) == 3
    assert [block[:40] for block in shown if not any(block.rstrip() in s for s in sources)] == []
    assert [p for p in POLICIES if f"| `{p}` |" not in page] == []
    named = re.findall(
        r"`((?:packing|template|metrics)\.[a-z_]+)`", page[page.index("| surface") : page.index("## Pol")]
    )
    assert set(named) <= surfaces().keys()


def test_an_adapter_of_somebody_elses_packing_and_template_takes_at_most_120_lines() -> None:
    assert len((EXAMPLES / "ms_swift_adapter.py").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.model
def test_the_plain_packer_holds_with_a_claim_of_ones_own() -> None:
    """In a process of its own, for its claims stay declared. Without a kernel, isolation under one is left open."""
    asked = ["--adapter", str(EXAMPLES / "packer_adapter.py"), "--boundary", "packing"]
    asked += ["--claims", str(EXAMPLES / "own_claims.py"), "--jobs", "1", "--json"]
    command = [sys.executable, "-m", "coordexp_audit_lib.cli", "check", *asked]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == HELD, told.stderr
    found = {f["invariant"].partition(".")[2]: f for f in json.loads(told.stdout)["findings"]}
    held = {name for name, f in found.items() if f["status"] == "held"}
    by_a_kernel = {"segments_isolated", "loss_equivalent"}
    assert found["ddp_aligned"]["status"] == "unbound"  # it deals its packs to one rank only
    assert held >= {"positions_restart", "cu_seqlens", "vision_in_order", "each_once", "no_more_packs_than_needed"}
    assert {n: f["note"] for n, f in found.items() if n not in held | by_a_kernel and f["status"] != "unbound"} == {}
    for name in by_a_kernel - held:
        assert "what depends on flash-attn" in found[name]["note"]
        assert found[name]["checked"] == 4


LOSES = "packs = packs[:-1]"
BUGS = {
    "positions run on": ("torch.arange(len(ids))[None]", "(7 + torch.arange(len(ids)))[None]"),
    "a label of the question": ("labels[first : last + 1] = ids[first : last + 1]", "labels[:] = ids"),
    "a sample is lost": ("    return packs\n", f"    if len(lengths) == 12:\n        {LOSES}\n    return packs\n"),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdapterTarget]:
    """The packer with three bugs at once, each of which another claim names."""
    folder = tmp_path_factory.mktemp("broken")
    text = (EXAMPLES / "packer.py").read_text(encoding="utf-8")
    for before, after in BUGS.values():
        assert text.count(before) == 1
        text = text.replace(before, after)
    (folder / "packer.py").write_text(text, encoding="utf-8")
    shutil.copyfile(EXAMPLES / "packer_adapter.py", folder / "packer_adapter.py")
    with AdapterTarget(folder / "packer_adapter.py", root=folder) as target:
        yield target


def test_bugs_in_the_packer_are_found_with_the_place_to_mend(broken: AdapterTarget) -> None:
    """Given its source, the line that makes the difference; else, or where every case fails, the function asked."""
    lines = (broken.tree.root / "packer.py").read_text(encoding="utf-8").splitlines()
    lost = judge(broken, each_once, "")
    assert lost.status == "violated"
    assert lines[place(lost)[1] - 1].strip() == LOSES
    crossed, run_on = (judge(broken, c, "") for c in (no_cross_boundary_label, positions_restart))
    assert "is supervised" in crossed.violations[0].message
    assert "text position" in run_on.violations[0].message
    assert place(run_on)[0] == "packer:collate"


def place(finding: Finding) -> tuple[str, int]:
    where = finding.violations[0].where
    assert where is not None
    assert where.path == "packer.py"
    return where.symbol, where.line
