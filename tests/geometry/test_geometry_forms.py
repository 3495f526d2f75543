"""`data` on the files that people have: packed or not, lines or arrays, and the forms of other tools."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.geometry.artifact import audit_data
from coordexp_audit_lib.cli import main
from coordexp_audit_lib.core.errors import UsageError

boundaries.load(["geometry"])
COORD = {
    "images": ["a/0.jpg"],
    "objects": [{"desc": "cat", "bbox_2d": ["<|coord_1|>", "<|coord_2|>", "<|coord_30|>", "<|coord_40|>"]}],
    "width": 64,
    "height": 32,
}
SWIFT = {
    "messages": [
        {"role": "user", "content": "<image>Find the <ref-object>."},
        {"role": "assistant", "content": "<bbox><bbox>"},
    ],
    "images": ["a/0.jpg"],
    "objects": {"ref": ["cat"], "bbox": [[1.5, 2, 30, 31.5], [0, 0, 64, 32]]},
    "width": 64,
    "height": 32,
}
QWEN = {
    "image": "a/0.jpg",
    "conversations": [
        {"from": "human", "value": "<image>\nFind every cat."},
        {"from": "gpt", "value": '[{"bbox_2d": [66, 51, 523, 711], "label": "cat"}]'},
    ],
}
COCO = {
    "images": [{"id": 1, "file_name": "0.jpg", "width": 64, "height": 32}],
    "annotations": [{"id": 9, "image_id": 1, "category_id": 3, "bbox": [1, 2, 30, 20]}],
    "categories": [{"id": 3, "name": "cat"}],
}


def changed(record: dict[str, Any], *path: Any, to: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(record))
    at: Any = made
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to
    return made


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(r).encode() + b"\n" for r in records)


def statuses(path: Path, **how: str) -> dict[str, tuple[str, int]]:
    return {f.invariant.removeprefix("geometry."): (f.status, f.checked) for f in audit_data(path, **how)}  # type: ignore[arg-type]


PACKED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress}


@pytest.mark.parametrize("pack", PACKED)
def test_a_packed_file_is_the_file(pack: str, tmp_path: Path) -> None:
    plain = lines(*[COORD] * 5)
    (tmp_path / "plain.jsonl").write_bytes(plain)
    (tmp_path / "packed").write_bytes(PACKED[pack](plain))
    assert statuses(tmp_path / "packed") == statuses(tmp_path / "plain.jsonl")
    assert statuses(tmp_path / "packed")["record_contract"] == ("held", 5)


@pytest.mark.parametrize("pack", PACKED)
def test_a_packed_file_that_is_cut_short_loses_its_end_only(pack: str, tmp_path: Path) -> None:
    many = [changed(COORD, "images", 0, to=f"{os.urandom(64).hex()}.jpg") for _ in range(3000)]
    whole = PACKED[pack](lines(*many))
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    contract = next(f for f in audit_data(tmp_path / "cut") if f.invariant.endswith("record_contract"))
    assert (contract.status, contract.violation_count) == ("violated", 1)
    assert "cut short or damaged" in contract.violations[0].message
    assert (1 if pack == "bzip2" else 2) <= contract.checked < 3000


def test_an_array_is_its_elements_and_a_byte_order_mark_is_none_of_them(tmp_path: Path) -> None:
    broken = changed(COORD, "width", to=0)
    (tmp_path / "array.json").write_bytes(b"\xef\xbb\xbf" + json.dumps([COORD, broken, COORD], indent=1).encode())
    contract = next(f for f in audit_data(tmp_path / "array.json") if f.invariant.endswith("record_contract"))
    assert (contract.checked, contract.violation_count) == (3, 1)
    where = contract.violations[0].where
    assert where and (where.line, where.symbol) == (2, "width")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n", "Git LFS pointer"),
        ("\ufeff{}\n".encode("utf-16"), "UTF-16"),
        ("{}\n".encode("utf-16-be"), "UTF-16-BE"),
        ("{}\n".encode("utf-32-le"), "UTF-32-LE"),
        (gzip.compress("{}\n".encode("utf-32-be"), mtime=0), "UTF-32-BE"),
        (b"PK\x03\x04", "zip archive"),
    ],
)
def test_what_is_no_such_data_is_told_as_what_it_is(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(UsageError, match=says):
        audit_data(tmp_path / "f")


def test_a_pipe_without_a_writer_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="no regular file"):
        audit_data(tmp_path / "pipe")


RIGHT: list[tuple[str, bytes, str, dict[str, str]]] = [
    ("CoordExp", lines(COORD), "records of objects", {}),
    ("ms-swift", lines(SWIFT, changed(SWIFT, "objects", "bbox_type", to="real")), "ms-swift", {}),
    ("ms-swift in thousandths", lines(changed(SWIFT, "objects", "bbox_type", to="norm1000")), "ms-swift", {}),
    ("Qwen", lines(QWEN), "conversations", {"frame": "norm1000"}),
    ("Qwen as an array", json.dumps([QWEN, QWEN], indent=2).encode(), "conversations", {"frame": "norm1000"}),
    ("no placeholder at all", lines(changed(QWEN, "conversations", 0, "value", to="Find cats")), "conversations", {}),
    ("COCO", json.dumps(COCO).encode(), "COCO", {}),
    ("COCO over several lines", json.dumps(COCO, indent=1).encode(), "COCO", {}),
]


@pytest.mark.parametrize(("content", "taken_for", "how"), [r[1:] for r in RIGHT], ids=[r[0] for r in RIGHT])
def test_a_right_file_of_any_form_holds(content: bytes, taken_for: str, how: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(content)
    found = audit_data(tmp_path / "f", **how)  # type: ignore[arg-type]
    assert [f for f in found if f.status == "violated"] == []
    assert any(taken_for in str(e.value) for f in found for e in f.evidence if e.symbol == "read as")
    by_name = {f.invariant.removeprefix("geometry."): f.status for f in found}
    assert by_name["record_contract"] == by_name["box_ordered"] == "held"


QUERY = {"query": "<image>Find cats.", "response": '[{"bbox_2d": [1, 2, 30, 40]}]', "images": ["a.png"]}
ANSWERED = {"instruction": "Find", "input": "<image>cats", "output": "none", "images": ["a.png"]}
PARTS = {
    "messages": [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a"}]},
        *SWIFT["messages"][1:],
    ]
}
LISTS = changed(QWEN, "conversations", 1, "value", to='[{"bbox_2d": [[1, 2, 3, 4], [5, 6, 7, 8]]}]')
BOX_WORDS = changed(QWEN, "conversations", 1, "value", to="<|box_start|>(1,2),(30,40)<|box_end|>")
REWARDED = {**changed(QWEN, "conversations", to=QWEN["conversations"][:1]), "solution": "[1, 2, 3, 4]"}


@pytest.mark.parametrize("record", [QUERY, ANSWERED, LISTS, BOX_WORDS, REWARDED, {**PARTS, "images": ["a.png"]}])
def test_a_right_record_of_another_spelling_has_no_violation(record: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(lines(record))
    found = statuses(tmp_path / "f", frame="norm1000")
    assert found["record_contract"] == ("held", 1) and "violated" not in {status for status, _ in found.values()}


def test_a_form_that_is_not_known_is_refused_and_not_taken_for_another(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(lines({"text": "a", "label": 1}))
    with pytest.raises(UsageError, match="a form that is not known, with the keys: label, text"):
        audit_data(tmp_path / "f")
    (tmp_path / "f").write_bytes(lines(COORD))
    with pytest.raises(UsageError, match="bins or pixels, and not norm1"):
        audit_data(tmp_path / "f", frame="norm1")


def boxes(*values: Any, **size: int) -> dict[str, Any]:
    return {**changed(QWEN, "conversations", 1, "value", to=json.dumps([{"bbox_2d": v} for v in values])), **size}


SMALL = {"width": 640, "height": 480}
FITTING: list[tuple[str, list[dict[str, Any]], str, str]] = [
    ("thousandths", [boxes([1, 2, 30, 40], **SMALL), boxes([1, 2, 990, 950], **SMALL)], "held", "thousandths"),
    (
        "pixels",
        [boxes([1, 2, 1200, 40], width=1280, height=960)],
        "unbound",
        "needs the frame (--frame): real, resized",
    ),
    ("shares", [boxes([0.1, 0.2, 0.3, 0.9], **SMALL)], "held", "shares"),
    ("any", [boxes([1, 2, 30, 40], **SMALL)], "unbound", "norm1000, resized would do"),
    ("mixed", [boxes([1, 2, 990, 950], **SMALL), boxes([1, 2, 1200, 40], width=1280, height=960)], "violated", "mixed"),
]


@pytest.mark.parametrize(("records", "status", "said"), [f[1:] for f in FITTING], ids=[f[0] for f in FITTING])
def test_a_frame_that_no_one_says_is_the_one_that_all_boxes_fit(
    records: list[dict[str, Any]], status: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(lines(*records))
    found = next(f for f in audit_data(tmp_path / "f") if f.invariant.endswith("bins_in_range"))
    assert found.status == status
    words = [found.note, *(str(e.value) for e in found.evidence), *(v.message for v in found.violations)]
    assert any(said in word for word in words), words


BAD: list[tuple[str, bytes, str, dict[str, str]]] = [
    ("an absolute image", lines(changed(COORD, "images", 0, to="/a.jpg")), "record_contract", {}),
    ("an image that climbs out", lines(changed(COORD, "images", 0, to="../a.jpg")), "record_contract", {}),
    ("an image as a URL", lines(changed(COORD, "images", 0, to="https://a/b.jpg")), "record_contract", {}),
    ("a ref too many", lines(changed(SWIFT, "objects", "ref", to=["a", "b"])), "record_contract", {}),
    ("a box too few", lines(changed(SWIFT, "objects", "bbox", to=[[1, 2, 3, 4]])), "record_contract", {}),
    ("an unknown bbox_type", lines(changed(SWIFT, "objects", "bbox_type", to="norm100")), "record_contract", {}),
    ("a box of three", lines(changed(SWIFT, "objects", "bbox", 0, to=[1, 2, 3])), "record_contract", {}),
    ("a placeholder too many", lines(changed(SWIFT, "images", to=[])), "record_contract", {}),
    ("an image too many", lines(changed(QWEN, "image", to=["a", "b"])), "record_contract", {}),
    ("no answer", lines(changed(QWEN, "conversations", to=QWEN["conversations"][:1])), "record_contract", {}),
    ("a blank answer", lines(changed(QWEN, "conversations", 1, "value", to=" ")), "record_contract", {}),
    ("an unknown role", lines(changed(QWEN, "conversations", 0, "from", to="narrator")), "record_contract", {}),
    ("another form in between", lines(QWEN, COORD), "record_contract", {}),
    ("beyond the image", lines(changed(SWIFT, "objects", "bbox", 0, 2, to=65)), "bins_in_range", {}),
    (
        "pixels where thousandths",
        lines(changed(QWEN, "conversations", 1, "value", to='[{"bbox_2d": [1, 2, 1200, 4]}]')),
        "bins_in_range",
        {"frame": "norm1000"},
    ),
    ("corners exchanged", lines(changed(SWIFT, "objects", "bbox", 0, to=[30, 2, 1, 31])), "box_ordered", {}),
    (
        "an annotation of no image",
        json.dumps(changed(COCO, "annotations", 0, "image_id", to=5)).encode(),
        "record_contract",
        {},
    ),
    ("a category that is not listed", json.dumps(changed(COCO, "categories", to=[])).encode(), "record_contract", {}),
    (
        "a COCO box beyond the image",
        json.dumps(changed(COCO, "annotations", 0, "bbox", 2, to=90)).encode(),
        "bins_in_range",
        {},
    ),
]


@pytest.mark.parametrize(("content", "claim", "how"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_a_bad_record_of_any_form_is_told(content: bytes, claim: str, how: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(content)
    assert statuses(tmp_path / "f", **how)[claim][0] == "violated"


@pytest.mark.parametrize("odd", [7, "word", None, []])
def test_an_annotation_that_is_no_object_costs_the_others_nothing(odd: Any, tmp_path: Path) -> None:
    broken = COCO | {"annotations": [odd, *changed(COCO, "annotations", 0, "bbox", 2, to=90)["annotations"]]}
    (tmp_path / "f").write_text(json.dumps(broken))
    found = statuses(tmp_path / "f")
    assert found["record_contract"][0] == "violated"
    assert found["bins_in_range"][0] == "violated", "the other annotation's box, which lies beyond the image"


def test_what_a_file_was_taken_for_is_said_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.jsonl").write_bytes(lines(SWIFT))
    assert main(["data", str(tmp_path / "train.jsonl")]) == 0
    assert "train.jsonl: read as ms-swift grounding records" in capsys.readouterr().out.splitlines()[0]
