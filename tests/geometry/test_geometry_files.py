"""Data files by the one judge: what each claim counts, what a line leaves unjudged, and that memory stays flat."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.geometry import artifact
from coordexp_audit_lib.boundaries.geometry.predicates.records import Ordering, Record
from coordexp_audit_lib.core.claim import claims_on
from coordexp_audit_lib.core.finding import Finding

boundaries.load(["geometry"])
CONTRACT, RANGE, ORDERED, SORTED = "record_contract", "bins_in_range", "box_ordered", "never_reordered"
BOX, POLY = {"desc": "a", "bbox_2d": [1, 2, 3, 4]}, {"desc": "b", "poly": [5, 6, 7, 8, 9, 6]}


def record(*objects: Any) -> str:
    return json.dumps({"images": ["a.png"], "objects": list(objects), "width": 64, "height": 32})


def audit(path: Path, *lines: str, ordering: Ordering = "random") -> dict[str, Finding]:
    path.write_text("".join(f"{line}\n" for line in lines))
    return {f.invariant.removeprefix("geometry."): f for f in artifact.audit_data(path, ordering)}


def told(found: dict[str, Finding]) -> dict[str, tuple[str, int]]:
    return {claim: (f.status, f.checked) for claim, f in found.items()}


TABLE: list[tuple[str, tuple[str, ...], dict[str, tuple[str, int]]]] = [
    ("sound", (record(BOX, POLY), record()), {CONTRACT: ("held", 2), RANGE: ("held", 10), ORDERED: ("held", 1)}),
    ("no box", (record(POLY), record()), {CONTRACT: ("held", 2), RANGE: ("held", 6), ORDERED: ("unbound", 0)}),
    ("no object", (record(),), {CONTRACT: ("held", 1), RANGE: ("unbound", 0), ORDERED: ("unbound", 0)}),
    ("no record", (), {CONTRACT: ("unbound", 0), RANGE: ("unbound", 0), ORDERED: ("unbound", 0)}),
    ("no JSON", ("x", "{"), {CONTRACT: ("violated", 2), RANGE: ("unbound", 0), ORDERED: ("unbound", 0)}),
    ("one no JSON", (record(BOX), "{"), {CONTRACT: ("violated", 2), RANGE: ("unbound", 4), ORDERED: ("unbound", 1)}),
    (
        "a crossed box beside what is no JSON",
        (record({"desc": "a", "bbox_2d": [9, 0, 8, 0]}), "{"),
        {CONTRACT: ("violated", 2), RANGE: ("unbound", 4), ORDERED: ("violated", 1)},
    ),
    (
        "a geometry under another key",
        (record({"desc": "a", "bbox": [1, 2, 3, 4]}),),
        {CONTRACT: ("violated", 1), RANGE: ("unbound", 0), ORDERED: ("unbound", 0)},
    ),
]


@pytest.mark.parametrize(("name", "lines", "expected"), TABLE, ids=[t[0] for t in TABLE])
def test_each_claim_counts_what_it_is_about(
    name: str, lines: tuple[str, ...], expected: dict[str, tuple[str, int]], tmp_path: Path
) -> None:
    assert told(audit(tmp_path / "train.jsonl", *lines)) == expected


def test_order_is_judged_of_records_with_objects_to_compare(tmp_path: Path) -> None:
    low = {"desc": "low", "bbox_2d": [1, 9, 3, 9]}
    path = tmp_path / "train.jsonl"
    assert told(audit(path, record(BOX), record(), ordering="sorted"))[SORTED] == ("unbound", 0)
    assert told(audit(path, record(BOX, low), record(BOX), ordering="sorted"))[SORTED] == ("held", 1)
    assert told(audit(path, record(BOX, low), record(low, BOX), ordering="sorted"))[SORTED] == ("violated", 2)


def test_what_was_left_out_is_said_in_bounds(tmp_path: Path) -> None:
    one = audit(tmp_path / "train.jsonl", record(BOX), "{")[RANGE]
    assert one.note == "not judged: line 2: it is no JSON"
    many = audit(tmp_path / "train.jsonl", record(BOX), *["{"] * 1000)[RANGE]
    assert many.note == "not judged: line 2: it is no JSON; not judged: parts of 999 more lines"
    odd = audit(tmp_path / "train.jsonl", record(BOX, {"desc": "a", "bbox_2d": "1 2 3 4"}))[ORDERED]
    assert odd.note == "not judged: line 1: objects[1]: it has not exactly one geometry that is a list"
    twice = audit(tmp_path / "train.jsonl", record(BOX).replace('"bbox_2d"', '"bbox_2d": [9, 9, 0, 0], "bbox_2d"'))
    assert {f.status for f in twice.values()} == {"violated", "unbound"}


def test_a_predicate_that_crashes_is_one_error_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crashing(record: Any, ledger: Any) -> Any:
        raise RuntimeError("a bug of ours")

    claim = next(c for c in claims_on(Record, "geometry") if c.id.endswith(ORDERED))
    monkeypatch.setitem(claim.predicates, Record, crashing)
    found = audit(tmp_path / "train.jsonl", record({"desc": "a", "bbox_2d": [9, 0, 1000, 0]}), record(BOX))
    assert told(found) == {CONTRACT: ("held", 2), RANGE: ("violated", 8), ORDERED: ("error", 0)}
    assert found[ORDERED].note == "the check itself failed: RuntimeError: a bug of ours"


@pytest.mark.parametrize("name", [CONTRACT, RANGE, ORDERED, SORTED])
def test_each_sound_line_is_judged_by_the_claim_s_own_predicate(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def crashing(record: Any, ledger: Any) -> Any:
        seen.append(record.value)
        raise RuntimeError("a bug of ours")

    claim = next(c for c in claims_on(Record, "geometry") if c.id.endswith(name))
    monkeypatch.setitem(claim.predicates, Record, crashing)
    lines = [record(BOX, POLY), record(BOX)]
    found = audit(tmp_path / "train.jsonl", *lines, ordering="sorted")
    assert {c for c, f in found.items() if f.status != "held"} == {name}
    assert found[name].status == "error" and seen == [json.loads(line) for line in lines]


SPACED = record(BOX, POLY).replace('"width":', '"width" :')


@pytest.mark.parametrize(
    ("line", "sound"),
    [
        (record(BOX, POLY), True),
        (SPACED, True),
        (record({**BOX, "desc": 'x": "y'}), True),
        (record(BOX).replace('"width": 64', '"width": 64, "image_id": 7'), True),
        (record(BOX).replace('"width": 64', '"width" :64, "width": 64'), False),
        (record(BOX).replace('"desc": "a"', '"desc" :"a", "desc": "a"'), False),
        (record(BOX).replace('"width": 64', '"width": 64, "image_id": 7, "width": 1'), False),
        (record(BOX).replace('"desc": "a"', '"desc": "a:b", "de\\u0073c": "a"'), False),
        (record([1, 2, 3]).replace('"width": 64', '"width": 64, "width": 1'), False),
    ],
)
def test_a_line_is_read_fast_only_if_no_key_can_stand_twice(line: str, sound: bool) -> None:
    quick = artifact.quick_line(line.encode())
    assert (quick is not None) == sound
    assert quick in (None, artifact.read_line(line.encode()))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(lines: int) -> int:
        path = tmp_path / "train.jsonl"
        path.write_text("".join([f"{record(BOX)}\n", "{\n"] * lines))
        tracemalloc.start()
        try:
            artifact.audit_data(path)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    assert peak(12_000) < 1.2 * peak(3000)  # both are longer than a block
