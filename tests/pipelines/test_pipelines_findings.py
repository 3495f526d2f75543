"""The table of all findings: it is of the recordings that come along, and each violated claim in it was confirmed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from coordexp_audit_lib.core.pipeline import pipeline

TABLE = Path(__file__).resolve().parents[2] / "FINDINGS.md"


def test_the_table_of_findings_is_of_the_recordings_that_come_along_and_all_of_it_confirmed() -> None:
    text = TABLE.read_text(encoding="utf-8")
    for recording in Path(pipeline().recordings).glob("*.json.xz"):
        assert f"`{hashlib.sha256(recording.read_bytes()).hexdigest()}`" in text, "run tools/findings_table.py"
    assert "**not confirmed**" not in text
    assert text.count("| violated, P0 |") >= 10, "both commits' findings stand in it"
