"""What the loss of an optimizer step must be when it is made of several micro-steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

import msgspec

from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem, Undecided

ROUNDED, RELATIVE = 1e-4, 1e-5  # a trainer logs four decimals, of sums in float32
APART = 4  # times as much is needed to tell one way of weighing from another


class Micro(msgspec.Struct, frozen=True):
    """One micro-step: the cross-entropy of its supervised tokens, summed, and how many these are."""

    total: float
    tokens: int


class Logged(msgspec.Struct, frozen=True):
    """A logged loss, the mean over these optimizer steps, each with its micro-steps. each: how many a step has by plan;
    the last one of an epoch may have fewer. 0 where that isn't known."""

    loss: float
    steps: Sequence[Sequence[Micro]]
    each: int = 0


def token_weighted(logged: Logged, ledger: Ledger) -> Iterator[Problem]:
    """The loss is the tokens' mean over the whole step. Counts micro-steps.

    Only the usual mistakes are told, for a trainer's objective may have terms of its own: that each micro-step weighs
    alike, that their means are summed, that the loss is divided by their number once more, and that a step with fewer
    of them is divided as if it had all.
    """
    if not logged.steps or any(micro.tokens == 0 for step in logged.steps for micro in step) or not all(logged.steps):
        raise Undecided("a micro-step supervises no token")
    right = fmean(sum(m.total for m in step) / sum(m.tokens for m in step) for step in logged.steps)
    means = [[m.total / m.tokens for m in step] for step in logged.steps]
    wrong = {
        "the mean of its micro-steps' means: a token weighs less in a micro-step that has many": fmean(
            map(fmean, means)
        ),
        **_of_fewer(logged, means),
        "the sum of its micro-steps' means: it grows with their number": fmean(map(sum, means)),
    }
    if logged.each > 1:
        wrong[f"the tokens' mean divided by its {logged.each} micro-steps once more"] = right / logged.each
    if near(logged.loss, right):
        ledger.judged(sum(map(len, logged.steps)))
        return
    for how, value in wrong.items():
        if near(logged.loss, value) and not near(value, right, APART):
            ledger.judged(sum(map(len, logged.steps)))
            yield Problem(f"the loss of an optimizer step is {how}", "loss", round(right, 4), round(logged.loss, 4))
            return
    raise Undecided("the logged loss is not the tokens' cross-entropy alone")


def divided(row: PackedRow, ledger: Ledger) -> Iterator[Problem]:
    """What the loss is divided by is no less than the tokens that the batch supervises. Counts the number.

    It may be more: of all micro-steps, or of all ranks. A row's first label is predicted by nothing, and may count.
    """
    number, labels = row.get("num_items_in_batch"), [part.row.labels for part in row.parts]
    if number is None or any(a is None for a in labels):
        raise Undecided("needs the model and the trainer's loss: run the audit on the pipeline")
    ledger.judged()
    ledger.left_out("the loss itself", "needs the model and the trainer's loss: run the audit on the pipeline")
    supervised = sum(int((a[1:] != row.profile.ignore_index).sum()) for a in labels if a is not None)
    given, total = int(number), sum(a.size for a in labels if a is not None)
    if given < supervised:
        text = "num_items_in_batch is less than the tokens that are supervised: the loss is too large"
        yield Problem(text, "num_items_in_batch", f"at least {supervised}", given)
    elif given == total > supervised + len(labels):
        text = "num_items_in_batch is the number of all tokens, ignored ones included: the loss is too small"
        yield Problem(text, "num_items_in_batch", supervised, given, severity="P2")


def _of_fewer(logged: Logged, means: Sequence[Sequence[float]]) -> dict[str, float]:
    """The losses that come of dividing a step with fewer micro-steps as if it had all of them."""
    if not any(len(step) < logged.each for step in logged.steps):
        return {}
    parts = [sum(m.total for m in step) / sum(m.tokens for m in step) * len(step) for step in logged.steps]
    whose = f"its micro-steps' divided by {logged.each}, though the last step of the epoch has fewer"
    return {
        f"the tokens' mean of {whose}": fmean(parts) / logged.each,
        f"the sum of the means of {whose}": fmean(map(sum, means)) / logged.each,
    }


def near(a: float, b: float, times: int = 1) -> bool:
    """Whether two losses are the same, as far as a log tells."""
    return abs(a - b) <= times * (ROUNDED + RELATIVE * abs(b))
