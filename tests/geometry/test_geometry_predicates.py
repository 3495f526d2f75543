"""The predicates over plain data: bins, records, JSONL lines, rendered text. Tables of input and what is said."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from coordexp_audit_lib.boundaries.geometry import artifact, cases
from coordexp_audit_lib.boundaries.geometry.claims import bins_in_range, box_ordered, never_reordered, record_contract
from coordexp_audit_lib.boundaries.geometry.predicates import bins, records
from coordexp_audit_lib.boundaries.geometry.predicates import text as rendered
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.kit import boxes

BOX = ["<|coord_1|>", "<|coord_2|>", "<|coord_30|>", "<|coord_40|>"]


def record(*objects: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"images": ["a.png"], "objects": list(objects), "width": 64, "height": 32, **fields}


def said(data: Any, space: records.Space = "bins", ordering: records.Ordering = "random") -> list[tuple[str, str]]:
    found = records.problems(records.Record(data, space, ordering))
    return [(claim.removeprefix("geometry."), p.subject) for claim, p in found]


def said_of(line: bytes, ordering: records.Ordering = "random") -> list[tuple[str, str]]:
    """What the audit of files says of a line, by the same claims in the same order."""
    told = artifact.quick_line(line) or artifact.read_line(line)
    found: list[tuple[str, str]] = []
    for claim in CLAIMS if ordering == "sorted" else CLAIMS[:3]:
        record = records.Record(told.value, "bins", ordering)
        problems = artifact.line_problems(told, claim, record, Ledger())
        found += [(claim.id.removeprefix("geometry."), p.subject) for p in problems]
    return found


CLAIMS = [
    record_contract.record_contract,
    bins_in_range.bins_in_range,
    box_ordered.box_ordered,
    never_reordered.never_reordered,
]


FIRST = ("bins_in_range", "objects[0].bbox_2d[0]")
PROBLEMS: list[tuple[str, Any, list[tuple[str, str]]]] = [
    ("sound", record({"desc": "a", "bbox_2d": BOX}), []),
    ("ints", record({"desc": "a", "bbox_2d": [0, 0, 999, 999]}), []),
    ("equal corners", record({"desc": "a", "bbox_2d": [5, 5, 5, 5]}), []),
    ("no objects", record(), []),
    ("not a record", [1], [("record_contract", "")]),
    ("images", record(images="a.png"), [("record_contract", "images")]),
    ("an image", record(images=["a", 3]), [("record_contract", "images[1]")]),
    ("width", record(width=True), [("record_contract", "width")]),
    ("both sizes", record(width=0, height=1.5), [("record_contract", "width"), ("record_contract", "height")]),
    ("objects", {**record(), "objects": {}}, [("record_contract", "objects")]),
    ("an object", record({"desc": "a", "bbox_2d": BOX}, 3), [("record_contract", "objects[1]")]),  # type: ignore[arg-type]
    ("desc", record({"bbox_2d": BOX}), [("record_contract", "objects[0].desc")]),
    ("none", record({"desc": "a"}), [("record_contract", "objects[0]")]),
    ("two", record({"desc": "a", "bbox_2d": BOX, "poly": BOX + BOX}), [("record_contract", "objects[0]")]),
    ("legacy", record({"desc": "a", "bbox": BOX}), [("record_contract", "objects[0].bbox")]),
    ("arity", record({"desc": "a", "bbox_2d": BOX[:3]}), [("record_contract", "objects[0].bbox_2d")]),
    ("odd polygon", record({"desc": "a", "poly": BOX + BOX[:3]}), [("record_contract", "objects[0].poly")]),
    ("range", record({"desc": "a", "bbox_2d": [1, 2, 3, 1000]}), [("bins_in_range", "objects[0].bbox_2d[3]")]),
    ("float", record({"desc": "a", "bbox_2d": [1.0, 2, 3, 4]}), [("bins_in_range", "objects[0].bbox_2d[0]")]),
    ("bool", record({"desc": "a", "bbox_2d": [1, True, 3, 4]}), [("bins_in_range", "objects[0].bbox_2d[1]")]),
    ("padded", record({"desc": "a", "bbox_2d": ["<|coord_007|>", *BOX[1:]]}), [FIRST]),
    ("newline", record({"desc": "a", "bbox_2d": ["<|coord_1|>\n", *BOX[1:]]}), [FIRST]),
    ("other digits", record({"desc": "a", "bbox_2d": ["<|coord_７|>", *BOX[1:]]}), [FIRST]),
    ("crossed", record({"desc": "a", "bbox_2d": [9, 0, 8, 0]}), [("box_ordered", "objects[0].bbox_2d")]),
    (
        "unsorted",
        record(*({"desc": "a", "bbox_2d": [0, y, 9, 9]} for y in (9, 8))),
        [("never_reordered", "objects[1]")],
    ),
]


@pytest.mark.parametrize(("name", "data", "expected"), PROBLEMS, ids=[p[0] for p in PROBLEMS])
def test_problems_of_a_record(name: str, data: Any, expected: list[tuple[str, str]]) -> None:
    assert said(data, "bins", "sorted") == expected
    line = json.dumps(data).encode()
    assert said_of(line, "sorted") == expected


SOUND = json.dumps(record({"desc": "a", "bbox_2d": BOX}))
LINES: list[tuple[str, bytes, list[tuple[str, str]]]] = [
    ("a key twice", SOUND.replace('"width"', '"width": 4, "width"').encode(), [("record_contract", "width")]),
    ("a desc twice", SOUND.replace('"desc"', '"desc": "b", "desc"').encode(), [("record_contract", "desc")]),
    ("an escaped twin", SOUND.replace('"width"', '"\\u0077idth": 4, "width"').encode(), [("record_contract", "width")]),
    ("not JSON", b"{'images': []}", [("record_contract", "")]),
    ("bad UTF-8", b'{"images": ["\xff"]}', [("record_contract", "")]),
    ("empty", b"", [("record_contract", "")]),
    ("deep", b"[" * 100_000, [("record_contract", "")]),
    ("key names in a desc", json.dumps(record({"desc": 'a "bbox_2d" "desc"', "bbox_2d": BOX})).encode(), []),
    ("NaN", b'{"images": [], "objects": [], "width": NaN, "height": 1}', [("record_contract", "")]),
]


@pytest.mark.parametrize(("name", "line", "expected"), LINES, ids=[x[0] for x in LINES])
def test_problems_of_a_line(name: str, line: bytes, expected: list[tuple[str, str]]) -> None:
    assert said_of(line) == expected


def test_fast_and_careful_readings_agree() -> None:
    """A mutated record is judged the same by the typed decode and by the walk."""
    rng = random.Random(3)
    judged = 0
    for seed in range(150):
        data = cases.record(random.Random(seed), rng.randrange(1, 6))
        if rng.random() < 0.8:
            item = rng.choice(data["objects"])
            key = "bbox_2d" if "bbox_2d" in item else "poly"
            item[key][rng.randrange(len(item[key]))] = rng.choice([1000, -1, "x", None, 5.5, "<|coord_1|>", 0, True])
        line = json.dumps(data, ensure_ascii=rng.random() < 0.5).encode()
        assert said_of(line, "sorted") == said(data, "bins", "sorted")
        judged += bool(said_of(line, "sorted"))
    assert 50 < judged < 150


def test_pixel_records_are_bounded_by_their_image() -> None:
    inside = record({"desc": "a", "bbox_2d": [0, 0, 64, 31.5]})
    outside = record({"desc": "a", "bbox_2d": [0, 0, 64.5, 33]})
    assert said(inside, "pixels") == []
    assert said(outside, "pixels") == [("bins_in_range", f"objects[0].bbox_2d[{i}]") for i in (2, 3)]


@pytest.mark.parametrize(
    ("c", "k"), [(0.0, 0), (1.0, 999), (-0.1, 0), (1.1, 999), (0.5, 500), (1 / 999, 1), (0.0004, 0)]
)
def test_encode(c: float, k: int) -> None:
    assert boxes.encode(c) == k


def test_every_bin_comes_back_at_every_size_that_can_hold_it() -> None:
    for size in (1000, 1248, 4096):
        back = [boxes.encode_pixel(boxes.decode(k) * boxes.extent(size), size) for k in range(1000)]
        assert back == list(range(1000))


def test_encode_problems_name_the_first_wrong_bin_and_forgive_ties() -> None:
    assert bins.encode_problems([0.5, 1.5], [0, 2], [1000, 1000], "p") == []
    assert bins.encode_problems([0.5, 1.5], [1, 1], [1000, 1000], "p") == []
    (problem,) = bins.encode_problems([0.4, 125, 999], [0, 126, 999], [1000] * 3, "p")
    assert (problem.expected, problem.actual) == (125, 126)
    (short,) = bins.encode_problems([1, 2], [1], [1000] * 2, "p")
    assert (short.expected, short.actual) == (2, 1)


def test_decode_problems_recognise_a_division_by_1000_and_a_nan() -> None:
    (problem,) = bins.decode_problems([k / 1000 for k in range(1000)], range(1000), 1e-12, "p")
    assert "999 of 1000" in problem.message and "k/1000" in problem.message
    assert bins.decode_problems([float("nan")], [0], 1e-12, "p")
    assert bins.decode_problems([k / 999 for k in range(1000)], range(1000), 1e-12, "p") == []


TEXT = (
    '{"objects": [{"desc": "a \\"b\\" <|coord_5|> {", '
    '"bbox_2d": [<|coord_1|>, <|coord_2|>, <|coord_3|>, <|coord_4|>]}]}'
)
SHOWN = {"objects": [{"desc": 'a "b" <|coord_5|> {', "bbox_2d": [1, 2, 3, 4]}]}


def test_a_text_is_read_around_strings() -> None:
    (shown,) = rendered.read(TEXT)
    assert (shown.desc, shown.geometry, shown.bins) == ('a "b" <|coord_5|> {', "bbox_2d", (1, 2, 3, 4))
    assert list(rendered.dropped(SHOWN, TEXT)) == []
    assert list(rendered.reordered(SHOWN, TEXT, "desc_first", "sorted")) == []


@pytest.mark.parametrize(
    ("text", "dropped", "reordered"),
    [
        (TEXT.replace("<|coord_4|>]", "<|coord_9|>]"), 2, 1),
        (TEXT.replace("<|coord_1|>, <|coord_2|>", "<|coord_2|>, <|coord_1|>"), 0, 1),
        ('{"objects": []}', 1, 1),
        ("", 1, 1),
        ("{}", 1, 1),
        (TEXT.replace("<|coord_4|>", "<|coord_1000|>"), 1, 1),
        (TEXT.replace('"desc"', '"desc": "x", "desc"'), 1, 1),
        (TEXT + TEXT, 1, 1),
    ],
)
def test_what_a_wrong_text_is_charged_with(text: str, dropped: int, reordered: int) -> None:
    assert len(list(rendered.dropped(SHOWN, text))) == dropped
    assert len(list(rendered.reordered(SHOWN, text, "desc_first", "sorted"))) == reordered


def test_key_order_is_judged() -> None:
    (problem,) = rendered.reordered(SHOWN, TEXT, "geometry_first", "sorted")
    assert (problem.expected, problem.actual) == (["bbox_2d", "desc"], ["desc", "bbox_2d"])


def test_inputs_are_what_they_claim() -> None:
    malformed = cases.malformed()
    assert len({m.name for m in malformed}) == len(malformed) > 40
    for m in malformed:
        paths = [p.subject for p in records.record_contract(records.Record(m.record), Ledger())]
        assert any(all(n in path for n in m.names) for path in paths), m.name
    for row in cases.real_boxes():
        assert said(cases.real_record(row), "bins", "sorted") == []
