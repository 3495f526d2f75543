"""Verdicts: what is seen of a release against what the pipeline relies on. One predicate, whatever the facts came from.

A compatible change is none: a new optional parameter, a wider type, a field that got a default.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from coordexp_audit_lib.boundaries.upstream.predicates.contracts import Call, Contract, Field, Part, chosen
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.source.facts import Level, Parameter, Seen
from coordexp_audit_lib.source.spelling import takes

Word = Literal["kept", "moved", "changed", "gone", "undecidable"]
WORDS: tuple[Word, ...] = ("kept", "moved", "changed", "gone", "undecidable")


class Difference(msgspec.Struct, frozen=True):
    """One thing that is not as the pipeline has it. symbol: of the part."""

    kind: Word
    symbol: str
    what: str


class Verdict(msgspec.Struct, frozen=True):
    """A contract's verdict for a release, with a difference for each thing that is not kept."""

    contract: str
    distribution: str
    version: str
    word: Word
    problems: list[Difference] = []


def verdict(contract: Contract, version: str, seen: Sequence[Seen]) -> Verdict:
    """The verdict over all parts.

    `gone` where every part is; `changed` where any is broken; then `undecidable`; `moved` where only names differ.
    """
    problems = [p for part, s in zip(contract.parts, seen, strict=True) for p in differences(part, s)]
    kinds = {p.kind for p in problems}
    if {part.symbol for part in contract.parts} <= {p.symbol for p in problems if p.kind == "gone"}:
        word: Word = "gone"
    else:
        worst = (w for w in ("changed", "undecidable", "moved") if w in kinds)
        word = "changed" if "gone" in kinds else next(worst, "kept")
    return Verdict(contract.id, contract.distribution, version, word, problems)


class Release(msgspec.Struct, frozen=True):
    """What was read of one release: the contracts with its distribution, and the verdict on each."""

    distribution: str
    version: str
    contracts: tuple[Contract, ...]
    verdicts: list[Verdict]

    def about(self, claim: str) -> Release:
        """The same release, with the contracts of one claim alone."""
        mine = chosen(self.contracts, claim=claim)
        ids = {c.id for c in mine}
        kept = [v for v in self.verdicts if v.contract in ids]
        return Release(self.distribution, self.version, tuple(mine), kept)


def release_keeps(release: Release, ledger: Ledger) -> Iterator[Problem]:
    """Whether a release has each part of its contracts as it is used. A part that the package alone does not decide is
    left out."""
    by_id = {v.contract: v for v in release.verdicts}
    for contract in release.contracts:
        if contract.id not in by_id:
            ledger.left_out(contract.title, "there is no verdict on it")
            continue
        for part in contract.parts:
            mine = [d for d in by_id[contract.id].problems if d.symbol == part.symbol]
            told = [d.what for d in mine if d.kind == "undecidable"]
            if told:
                more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
                ledger.left_out(part.symbol, f"not decidable from this package alone: {told[0]}{more}")
            ledger.judged(0 if told else 1)
            for d in mine:
                if d.kind != "undecidable":
                    message = f"{part.symbol} of {release.distribution} {release.version}: {d.kind}: {d.what}"
                    yield Problem(message, contract.title, f"as used by {contract.used}", d.kind, part.symbol)


NO_FIELD = "no field "


def settings_are_taken(release: Release, ledger: Ledger) -> Iterator[Problem]:
    """The same of contracts that are the keys of audited configs: a run that sets a key which is not there does not
    start, or trains without it."""
    for p in release_keeps(release, ledger):
        _, found, name = p.message.partition(NO_FIELD)
        if not found:
            yield p
            continue
        message = f"the audited configs set {name}, which {release.distribution} {release.version} does not take"
        remedy = f"take {name} out of the configs, or install a release that has it"
        yield replace(p, message=message, severity="P0", kind="a key that is not taken", remedy=remedy)


def differences(part: Part, seen: Seen) -> Iterator[Difference]:
    """What is not as the part has it."""
    if seen.status == "gone":
        yield Difference("gone", part.symbol, seen.why or "it is not there")
    elif seen.status == "outside":
        yield Difference("undecidable", part.symbol, f"it may come from another distribution: {seen.why}")
    elif seen.status == "undecided":
        yield Difference("undecidable", part.symbol, seen.why or "it cannot be read")
    else:
        if part.imported and seen.reached != part.symbol:
            yield Difference("moved", part.symbol, f"to {seen.reached}")
        for kind, what in _within(part, seen):
            yield Difference(kind, part.symbol, what)


def _within(part: Part, seen: Seen) -> Iterator[tuple[Word, str]]:
    if part.call is not None:
        yield from _called(part.call, seen)
    taken = {p.name for level in seen.levels or [] for p in level.parameters}
    for name in part.strangers:
        if name in taken:
            yield "changed", f"it takes {name}, and computes something else where it is not given"
    for field in part.fields:
        yield from _field(field, seen)
    for name in part.members:
        if name not in seen.members:
            yield _lacks(f"no member {name}", seen)
    for kind, wanted, there in (
        ("constant", part.words, seen.words),
        ("expression", part.expressions, seen.expressions),
        ("key", part.keys, seen.keys),
    ):
        for text in wanted:
            if text not in there:
                yield "changed", f"its body has no {kind} {text!r}" if kind != "key" else f"no key {text!r}"


def _lacks(what: str, seen: Seen) -> tuple[Word, str]:
    if seen.outside:
        return "undecidable", f"{what} in this package; it may come from {', '.join(seen.outside)}"
    return "changed", what


def _called(call: Call, seen: Seen) -> Iterator[tuple[Word, str]]:
    if seen.levels is None:
        away = f"; it may come from {', '.join(seen.outside)}" if seen.outside else ""
        yield "undecidable", f"its signature cannot be read: it is a {seen.kind or 'name'}{away}"
        return
    if call.of_class and seen.bound == "self":
        yield "changed", "it needs an instance now, and is called on the class"
    if call.none_for_self and seen.bound == "class":
        yield "changed", "it is static now, and is called with None for self"
    if call.none_for_self and seen.bound == "self" and seen.uses_self:
        yield "changed", "its body reads self, and it is called with None for self"
    yield from (("changed", what) for what in _fit(call, seen.levels))


def _fit(call: Call, levels: Sequence[Level]) -> Iterator[str]:
    """Why Python would refuse the call."""
    if not levels:
        if call.positional or call.keywords:
            yield "it takes no argument"
        return
    first = levels[0].parameters
    slots = [p for p in first if p.kind in ("positional", "normal")]
    if call.positional > len(slots) and not any(p.kind == "args" for p in first):
        yield f"it takes {len(slots)} positional arguments, and gets {call.positional}"
    for i, (name, slot) in enumerate(zip(call.order, slots, strict=False), 1):
        if slot.name != name:
            yield f"its argument {i} is {slot.name}, and {name} is put there"
    filled = {p.name for p in slots[: call.positional]}
    for name in call.keywords:
        yield from _keyword(name, filled, levels)
    for p in first:
        given = p.name in filled or p.name in call.keywords
        if p.required and not given and p.kind not in ("args", "kwargs"):
            yield f"it needs {p.name}, which is not given"


def _keyword(name: str, filled: set[str], levels: Sequence[Level]) -> Iterator[str]:
    if name in filled:
        yield f"{name} comes by position and by name"
        return
    for level in levels:
        if any(p.name == name and p.kind in ("normal", "keyword") for p in level.parameters):
            return
        if not _open(level.parameters):
            yield f"it takes no {name}" if level is levels[0] else f"it takes no {name} ({level.symbol} refuses it)"
            return
        if name in level.own:
            yield f"{level.symbol} hands {name} on itself, so that it is given twice"
            return


def _open(parameters: Sequence[Parameter]) -> bool:
    return any(p.kind == "kwargs" for p in parameters)


def _field(field: Field, seen: Seen) -> Iterator[tuple[Word, str]]:
    found = next((f for f in seen.fields if f.name == field.name), None)
    if found is None:
        yield _lacks(f"{NO_FIELD}{field.name}", seen)
        return
    if not takes(field.type, found.type):
        yield "changed", f"{field.name} takes {found.type}, and gets {field.type}"
    if field.default is not None and found.default != field.default:
        yield "changed", f"{field.name} is {found.default or 'required'} by default, and {field.default} is relied on"
