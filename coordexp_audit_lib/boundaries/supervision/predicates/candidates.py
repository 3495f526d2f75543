"""Where several continuations are right: which tokens are taught, with which shares, and at what loss."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from coordexp_audit_lib.boundaries.supervision.surfaces.continuation import TargetStep
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem

TOLERANCE = 1e-4  # of float32 sums; shares are compared to 1e-6


def shares(candidates: Sequence[Sequence[int]], teacher: int) -> list[dict[int, float]]:
    """For each token of the teacher's: which tokens the candidates that are still possible go on with, and what share
    of them does."""
    written, made = candidates[teacher], []
    for n in range(len(written)):
        live = [c for c in candidates if list(c[:n]) == list(written[:n]) and len(c) > n]
        made.append({token: count / len(live) for token, count in Counter(c[n] for c in live).items()})
    return made


def targets(
    candidates: Sequence[Sequence[int]], teacher: int, steps: Sequence[TargetStep], ledger: Ledger
) -> Iterator[Problem]:
    """One step a token of the teacher's, each a distribution over the candidates' next tokens, even over candidates.
    Counts steps."""
    expected = shares(candidates, teacher)
    if [s.teacher for s in steps] != list(candidates[teacher]):
        message = "the steps are not the tokens that are written"
        yield Problem(message, "steps", list(candidates[teacher]), [s.teacher for s in steps])
        return
    for n, (step, wanted) in enumerate(zip(steps, expected, strict=True)):
        ledger.judged()
        found = dict(step.targets)
        total = sum(p for _, p in step.targets)
        if len(found) != len(step.targets):
            yield Problem("a token is a target twice", f"step {n}", None, step.targets, token=n)
        if abs(total - 1) > 1e-6 or any(not 0 < p <= 1 for p in found.values()):
            yield Problem("the shares of the targets are no distribution", f"step {n}", 1.0, total, token=n)
        elif set(found) != set(wanted):
            message = "the targets are not the candidates' next tokens"
            yield Problem(message, f"step {n}", sorted(wanted), sorted(found), token=n)
        elif any(abs(found[t] - p) > 1e-6 for t, p in wanted.items()):
            yield Problem("the shares are not even over candidates", f"step {n}", wanted, found, token=n)


def step_loss(logits: Sequence[float], step: TargetStep, support: float, balance: float) -> float:
    """Minus the log of the mass on all targets, and the cross-entropy of its division among them, weighted; with one
    target plain cross-entropy."""
    top = max(logits)
    norm = top + math.log(sum(math.exp(v - top) for v in logits))
    if len(step.targets) < 2:
        return norm - logits[step.teacher]
    logs = [logits[token] - norm for token, _ in step.targets]
    mass = math.log(sum(map(math.exp, logs)))
    division = -sum(p * (value - mass) for value, (_, p) in zip(logs, step.targets, strict=True))
    return -support * mass + balance * division


def losses(
    logits: Sequence[Sequence[float]],
    steps: Sequence[TargetStep],
    weights: tuple[float, float],
    answer: tuple[float, Sequence[float]],
    ledger: Ledger,
) -> Iterator[Problem]:
    """Each row's loss is that of its targets, and that of all rows is their mean. Counts rows."""
    whole, single = answer
    expected = [step_loss(row, step, *weights) for row, step in zip(logits, steps, strict=True)]
    if len(single) != len(expected):
        yield Problem("not every row has a loss", "rows", len(expected), len(single))
        return
    for n, (wanted, found) in enumerate(zip(expected, single, strict=True)):
        ledger.judged()
        if not abs(found - wanted) <= TOLERANCE * max(1.0, abs(wanted)):
            kind = "several targets" if len(steps[n].targets) > 1 else "one target"
            yield Problem(f"the loss of a step with {kind} is another", f"step {n}", wanted, found, token=n)
    mean = sum(expected) / len(expected)
    if not abs(whole - mean) <= TOLERANCE * max(1.0, abs(mean)):
        yield Problem("the loss of all steps is not their mean", "all steps", mean, whole)
