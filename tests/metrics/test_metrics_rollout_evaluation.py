"""What an evaluation says of rollouts, against counts that are known beforehand."""

from __future__ import annotations

import pytest

from coordexp_audit_lib.boundaries.metrics import cases
from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.predicates.rollouts import Counts, evaluated, required
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import vocabulary
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.targets.reference import ReferenceTarget

NAMES = pipeline().contract()["metrics.evaluated"]
# 5 matches of 6 predictions and 12 ground truths, in three samples, one of which has no prediction.
COUNTS = Counts(samples=3, predicted=6, true=12, matched=5, answered=2, hit=2, cut=0)
RIGHT: dict[str, float | str] = {
    **{"precision": 5 / 6, "recall": 5 / 12, "f1": 5 / 9, "sample_valid_pred_rate": 2 / 3},
    **{"sample_any_match_rate": 2 / 3, "parse_truncated_rate": 0.0, "pred_objects": 6.0, "gt_objects": 12.0},
    **{"matched": 5.0, "fp": 1.0, "fn": 7.0},
}


def told(counts: Counts, **values: float | str) -> list[str]:
    return [p.subject for p in evaluated(counts, {**RIGHT, **values}, NAMES, Ledger())]


def test_right_rates_and_counts_are_right() -> None:
    ledger = Ledger()
    assert list(evaluated(COUNTS, RIGHT, NAMES, ledger)) == []
    assert ledger.checked == len(RIGHT)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("precision", 5 / 12),  # over the ground truths
        ("recall", 5 / 6),  # over the predictions
        ("f1", (5 / 6 + 5 / 12) / 2),  # the arithmetic mean
        ("f1", (5 / 72) ** 0.5 * 2),
        ("sample_any_match_rate", 1.0),  # of the answered
        ("fn", 1.0),
        ("precision", "nan"),
    ],
)
def test_what_is_divided_otherwise_is_told(name: str, value: float | str) -> None:
    assert told(COUNTS, **{name: value}) == [name]


def test_of_nothing_any_share_will_do_and_no_more() -> None:
    mute = Counts(samples=1, true=12)
    zero: dict[str, float | str] = {name: 0.0 for name in RIGHT} | {"gt_objects": 12.0, "fn": 12.0}
    assert told(mute, **zero) == []
    assert told(mute, **zero | {"precision": 1.0}) == []
    assert told(mute, **zero | {"precision": 2.0}) == ["precision"]
    assert told(mute, **zero | {"recall": 1.0}) == ["recall"]


def test_later_names_of_counts_are_known_and_a_rate_that_is_not_told_is_missed() -> None:
    assert told(COUNTS, fn_total=3.0) == ["fn_total"]
    assert required({"precision": 1.0}, NAMES, ("precision", "recall", "f1")) == ["recall", "f1"]


def test_the_cases_ask_for_what_a_mean_of_rates_would_hide() -> None:
    """Ranks and samples differ in their rates, so that no mean of them is the rate of all."""
    for name, request, counts in cases.evaluations():
        first, *others = ReferenceTarget().ask(s.ROLLOUTS, request).value.ranks
        assert all(other == first for other in others), name
        assert counts.samples == sum(len(rank) for rank in request.ranks)
    two = next(request for name, request, _ in cases.evaluations() if name.startswith("two ranks"))
    alone = [ReferenceTarget().ask(s.ROLLOUTS, s.EvaluateRollouts([rank])).value.ranks[0] for rank in two.ranks]
    assert alone[0]["precision"] != alone[1]["precision"]
    assert len(two.ranks[0]) != len(two.ranks[1])


def test_what_is_to_be_counted_is_said_only_where_readers_agree() -> None:
    words = vocabulary()
    assert cases.counted([cases.HIT, cases.NO_JSON, cases.NO_JSON], words) == {
        **{words.invalid: 2, words.valid: 1, words.dropped: 0, words.rollouts: 3}
    }
    assert cases.counted([cases.HIT, cases.CUT], words) is None
