"""An audit as data frames: typed columns, joins, group-bys and exports as users of pandas expect."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import coordexp_audit_lib
from coordexp_audit_lib.core.finding import SEVERITIES, Finding
from coordexp_audit_lib.report.document import write_documents
from coordexp_audit_lib.report.frame import Audit
from coordexp_audit_lib.report.tables import to_html, to_latex
from coordexp_audit_lib.run.session import Session

WORDS = ("first <b>", "second $x_1$")


@pytest.fixture
def read(tmp_path: Path, make_document: Callable[..., Any], statuses: Callable[..., list[Finding]]) -> Audit:
    write_documents(tmp_path, make_document(statuses(WORDS)))
    return coordexp_audit_lib.read_audit(tmp_path)


def test_findings_have_typed_columns_in_the_documents_order(read: Audit) -> None:
    frame = read.to_dataframe()
    assert list(frame.invariant) == [f["invariant"] for f in read.document["findings"]]
    assert frame.severity.cat.ordered and list(frame.severity.cat.categories) == list(SEVERITIES)
    assert frame.checked.dtype.kind == frame.violation_count.dtype.kind == "i"
    assert frame.counts.dtype == bool and frame.seconds.dtype.kind == "f"
    assert frame[frame.severity < "P1"].status.isin(["held", "violated"]).all()
    assert frame.set_index("invariant").loc["packing.each_once", "where"] == "src/a b.py:3"


def test_violations_and_evidence_keep_values_as_they_are(read: Audit) -> None:
    told = read.violations()
    assert list(told.line) == [3, 3] and told.line.dtype.kind == "i"
    assert list(told.actual) == [[w] for w in WORDS] and told.counterexample[0] == {"text": WORDS[0]}
    kept = read.evidence()
    assert set(kept.path) == {"src/pack.py"} and set(kept.surface) == {"packing.plan"}
    assert kept.calls.isna().all()


def test_audits_are_joined_grouped_and_exported_as_pandas_users_do(
    read: Audit, make_document: Callable[..., Any], make_finding: Callable[..., Finding]
) -> None:
    later = Audit(make_document([make_finding(invariant="packing.each_once"), make_finding()])).to_dataframe()
    both = read.to_dataframe().merge(later, on="invariant", how="outer", suffixes=("_before", "_after"))
    changed = both[both.status_before.astype(str) != both.status_after.astype(str)].set_index("invariant")
    assert changed.loc["packing.each_once", ["status_before", "status_after"]].tolist() == ["violated", "held"]
    counted = read.to_dataframe().groupby(["severity", "status"], observed=True).size()
    assert counted["P0", "violated"] == 1 and counted.sum() == len(read.document["findings"])
    exported = read.violations()[["message", "line"]].style.format(escape="latex").to_latex()
    assert r"second \$x\_1\$" in exported
    assert "<b>" not in to_html(read.violations()) and "$x" not in to_latex(read.violations()).replace(r"\$", "")


def test_a_session_gives_frames_too() -> None:
    session = Session("silence", target="coordexp-b46e74f", config="configs/stage2_ab/prod/ab_mixed.yaml")
    session.fail_on = "never"
    session.close()
    frames = [session.findings(), session.violations(), session.evidence(), session.about()]
    assert all(type(f) is pd.DataFrame and len(f) for f in frames)
    assert (session.findings().query("status == 'held'").checked > 0).all()
    assert session.evidence().calls.dtype.kind == "i"


def test_names_at_the_top_can_be_imported_and_cost_nothing_before() -> None:
    assert all(getattr(coordexp_audit_lib, name).__doc__ for name in coordexp_audit_lib.__all__)
    with pytest.raises(AttributeError, match="no attribute 'raed_audit'"):
        coordexp_audit_lib.raed_audit  # noqa: B018
    heavy = ("pandas", "numpy", "torch", "transformers", "msgspec", "yaml")
    script = f"import sys, coordexp_audit_lib; assert not {heavy!r} & sys.modules.keys()".replace(
        str(heavy), f"set({heavy})"
    )
    root = Path(coordexp_audit_lib.__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-c", script], cwd=root, check=True, timeout=60)


def test_every_name_of_the_interface_is_documented() -> None:
    told: Sequence[str] = [n for n in dir(Audit) if not n.startswith("_")]
    assert all(getattr(Audit, name).__doc__ for name in told)
