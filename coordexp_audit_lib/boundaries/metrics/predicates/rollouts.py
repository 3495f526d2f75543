"""What an evaluation of rollouts must say, by counts that are known beforehand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem

TOLERANCE = 1e-6
Named = Mapping[str, Sequence[str]]


class Counts(msgspec.Struct, frozen=True):
    """Of samples together: how many there are, objects predicted, true and matched, and how many samples have a
    prediction, have a match, and break off."""

    samples: int = 0
    predicted: int = 0
    true: int = 0
    matched: int = 0
    answered: int = 0
    hit: int = 0
    cut: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f) + getattr(other, f) for f in self.__struct_fields__))

    @property
    def terms(self) -> dict[str, tuple[float, float, str]]:
        """By quantity: numerator, denominator, and what is divided by what. A count is over 1."""
        objects = self.predicted + self.true
        return {
            "precision": (self.matched, self.predicted, "matches over predictions"),
            "recall": (self.matched, self.true, "matches over ground truths"),
            "f1": (2 * self.matched, objects, "the harmonic mean of precision and recall"),
            "answered": (self.answered, self.samples, "samples with a prediction over samples"),
            "hit": (self.hit, self.samples, "samples with a match over samples"),
            "cut": (self.cut, self.samples, "rollouts that break off over samples"),
            "predictions": (self.predicted, 1, "the predictions of all samples"),
            "ground_truths": (self.true, 1, "the ground truths of all samples"),
            "matches": (self.matched, 1, "the matches of all samples"),
            "false_positives": (self.predicted - self.matched, 1, "the predictions without a match"),
            "false_negatives": (self.true - self.matched, 1, "the ground truths without a match"),
        }


def evaluated(counts: Counts, told: Mapping[str, float | str], names: Named, ledger: Ledger) -> Iterator[Problem]:
    """Each quantity that is told is the quotient of its terms; of nothing, a finite share. Counts quantities told.

    names: by quantity, the names that an evaluation may tell it under.
    """
    for quantity, (over, under, what) in counts.terms.items():
        name = next((n for n in names.get(quantity, ()) if n in told), None)
        if name is None:
            continue
        ledger.judged()
        value = told[name]
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            yield Problem(f"{name} is no finite number", name, what, value)
        elif not under:
            if not 0 <= value <= 1:
                yield Problem(f"{name} of nothing is no share", name, "between 0 and 1", value)
        elif not abs(value - over / under) <= TOLERANCE:
            yield Problem(f"{name} is not {what}", name, over / under, value)


def required(told: Mapping[str, float | str], names: Named, wanted: Sequence[str]) -> list[str]:
    """Which of the wanted quantities are told under no name."""
    return [q for q in wanted if not any(n in told for n in names.get(q, ()))]
