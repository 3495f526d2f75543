"""Sound lines are judged many at a time: what is said is what the claims' own predicates say of each line by itself."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.geometry.artifact import How, audit_file, blocks, judging
from coordexp_audit_lib.core.finding import Finding

boundaries.load(["geometry"])
BOX = {"desc": "a", "bbox_2d": ["<|coord_1|>", "<|coord_2|>", "<|coord_30|>", "<|coord_40|>"]}
RECORD = {"images": ["a.png"], "objects": [BOX], "width": 64, "height": 32}


def lines(*records: Any) -> bytes:
    return b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in records)


def told(path: Path, how: How) -> list[Any]:
    """All that findings say, but for how long it took."""

    def said(f: Finding) -> Any:
        return f.invariant, f.status, f.checked, f.violation_count, f.note, f.violations, f.kinds

    return [said(f) for f in audit_file(path, how)]


def one_by_one(path: Path, monkeypatch: pytest.MonkeyPatch, how: How) -> list[Any]:
    with monkeypatch.context() as patch:
        patch.setattr(judging, "_known", lambda columns: False)
        return told(path, how)


DESCS = ["a", "b: c", "<|coord_1|>", "é", 'x"bbox_2d":', "ends\\"]


def dumped(record: Any, rng: Random) -> bytes:
    """The same record in one of the spellings that JSON has for it."""
    spaces = rng.choice([(",", ":"), (", ", ": "), (" , ", " : ")])
    return json.dumps(record, ensure_ascii=rng.random() < 0.5, separators=spaces).encode()


def made(rng: Random) -> bytes:
    """A record that may be sound, or wrong in small ways that a fast reader could miss."""
    objects: list[Any] = []
    for _ in range(rng.randint(0, 4)):
        numbers = [rng.randrange(1001 if rng.random() < 0.02 else 1000) for _ in range(rng.choice([4] * 9 + [3, 6, 8]))]
        if len(numbers) == 4 and rng.random() < 0.97:
            x, y = sorted(rng.sample(range(1000), 2)), sorted(rng.sample(range(1000), 2))
            numbers = [x[0], y[0], x[1], y[1]]
        values: list[Any] = [f"<|coord_{k}|>" if rng.random() < 0.7 else k for k in numbers]
        key = "bbox_2d" if len(numbers) == 4 else rng.choice(["poly", "poly", "bbox_2d"])
        item = {
            "desc": rng.choice(
                ["a", "b: c", "<|coord_1|>", "é", 'x"bbox_2d":', "ends\\", "", " "][: 6 + rng.randint(0, 2)]
            )
        }
        item[key] = values  # type: ignore[assignment]
        item |= {"poly_points": len(numbers) // 2} if rng.random() < 0.1 else {}  # type: ignore[dict-item]
        item |= {"score": rng.choice([1, 0.5, None, {"a": 1}])} if rng.random() < 0.1 else {}  # type: ignore[dict-item]
        objects.append(item)
    record = {**RECORD, "objects": objects, "images": [rng.choice(["a.png", "b/c.png", "x..y.png", "b/../../c.png"])]}
    record |= {"width": rng.choice([0, True, 64.0, 2**40])} if rng.random() < 0.03 else {}
    record |= {"metadata": {"s": "x", **({"t": {"u": 1}} if rng.random() < 0.2 else {})}} if rng.random() < 0.5 else {}
    text = dumped(record, rng)
    if rng.random() < 0.03:
        text = text[:-1] + rng.choice(
            [b',"width":64}', b', "width" :64}', b',"q":1,"q":1}', b',"m":{"a":1,"a":2}}', b"}}"]
        )
    if rng.random() < 0.02:
        text = rng.choice(
            [text + text, text.replace(b",", b",\n", 1), b"", b"  ", text + b"\r", b"\t" + text, text + b" "]
        )
    return text


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ordering", ["random", "sorted"])
def test_many_at_a_time_says_what_one_by_one_says(
    seed: int, ordering: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, path = Random(seed), tmp_path / "train.jsonl"
    path.write_bytes(lines(*[made(rng) for _ in range(150)]))
    how = How(ordering)
    assert told(path, how) == one_by_one(path, monkeypatch, how)


WHOLE = json.dumps(RECORD).encode()
HIDDEN = {
    "two records on a line and one over two": WHOLE * 2 + b"\n" + json.dumps(RECORD, indent=0).encode(),
    "a key twice, a space before one colon": WHOLE[:-1] + b', "width" : 64}',
    "an unknown key twice": WHOLE[:-1] + b', "id": 1, "id": 1}',
    "a key twice that ends in a backslash": WHOLE[:-1] + b', "a\\\\": 1, "a\\\\": 1}',
    "corners exchanged": lines({**RECORD, "objects": [{**BOX, "bbox_2d": BOX["bbox_2d"][::-1]}]})[:-1],
    "a blank of another script": lines({**RECORD, "objects": [{**BOX, "desc": "\u2003"}]})[:-1],
    "an image elsewhere": lines({**RECORD, "images": ["~/a.png"]})[:-1],
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_hides_among_sound_lines_is_told(name: str, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    for sound in (RECORD, {**RECORD, "id": 1}, {**RECORD, "a\\": 1}):
        path.write_bytes(lines(*[sound] * 40, HIDDEN[name], *[sound] * 40))
        contract = next(f for f in audit_file(path, How()) if f.status == "violated")
        assert {v.where.line for v in contract.violations if v.where} <= set(range(41, 60))


def test_a_line_that_is_too_long_is_read_over_and_the_rest_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "MAX_LINE", 1 << 18)
    path = tmp_path / "train.jsonl"
    before = lines(*[RECORD] * 7)
    path.write_bytes(before + b"[" * (1 << 20) + b"\n" + lines(*[RECORD] * 7))
    contract = next(f for f in audit_file(path, How()) if f.invariant.endswith("record_contract"))
    assert (contract.checked, contract.violation_count) == (15, 1)
    (told,) = contract.violations
    assert told.where and told.where.line == 8 and f"byte {len(before)} of the file" in told.message


def test_a_line_of_too_many_values_is_not_expanded(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(lines(RECORD, b"[" + b"[]," * 1_500_000 + b"[]]", RECORD))
    contract = next(f for f in audit_file(path, How()) if f.invariant.endswith("record_contract"))
    assert (contract.checked, contract.violation_count) == (3, 1)
    assert "more than 2000000 values" in contract.violations[0].message


SPELLED = (
    '[{"bbox_2d": [1, 2, 30, 40], "label": "a: b"}]',
    '[{"bbox_2d": [1, 2, 30, 40], "label": "a"}, {"point_2d": [5, 6], "label": "é"}]',
    "no box at all",
    '```json\n[{"bbox_2d": [1, 2, 30, 40]}]\n```',
    '[{"bbox_2d": [[1, 2, 3, 4], [5, 6, 7, 8]]}]',
    '[{"bbox_2d": [1, 2, 30, 40], "bbox_2d": [9, 2, 3, 4]}]',
    """[{"bbox_2d": [1, 2, 30, 40], "label": "'bbox_2d': [1, 2]"}]""",
)
WRONG = (
    '[{"bbox_2d": [30, 2, 1, 40]}]',
    '[{"bbox_2d": [1, 2, 1001, 40]}]',
    '[{"bbox_2d": [0.1, 0.2, 0.5, 0.75]}]',
    '[{"bbox_2d": [1, 2, 3]}]',
    '[{"point_2d": [1, 1200]}]',
    '[{"bbox_2d": null}]',
    " ",
)


def talk(rng: Random) -> bytes:
    """A conversation that may be sound, or wrong in small ways."""
    role, content = ("role", "content") if rng.random() < 0.95 else ("from", "value")
    asked = {
        role: rng.choice(["user", "user", "user", "human", "narrator"][: 4 + (rng.random() < 0.02)]),
        content: "<image>a",
    }
    said = {role: "assistant", content: rng.choice(SPELLED if rng.random() < 0.97 else WRONG)}
    record: dict[str, Any] = {"messages": [asked, said], "images": ["a.png"]}
    record |= rng.choice([{}, {}, {}, {"id": 1}, {"meta": {"a": 1}}])
    record |= (
        rng.choice([{"images": []}, {"images": [" "]}, {"videos": ["v"]}, {"image": "b"}])
        if rng.random() < 0.03
        else {}
    )
    text = dumped(record, rng)
    return text[:-1] + rng.choice([b',"id":1,"id":2}', b"}}"]) if rng.random() < 0.02 else text


@pytest.mark.parametrize("frame", ["norm1000", "norm1", ""])
@pytest.mark.parametrize("seed", range(4))
def test_conversations_are_judged_alike_either_way(
    seed: int, frame: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, path = Random(seed), tmp_path / "train.jsonl"
    path.write_bytes(lines(*[talk(rng) for _ in range(150)]))
    how = How(frame=frame)
    assert told(path, how) == one_by_one(path, monkeypatch, how)
