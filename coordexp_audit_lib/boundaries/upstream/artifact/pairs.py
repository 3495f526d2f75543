"""Two releases that are to be installed together: what one requires and uses of the other."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from itertools import permutations

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from coordexp_audit_lib.boundaries.upstream.artifact.releases import requirements
from coordexp_audit_lib.boundaries.upstream.predicates.contracts import Call, Part
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import differences
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.source.archive import Unreadable
from coordexp_audit_lib.source.facts import Ask
from coordexp_audit_lib.source.observed import see
from coordexp_audit_lib.source.package import Package, Source
from coordexp_audit_lib.source.uses import Use, uses_of

KEPT = 8  # reasons


class Pair(msgspec.Struct, frozen=True):
    """user: the release whose code and metadata are read. other: the one that it is installed with."""

    user: Source
    other: Source

    @property
    def name(self) -> str:
        return f"{self.user.distribution}=={self.user.version} with {self.other.distribution}=={self.other.version}"


class Judged(msgspec.Struct, frozen=True):
    """What was found of a pair of releases: the cases that were judged, what was wrong, and what was left out, why."""

    name: str
    checked: int
    problems: list[Problem]
    unjudged: list[str]


def judged(pair: Pair) -> Judged:
    """Judge a pair, to be kept; of what was left out a few reasons are."""
    ledger = Ledger()
    problems = list(fits(pair, ledger))
    return Judged(pair.name, ledger.checked, problems, ledger.unjudged[:KEPT])


def fitted(pair: Judged, ledger: Ledger) -> Iterator[Problem]:
    """The same again."""
    ledger.judged(pair.checked)
    for why in pair.unjudged:
        ledger.left_out(why)
    yield from pair.problems


def pairs(sources: Sequence[Source]) -> list[Pair]:
    """Each ordered pair of different packages among the releases, in which one names the other."""
    made = [Pair(a, b) for a, b in permutations(sources, 2) if a.distribution != b.distribution]
    return [pair for pair in made if _names(pair)]


def _names(pair: Pair) -> bool:
    word = pair.other.package
    return any(_imports(pair.user, name, word) for name in pair.user.files.names) or bool(_required(pair))


def _imports(source: Source, name: str, word: str) -> bool:
    if not name.endswith(".py") or not name.startswith(f"{source.package}/"):
        return False
    try:
        text = source.files.text(name) or ""
    except Unreadable:
        return False
    return f"from {word}" in text or f"import {word}" in text


def _required(pair: Pair) -> list[Requirement]:
    """What the user's metadata requires of the other, without extras; what is no requirement is passed over."""
    found = []
    for line in requirements(pair.user) or ():
        try:
            one = Requirement(line)
        except InvalidRequirement:
            continue
        if canonicalize_name(one.name) == pair.other.distribution and "extra" not in str(one.marker or ""):
            found.append(one)
    return found


def fits(pair: Pair, ledger: Ledger) -> Iterator[Problem]:
    """Whether the other release is one that the user requires, and has what the user's code takes of it."""
    yield from _version(pair, ledger)
    yield from _used(pair, ledger)


def _version(pair: Pair, ledger: Ledger) -> Iterator[Problem]:
    if requirements(pair.user) is None:
        ledger.left_out("the versions that are required", f"{pair.user.distribution}'s metadata is not there")
        return
    try:
        version = Version(pair.other.version)
    except InvalidVersion:
        ledger.left_out("the versions that are required", f"{pair.other.version!r} is no version")
        return
    for one in _required(pair):
        ledger.judged()
        if not one.specifier.contains(version, prereleases=True):
            message = f"{pair.user.distribution} {pair.user.version} requires {one}, and not {version}"
            yield Problem(message, one.name, str(one.specifier), str(version))


def _used(pair: Pair, ledger: Ledger) -> Iterator[Problem]:
    package = Package(pair.other)
    symbols: dict[str, list[Use]] = {}
    for use in _uses(pair, ledger):
        symbols.setdefault(use.symbol, []).append(use)
    for symbol, uses in sorted(symbols.items()):
        seen = see(package, Ask(symbol, call=any(u.keywords for u in uses)))
        outside = seen.status == "outside"
        if seen.status == "undecided" or (outside and seen.why.partition(".")[0] not in sys.stdlib_module_names):
            ledger.left_out(symbol, f"it comes from {seen.why}" if outside else seen.why or "it can't be read")
            continue
        ledger.judged()
        if outside:  # the standard library's, which the module passes on
            continue
        if seen.status == "gone" or seen.reached != symbol:
            what = "is not there" if seen.status == "gone" else f"is {seen.reached} there"
            yield _problem(pair, symbol, what, uses)
            continue
        keywords = tuple(sorted({k for u in uses for k in u.keywords}))
        for d in differences(Part(symbol, call=Call(0, keywords)), seen) if keywords else ():
            named = [u for u in uses if any(k in d.what.split() for k in u.keywords)]
            if d.kind != "undecidable" and "takes no" in d.what and named:
                yield _problem(pair, symbol, d.what, named)
            elif d.kind != "undecidable" and "takes no" in d.what:  # a class that a decorator makes: no keyword is read
                ledger.left_out(symbol, "what it takes can't be read")


def _problem(pair: Pair, symbol: str, what: str, uses: list[Use]) -> Problem:
    """What only runs inside a function stops the run when it comes there; the rest stops the import."""
    first = min(uses, key=lambda u: (u.inside, u.path, u.line))
    which = what.removeprefix("it ")
    message = f"{pair.user.distribution} {pair.user.version} uses {symbol}, which {which}"
    shown = [f"{u.path}:{u.line}" for u in uses[:20]]
    return Problem(
        f"{message} in {pair.other.distribution} {pair.other.version}",
        symbol,
        "as it is used",
        what,
        shown,
        where=Where(first.path, first.line),
        severity="P1" if first.inside and not first.keywords else "P0",
    )


def _uses(pair: Pair, ledger: Ledger) -> Iterator[Use]:
    for name in sorted(pair.user.files.names):
        if not _imports(pair.user, name, pair.other.package):
            continue
        try:
            tree = ast.parse(pair.user.files.text(name) or "")
        except (SyntaxError, ValueError, RecursionError, MemoryError, Unreadable) as error:
            ledger.left_out(name, f"it can't be read: {type(error).__name__}")
            continue
        yield from uses_of(tree, name, pair.other.package)
