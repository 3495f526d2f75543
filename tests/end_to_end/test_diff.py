"""`diff`: which changes between two audits are worse, and which are only told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib.cli import main
from coordexp_audit_lib.report.compare import changes_table, compare, is_worse, renamed
from coordexp_audit_lib.report.tables import plain


def finding(status: str = "held", count: int = 0, checked: int = 3, **other: Any) -> dict[str, Any]:
    violations = [{"message": f"broken {i}"} for i in range(min(count, 5))]
    base = {"invariant": "a.b", "config": None, "severity": "P0", "status": status, "checked": checked, "note": ""}
    base |= {"configs": [], "reach": None}
    return {**base, "claim": "it is so", "violations": violations, "violation_count": count, **other}


def document(*findings: dict[str, Any]) -> dict[str, Any]:
    return {"findings": list(findings), "configs": sorted({c for f in findings for c in f["configs"]})}


@pytest.mark.parametrize(
    ("before", "after", "kinds", "worse"),
    [
        ([finding()], [finding()], [], False),
        ([finding(seconds=1)], [finding(seconds=2)], [], False),
        ([finding()], [finding("violated", 1)], ["worse"], True),
        ([finding("violated", 1)], [finding("violated", 1, reach="none")], ["better"], False),
        (
            [finding(configs=["a", "b"])],
            [finding(configs=["a"]), finding("violated", 1, configs=["b"])],
            ["worse"],
            True,
        ),
        ([finding("violated", 1)], [finding()], ["better"], False),
        ([finding("unbound")], [finding("error")], ["worse"], True),
        ([finding("violated", 1)], [finding("violated", 2)], ["worse"], True),
        ([finding()], [finding(checked=1)], ["other"], False),
        ([finding()], [], ["gone"], False),
        ([], [finding()], ["new"], False),
        ([], [finding("violated", 1)], ["new"], True),
    ],
)
def test_changes(before: Any, after: Any, kinds: list[str], worse: bool) -> None:
    changes = compare(document(*before), document(*after))
    assert [c.kind for c in changes] == kinds
    assert is_worse(changes) is worse


OLD = ["configs/stage1/ablation/geometry_first_coco80.yaml", "configs/stage2_ab/prod/ab_mixed.yaml"]
NEW = [
    "configs/stage1/profiles/4b/coord_soft_ce_gate_coco80_geometry_first.yaml",
    "configs/stage2_two_channel/prod/ab_mixed.yaml",
]


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        (OLD, NEW, dict(zip(OLD, NEW, strict=True))),  # the same anchored roles
        (OLD, OLD, {}),
        (["a/x.yaml", "a/y.yaml"], ["b/x.yaml", "a/y.yaml"], {"a/x.yaml": "b/x.yaml"}),  # the same file elsewhere
        (["a/x.yaml"], ["b/z.yaml"], {"a/x.yaml": "b/z.yaml"}),  # the one config on each side
        (["a/x.yaml", "a/y.yaml"], ["b/z.yaml", "b/w.yaml"], {}),
        (["a/x.yaml", "c/x.yaml"], ["b/x.yaml", "b/w.yaml"], {}),  # which of the two it is, nothing tells
    ],
)
def test_what_is_of_a_renamed_config_is_compared_and_not_new(
    before: list[str], after: list[str], same: dict[str, str]
) -> None:
    documents = [document(*(finding(configs=[c], config=c) for c in configs)) for configs in (before, after)]
    assert renamed(*documents) == same
    assert {c.config for c in compare(*documents)} == {*before, *after} - {*same, *same.values()} - (
        {*before} & {*after}
    )
    told = plain(changes_table(*documents))
    assert all(f"config renamed: {old} → {new}" in told for old, new in same.items())


def test_a_folder_without_an_audit_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(tmp_path), str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "audit.json" in err
    assert "Remedy" in err


AROUND: dict[str, Any] = {
    **{"created": "", "tool": {}, "configs": [], "boundaries": []},
    "summary": {
        "by_severity": {},
        **dict.fromkeys(("held", "violated", "unbound", "error", "advice", "latent", "same"), 0),
    },
    "target": {"kind": "recording", "name": "x", "commit": "", "dirty": False, "interpreter": "", "versions": {}},
}


REST: dict[str, Any] = {
    **{"boundary": "a", "kind": "A", "authority": "spec", "remedy": "", "spec": "", "same_as": "", "reach_by": ""},
    **{"evidence": [], "kinds": [], "also": [], "seconds": 0.0},
}


def test_json_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, status in (("a", "held"), ("b", "violated")):
        made = {"schema": "coordexp-audit/2", **AROUND, **document(finding(status, int(status == "violated"), **REST))}
        (tmp_path / f"{name}.json").write_text(json.dumps(made))
    assert main(["diff", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["changes"][0]["kind"] == "worse"
