"""Trees of before 2026-02-18 write numbered records: what they render is judged as if they wrote the newer form."""

from __future__ import annotations

import json

import pytest

from coordexp_audit_lib.pipelines.coordexp.harness import wording

TWO = [
    {"desc": 'a "cup", {big}', "bbox_2d": ["<|coord_1|>", "<|coord_2|>", "<|coord_3|>", "<|coord_4|>"]},
    {"desc": "cat", "bbox_2d": ["<|coord_5|>", "<|coord_6|>", "<|coord_7|>", "<|coord_8|>"]},
]
NEWER = (
    '{"objects": [{"desc": "a \\"cup\\", {big}", "bbox_2d": [<|coord_1|>, <|coord_2|>, <|coord_3|>, <|coord_4|>]}, '
    '{"desc": "cat", "bbox_2d": [<|coord_5|>, <|coord_6|>, <|coord_7|>, <|coord_8|>]}]}'
)


@pytest.fixture(autouse=True)
def older(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wording, "numbered", lambda: True)


def test_a_rendered_answer_is_written_anew_object_by_object() -> None:
    assert wording.rendered(json.dumps(wording.payload(TWO))) == NEWER


def test_a_polygon_of_points_is_written_as_one_flat_list() -> None:
    points = [["<|coord_1|>", "<|coord_2|>"], ["<|coord_3|>", "<|coord_4|>"], ["<|coord_5|>", "<|coord_6|>"]]
    text = json.dumps({"object_1": {"desc": "leaf", "poly": points}})
    flat = "<|coord_1|>, <|coord_2|>, <|coord_3|>, <|coord_4|>, <|coord_5|>, <|coord_6|>"
    assert wording.rendered(text) == '{"objects": [{"desc": "leaf", "poly": [' + flat + "]}]}"


@pytest.mark.parametrize("numbers", [(1, 3), (2, 1), (1, 1)])
def test_a_number_that_is_lost_moved_or_doubled_stays_visible(numbers: tuple[int, int]) -> None:
    records = ", ".join(f'"object_{n}": {json.dumps(o)}' for n, o in zip(numbers, TWO, strict=True))
    text = "{" + records + "}"
    assert wording.rendered(text) == text


def test_a_rollout_is_spoken_in_the_words_of_the_tree() -> None:
    assert json.loads(wording.spoken(NEWER)) == wording.payload(TWO)


def test_a_rollout_that_is_cut_off_is_cut_at_the_same_place() -> None:
    whole = wording.spoken(NEWER)
    for end in (
        len(wording.OPENING),
        NEWER.index("cup"),
        NEWER.index("big}") + 4,
        NEWER.index("cat"),
        NEWER.rindex("<|"),
    ):
        assert whole.startswith(wording.spoken(NEWER[:end]))


def test_a_tree_of_the_newer_writing_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wording, "numbered", lambda: False)
    assert wording.rendered(NEWER) == wording.spoken(NEWER) == NEWER
    assert wording.payload(TWO) == {"objects": TWO}
