"""What an evaluation of detections may hang on, average precision by hand, and rows of several ranks made one file."""

from __future__ import annotations

import pytest

from coordexp_audit_lib.boundaries.metrics.predicates.detections import average_precision, evaluation, matches, merged
from coordexp_audit_lib.boundaries.metrics.surfaces import Found, MergedRows, Scene, Shard
from coordexp_audit_lib.core.claim import Ledger

BOX, APART = [0.0, 0.0, 100.0, 100.0], [300.0, 300.0, 400.0, 400.0]
NEAR, FAR = [5.0, 0.0, 105.0, 100.0], [30.0, 0.0, 130.0, 100.0]
SCENE = Scene([(1, BOX), (1, APART)], [Found(FAR, 1, 0.9), Found(NEAR, 1, 0.8)])


def test_the_pair_that_overlaps_most_is_matched_first_whichever_comes_first() -> None:
    assert matches(SCENE, 0.5) == [(1, 0)]
    assert matches(Scene(SCENE.truth, SCENE.found[::-1]), 0.5) == [(0, 0)]
    assert matches(SCENE, 0.95) == []


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ([Found(BOX, 1, 0.9), Found(APART, 1, 0.8)], 1.0),
        ([Found(BOX, 1, 0.9)], 51 / 101),  # recalls 0 to 0.5
        ([Found(FAR, 1, 0.9), Found(BOX, 1, 0.8), Found(APART, 1, 0.7)], 1.0 * 51 / 101 + 2 / 3 * 50 / 101),
        ([Found(BOX, 2, 0.9)], 0.0),
        ([], 0.0),
    ],
)
def test_average_precision(found: list[Found], wanted: float) -> None:
    ap = average_precision([Scene(SCENE.truth, found)], 0.5, 1)
    assert ap == pytest.approx(wanted)


def test_a_category_without_ground_truth_has_none() -> None:
    assert average_precision([SCENE], 0.5, 2) is None


def by_first(scenes: list[Scene]) -> dict[str, float]:
    """A bad evaluator: each ground truth is compared with the prediction in its place."""
    pairs = [(f.box, box) for s in scenes for f, (_, box) in zip(s.found, s.truth, strict=False)]
    total = sum(len(s.truth) for s in scenes)
    return {"recall": sum(a == b for a, b in pairs) / total}


def test_an_evaluator_that_goes_by_place_hangs_on_order() -> None:
    scene = Scene(SCENE.truth, [Found(BOX, 1, 0.9), Found(NEAR, 1, 0.8)])
    best = [Scene(SCENE.truth, [Found(BOX, 1, 0.9), Found(APART, 1, 0.8)])]
    ledger = Ledger()
    told = {p.message for p in evaluation([scene], best, by_first, ledger)}
    assert told == {f"recall hangs on the order of the {what}" for what in ("predictions", "ground truths")}
    assert ledger.checked == 6


def test_an_evaluator_that_counts_what_is_there_is_told() -> None:
    best = [Scene(SCENE.truth, [Found(BOX, 1, 0.9), Found(APART, 1, 0.8)])]
    count = lambda scenes: {"recall": 1 + sum(len(s.found) for s in scenes) - 2.0}  # noqa: E731
    told = [p.message for p in evaluation(best, best, count, Ledger())]
    assert told == ["a copy of a prediction is a second hit"]


SHARDS = [Shard([0, 2], 2, {"a": 1}), Shard([1], 1, {"a": 2, "b": 1})]


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (MergedRows([0, 1, 2], [0, 1, 2], 3, {"a": 3, "b": 1}), []),
        (MergedRows([0, 2, 1], [0, 2, 1], 3, {"a": 3, "b": 1}), ["rows"]),
        (MergedRows([0, 1, 2], [0, 2, 1], 3, {"a": 3, "b": 1}), ["traces"]),
        (MergedRows([0, 1], [0, 1], 2, {"a": 2, "b": 1}), ["rows", "emitted", "errors"]),
    ],
)
def test_rows_of_several_ranks_are_one_file(answer: MergedRows, wrong: list[str]) -> None:
    assert [p.subject for p in merged(SHARDS, answer, Ledger())] == wrong
