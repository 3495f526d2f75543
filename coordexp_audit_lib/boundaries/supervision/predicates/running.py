"""What a trainer's model and optimizer must be while they train: plain facts, seen by a guard inside the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.finding import Severity
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.kit.parameters import first_names

TOLD: Severity = "P2"  # what a program may mean


class Trained(msgspec.Struct, frozen=True):
    """Parameters before an optimizer's first steps, by name.

    steps: how many were looked at. training: how many parameters are to train (`requires_grad`). still: those without
    a gradient in each step. outside: those in no group of the optimizer. twice: those in its groups more than once.
    """

    steps: int
    training: int
    still: Sequence[str] = ()
    outside: Sequence[str] = ()
    twice: Sequence[str] = ()


class Frozen(msgspec.Struct, frozen=True):
    """Parameters that were frozen whenever they were looked at. compared: how many. changed: those with other entries
    than before."""

    compared: int
    changed: Sequence[str] = ()


class Tied(msgspec.Struct, frozen=True):
    """The input's embedding and the output's. declared: the model's config says that they are one. before, after: they
    were one tensor at the start, and are at the end. equal: their entries are the same at the end."""

    declared: bool
    before: bool
    after: bool
    equal: bool


class Modes(msgspec.Struct, frozen=True):
    """In which mode a model was. evaluations, steps: how many predictions and optimizer steps were looked at. active:
    modules that drop at random in an evaluation. resting: those that should in training and don't, as the whole model
    is in evaluation mode."""

    evaluations: int
    steps: int
    active: Sequence[str] = ()
    resting: Sequence[str] = ()


class Weights(msgspec.Struct, frozen=True):
    """Parameters that had only numbers before. step: the last optimizer step. compared: how many. lost: those that hold
    what is no number now."""

    step: int
    compared: int
    lost: Sequence[str] = ()


class Repeated(msgspec.Struct, frozen=True):
    """A run, and what should be the same run. losses: as logged. state: a digest of the weights at the end. steps."""

    losses: Sequence[float | str]
    again: Sequence[float | str]
    state: str
    state_again: str
    steps: int
    steps_again: int


def parameters_train(one: Trained, ledger: Ledger) -> Iterator[Problem]:
    """Each parameter that is to train gets a gradient, and the optimizer has it. Counts parameters."""
    _some(one.steps and one.training, "no optimizer step was looked at")
    ledger.judged(one.training)
    if one.still:
        yield _of(one.still, f"parameters that should train got no gradient in {one.steps} steps")
    if one.outside:
        yield _of(one.outside, "parameters that should train stand in no group of the optimizer")


def updated_once(one: Trained, ledger: Ledger) -> Iterator[Problem]:
    """No parameter stands twice in the optimizer's groups. Counts parameters."""
    _some(one.steps and one.training, "no optimizer step was looked at")
    ledger.judged(one.training)
    if one.twice:
        yield _of(
            one.twice, "parameters stand in the optimizer's groups more than once, and are updated as often", None
        )


def frozen_still(one: Frozen, ledger: Ledger) -> Iterator[Problem]:
    """What is frozen does not change. Counts parameters."""
    _some(one.compared, "no parameter is frozen")
    ledger.judged(one.compared)
    if one.changed:
        yield _of(one.changed, "frozen parameters changed")


def tied_stay(one: Tied, ledger: Ledger) -> Iterator[Problem]:
    """Embeddings that are one by the config, or were at the start, are one at the end. Counts pairs."""
    _some(one.declared or one.before, "the embeddings are not tied")
    ledger.judged()
    if one.after or one.equal:
        return
    when = "came apart while the model trained" if one.before else "are two although the config says that they are one"
    yield Problem(
        f"input and output embeddings {when}", "embeddings", "one tensor", "two, with other entries", severity=TOLD
    )


def modes_fit(one: Modes, ledger: Ledger) -> Iterator[Problem]:
    """Nothing is dropped at random in an evaluation, and training is not in evaluation mode. Counts looks."""
    _some(one.evaluations + one.steps, "neither an evaluation nor a step was looked at")
    ledger.judged(one.evaluations + one.steps)
    if one.active:
        yield _of(one.active, "modules drop at random in an evaluation: the model was left in training mode")
    if one.resting:
        yield _of(one.resting, "modules that should drop at random rest: the model trains in evaluation mode")


def repeats(one: Repeated, ledger: Ledger) -> Iterator[Problem]:
    """Two runs log the same losses and end with the same weights. Counts optimizer steps."""
    _some(one.steps, "no optimizer step was taken")
    ledger.judged(one.steps)
    if one.steps != one.steps_again:
        text = "the run has another number of optimizer steps"
        yield Problem(text, "steps", one.steps, one.steps_again)
    pairs = enumerate(zip(one.losses[-len(one.again) :], one.again, strict=False), 1)
    first = next(((n, a, b) for n, (a, b) in pairs if a != b), None)
    if first is not None:
        number, before, now = first
        yield Problem(f"the losses part at the logged loss {number} of {len(one.again)}", "losses", before, now)
    elif one.state != one.state_again:
        yield Problem(
            "the losses are the same, and the weights at the end are not", "weights", one.state, one.state_again
        )


def weights_finite(one: Weights, ledger: Ledger) -> Iterator[Problem]:
    """Weights stay numbers. Counts parameters."""
    _some(one.compared, "no parameter was looked at")
    ledger.judged(one.compared)
    if one.lost:
        text = f"parameters hold what is no number after optimizer step {one.step}: a loss or gradient was none"
        yield _of(one.lost, text, None)


def _of(names: Sequence[str], message: str, severity: Severity | None = TOLD) -> Problem:
    text, shown = f"{message}: {', '.join(first_names(names))}", {"how many": len(names)}
    return Problem(text, sorted(names)[0], counterexample=shown, severity=severity)


def _some(count: int, why: str) -> None:
    if not count:
        raise Undecided(why)
