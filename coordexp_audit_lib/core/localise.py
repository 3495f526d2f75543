"""Where a violation is to be mended: which of a check's questions failed and which passed, asked of the target.

A check need not say it. The questions that it asked since the violation before are the violation's own; of these the
one that says the same as the violation failed, or else the last. Questions that no violation followed have passed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from coordexp_audit_lib.core.claim import Asked, Context
from coordexp_audit_lib.core.clue import clue_of, must_refuse
from coordexp_audit_lib.core.evidence import Where, canonical_json
from coordexp_audit_lib.core.finding import Place, Violation, tidy
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.sheet import kind_of

PASSING = 2  # nearest questions that passed
MANY, SPREAD = 40, 6  # questions of a check that tells at its end, and how many of them are taken to have passed
OTHERS = 4  # runner-up places
AGREED = 4  # violations of one kind that lead to one place: the further ones do too
MOST = 48  # violations of a claim whose place is looked for
LOOKED_AT = 600  # questions that a violation is compared with
TELLING = 3  # characters
NUMBER = re.compile(r"\d+")


class Trail:
    """The questions of a check in order, and which of them each violation came after."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.spans: dict[str, tuple[int, int]] = {}
        self._known: dict[tuple[str, str, Where | None], list[Place]] = {}
        self._by_kind: dict[tuple[str, Where | None], list[list[Place]]] = {}

    def followed(self, found: Iterable[Violation | Problem]) -> Iterator[Violation | Problem]:
        """Pass violations on, and note what was asked for each."""
        begin = 0
        for one in found:
            end = len(self.ctx.asked)
            violation = one.violation() if isinstance(one, Problem) else one
            self.spans.setdefault(_name(violation), (begin if end > begin else 0, end))
            yield one
            begin = end

    def placed(self, violation: Violation, claim: str) -> Violation:
        """The violation with the place to mend, unless the check named one that is closer than the function asked."""
        called = [b.where for b in self.ctx.target.bindings().values() if b.where]
        if violation.where is not None and violation.where not in called:
            return msgspec.structs.replace(violation, found=violation.found or "symbol")
        fallback = violation.where or _bound(self.ctx, self._asked_last(violation))
        places = _distinct([*self._places(violation, claim), *([Place(fallback, "call")] if fallback else [])])
        if not places:
            return violation
        first, *rest = places
        return msgspec.structs.replace(violation, where=first.where, found=first.found, others=tuple(rest[:OTHERS]))

    def _asked_last(self, violation: Violation) -> str:
        """The surface that was asked last before the violation was told; a check may ask others after it."""
        _, end = self.spans.get(_name(violation), (0, 0))
        return self.ctx.asked[end - 1].question.name if end else self.ctx.last_surface

    def _places(self, violation: Violation, claim: str) -> list[Place]:
        """The places of a violation, looked for once for all that differ in numbers and quotations only. Where the
        first few of one kind lead to one place, the further ones are not looked at."""
        # Without a subject only the message tells what it is about.
        about = NUMBER.sub("", violation.subject or violation.message)
        kind = violation.kind or kind_of(violation.message, violation.subject), violation.where
        kind = kind if violation.subject else (about, violation.where)
        alike = kind_of(violation.message), about, violation.where
        if alike in self._known:
            return self._known[alike]
        told = self._by_kind.setdefault(kind, [])
        firsts = {(p[0].where, p[0].found) if p else (None, "") for p in told}
        if len(told) >= AGREED and len(firsts) == 1 and "refusal" not in (f for _, f in firsts):
            return told[0]
        if len(self._known) < MOST:
            self._known[alike] = self._told(violation, claim)
            told.append(self._known[alike])
        return self._known.get(alike, [])

    def _told(self, violation: Violation, claim: str) -> list[Place]:
        try:
            return self._found(violation, claim)
        except Exception:  # what can't be placed costs no verdict, and reads as `call`, live and recorded alike
            return []

    def _found(self, violation: Violation, claim: str) -> list[Place]:
        begin, end = self.spans.get(_name(violation), (0, len(self.ctx.asked)))
        mine = [a for a in self.ctx.asked[begin:end] if a.question.static is None]
        mine = [a for a in mine if _bound(self.ctx, a.question.name)] or mine  # that a function of the tree answers
        mine = [a for a in mine if _bound(self.ctx, a.question.name) == violation.where] or mine
        failed = _failed(mine[-LOOKED_AT:], violation)
        if failed is None:
            return []
        passing = [msgspec.to_builtins(a.request) for a in self._passing(failed)]
        target = self.ctx.target
        config = target.config_path(self.ctx.config) if self.ctx.config else ""
        clue = clue_of(claim, config, violation)
        found = target.localise(failed.question, [msgspec.to_builtins(failed.request)], passing, clue)
        refused = failed.refusal.where if failed.refusal else None
        like = self._refused_like(failed) if must_refuse(violation) else None
        refusals = [Place(w, "refusal") for w in (refused, like) if w]
        named, weak = ([p for p in found if p.found in kinds] for kinds in (("symbol", "config"), ("lines",)))
        rest = [p for p in found if p not in named]
        if refused or not like:
            return [*named, *refusals, *rest]
        return [*named, *(p for p in rest if p not in weak), *refusals, *weak]

    def _refused_like(self, failed: Asked) -> Where | None:
        """Where the target refuses the question most like one that it should refuse."""
        refused = [a for a in self.ctx.asked if a.question is failed.question and a.refusal and a.refusal.where]
        best = max(refused, key=lambda a: _alike(a, failed), default=None)
        return best.refusal.where if best and best.refusal else None

    def _passing(self, failed: Asked) -> list[Asked]:
        """Questions like the failing one that passed: those that ended as it did first, then the most alike."""
        ends = {end for _, end in self.spans.values()}
        asked = [(i, a) for i, a in enumerate(self.ctx.asked) if a.question is failed.question and a is not failed]
        passed = [(i, a) for i, a in asked if i + 1 not in ends]
        if self._told_at_the_end():
            alike = max(((_end(a) == _end(failed), _alike(a, failed)) for _, a in passed), default=None)
            passed = [(i, a) for i, a in passed if (_end(a) == _end(failed), _alike(a, failed)) == alike]
            return [a for _, a in passed[:: max(1, len(passed) // SPREAD)]][:SPREAD]
        turn = next((i for i, a in enumerate(self.ctx.asked) if a is failed), 0)
        passed.sort(key=lambda p: (_end(p[1]) != _end(failed), -_alike(p[1], failed), abs(p[0] - turn)))
        return [a for _, a in passed[:PASSING]]

    def _told_at_the_end(self) -> bool:
        """Whether the check asked first and told several violations then, so that which question passed is not known:
        most did, and a few from all over are more likely to have passed than those beside one that failed."""
        spans = list(self.spans.values())
        return len(spans) > 1 and len(set(spans)) == 1 and spans[0][1] > MANY


def _failed(asked: Sequence[Asked], violation: Violation) -> Asked | None:
    """The question that the violation is about: that which shares most words with it, of equal ones the last."""
    if must_refuse(violation):
        asked = [a for a in asked if a.refusal is None] or asked
    shown = tidy(violation.counterexample)
    words = [w for value in (shown, tidy(violation.expected)) for w in _words(value)]
    pairs = list(_pairs(shown))
    said = f"{violation.message} {violation.actual}"

    def likeness(one: Asked) -> int:
        text = json.dumps(msgspec.to_builtins(one.request)) if len(asked) > 1 else ""
        told = one.refusal is not None and bool(one.refusal.message) and one.refusal.message[:80] in said
        near = one.question is asked[-1].question  # words in a question about something else tell nothing
        return near * sum(w in text for w in words) + 10 * sum(p in text for p in pairs) + 100 * told

    best = max(enumerate(asked), key=lambda pair: (likeness(pair[1]), pair[0]), default=None)
    return best[1] if best else None


def _pairs(value: Any) -> Iterator[str]:
    """Keys with their values as they stand in JSON, and in a text of JSON or YAML that is itself a text in JSON."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        last = str(key).rpartition(".")[2]
        if isinstance(inner, float) and not math.isfinite(inner):
            shown = ".nan" if math.isnan(inner) else ".inf" if inner > 0 else "-.inf"
        elif isinstance(inner, str):
            shown = {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}.get(inner, json.dumps(inner))
        else:
            shown = json.dumps(tidy(inner))
        plain = f'"{last}": {shown}'
        yield from (plain, json.dumps(plain)[1:-1])


def _words(value: Any) -> Iterator[str]:
    """The texts and numbers in a value, as JSON writes them; short ones stand in every question."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (*_words(str(key)), *_words(inner))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _words(inner)
    elif isinstance(value, str) and len(value) >= TELLING:
        yield canonical_json(value)[1:-1]
    elif isinstance(value, (int, float)) and len(f"{value:.15g}") >= TELLING:  # 2.0 stands in many a question
        yield str(value)


def _end(asked: Asked) -> str:
    return asked.refusal.type if asked.refusal else ""


def _alike(a: Asked, b: Asked) -> int:
    """How many fields of two requests are equal."""
    return sum(getattr(a.request, n) == getattr(b.request, n) for n in type(a.request).__struct_fields__)


def _name(violation: Violation) -> str:
    """What tells a violation from the others of its claim, also once it is tidied."""
    shown = tidy([violation.message, violation.subject, violation.counterexample])
    return canonical_json(shown)


def _bound(ctx: Context, surface: str) -> Where | None:
    binding = ctx.target.bindings().get(surface)
    return binding.where if binding else None


def _distinct(places: Iterable[Place]) -> list[Place]:
    found: dict[tuple[str, int], Place] = {}
    for place in places:
        found.setdefault((place.where.path, place.where.line), place)
    return list(found.values())
