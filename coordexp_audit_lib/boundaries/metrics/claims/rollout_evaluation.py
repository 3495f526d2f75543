"""What an evaluation says of rollouts is made of the counts of all samples on all ranks: precision is matches over
predictions, recall matches over ground truths, f1 their harmonic mean, and a share of samples is over all samples.

The checkpoint that is kept, and the number that is reported, is the one with the best of these. A precision over the
ground truths rewards a model that says every object ten times; an arithmetic mean in the place of f1 rewards one that
says nothing but what is certain.

Example: 5 matches of 6 predictions and 12 ground truths are a precision of 0.833, a recall of 0.417 and an f1 of 0.556;
the arithmetic mean of the two is 0.625."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from coordexp_audit_lib.boundaries.metrics import cases
from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.predicates import rollouts
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.pipeline import pipeline

NAMES = "metrics.evaluated"
WANTED = ("precision", "recall", "f1")


@claim(
    severity="P1",
    kind="B",
    remedy="Sum matches, predictions, ground truths and samples over batches and ranks, and divide once, at the end.",
)
def rollout_evaluation(ctx: Context) -> Iterator[Violation]:
    names = ctx.contract.get(NAMES) or pipeline().contract()[NAMES]
    for name, request, counts in cases.evaluations():
        answer = ctx.ask(s.ROLLOUTS, request)
        if answer.content is None:
            ctx.left_out(name, f"refused: {answer.refusal and answer.refusal.message[:200]}")
            continue
        for rank, told in enumerate(answer.content.ranks):
            shown = {"case": name, "rank": rank, "told": told}
            for p in rollouts.evaluated(counts, s.numbers(told), names, ctx):
                yield Violation(p.message, p.subject, p.expected, p.actual, shown)
            for lacking in rollouts.required(told, names, WANTED):
                ctx.left_out(lacking, "the evaluation does not tell it")


Told = dict[str, float | str]


def _edited(edit: Callable[[Told], Mapping[str, float]]) -> Callable[[s.EvaluateRollouts, Honest], s.EvaluatedRollouts]:
    def apply(request: s.EvaluateRollouts, honest: Honest) -> s.EvaluatedRollouts:
        made: s.EvaluatedRollouts = honest(request)
        return s.EvaluatedRollouts([{**told, **edit(told)} for told in made.ranks])

    return apply


def _over(told: Told, over: str, under: str) -> float:
    return float(told[over]) / float(told[under]) if told[under] else 0.0


def _mean_of_rates(request: s.EvaluateRollouts, honest: Honest) -> s.EvaluatedRollouts:
    """Rates of each rank by itself, averaged over the ranks."""
    alone = [honest(s.EvaluateRollouts([rank], request.batch)).ranks[0] for rank in request.ranks]
    mean = {key: sum(float(told[key]) for told in alone) / len(alone) for key in WANTED}
    made: s.EvaluatedRollouts = honest(request)
    return s.EvaluatedRollouts([{**told, **mean} for told in made.ranks])


def _own_rank(request: s.EvaluateRollouts, honest: Honest) -> s.EvaluatedRollouts:
    return s.EvaluatedRollouts([honest(s.EvaluateRollouts([rank], request.batch)).ranks[0] for rank in request.ranks])


def _answered_only(request: s.EvaluateRollouts, honest: Honest) -> s.EvaluatedRollouts:
    """Samples without a prediction are left out of the evaluation."""
    kept = [
        [one for one in rank if honest(s.EvaluateRollouts([[one]])).ranks[0]["pred_objects"]] for rank in request.ranks
    ]
    made: s.EvaluatedRollouts = honest(s.EvaluateRollouts(kept, request.batch))
    return made


for _name, _words, _edit in (
    ("over_truth", "precision is over the ground truths", lambda t: {"precision": _over(t, "matched", "gt_objects")}),
    ("over_found", "recall is over the predictions", lambda t: {"recall": _over(t, "matched", "pred_objects")}),
    (
        "arithmetic_f1",
        "f1 is the arithmetic mean of precision and recall",
        lambda t: {"f1": (float(t["precision"]) + float(t["recall"])) / 2},
    ),
    (
        "of_the_answered",
        "the share of samples with a match is of those with a prediction",
        lambda t: {"sample_any_match_rate": _over(t, "sample_any_match_rate", "sample_valid_pred_rate")},
    ),
):
    fault(rollout_evaluation, _name, s.ROLLOUTS, _words)(_edited(_edit))
fault(rollout_evaluation, "mean_of_rank_rates", s.ROLLOUTS, "precision, recall and f1 are means over the ranks")(
    _mean_of_rates
)
fault(rollout_evaluation, "own_rank_only", s.ROLLOUTS, "each rank tells of its own samples")(_own_rank)
fault(rollout_evaluation, "answered_only", s.ROLLOUTS, "a sample without a prediction is passed over")(_answered_only)
