"""The matrix: the verdict of every contract for every release, from sources that are read and never imported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.upstream.artifact.pairs import Judged, judged, pairs
from coordexp_audit_lib.boundaries.upstream.artifact.releases import open_source
from coordexp_audit_lib.boundaries.upstream.predicates.contracts import Contract, chosen, read
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import Release, Verdict, verdict
from coordexp_audit_lib.core.claim import claims_on
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Artifact, judge_all, judge_artifact
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.source.facts import Seen
from coordexp_audit_lib.source.observed import see
from coordexp_audit_lib.source.package import Package, Source


class Packaged(msgspec.Struct, frozen=True):
    """The facts that come with a pipeline.

    seen: of each pinned release, what the parts of each contract show. releases: the verdicts on what is asked of
    releases alone. pairs: what was found of releases that go together.
    """

    verdicts: list[Verdict]
    seen: dict[str, dict[str, list[Seen]]]
    releases: list[Verdict] = []
    pairs: list[Judged] = []


class MatrixRequest(msgspec.Struct, frozen=True):
    """distribution: one of them, or all."""

    distribution: str = ""


class Matrix(msgspec.Struct, frozen=True):
    """contracts: the rows, by id. versions: of each distribution, in order. verdicts: one of each."""

    contracts: list[str]
    versions: dict[str, list[str]]
    verdicts: list[Verdict]


@lru_cache(maxsize=1)
def contracts() -> tuple[Contract, ...]:
    """The contracts of the default pipeline, at its reference commit."""
    return read(pipeline().contract()["upstream.contracts"])


@lru_cache(maxsize=1)
def of_releases() -> tuple[Contract, ...]:
    """Those, and what else is asked of a release that a user names."""
    return (*contracts(), *read(pipeline().contract()["upstream.release_contracts"]))


@lru_cache(maxsize=1)
def packaged() -> Packaged:
    """The facts that come with the default pipeline, so that the matrix is there offline."""
    path: Path = pipeline().contract()["upstream.verdicts"]
    return msgspec.json.decode(path.read_bytes(), type=Packaged)


def observe(source: Source, asked: Iterable[Contract] | None = None) -> dict[str, list[Seen]]:
    """What a release has of each contract's parts, by the contract's id. asked: by default `contracts()`."""
    package, asked = Package(source), contracts() if asked is None else asked
    return {c.id: [see(package, part.ask) for part in c.parts] for c in chosen(asked, source.distribution)}


def verdicts(source: Source, asked: Iterable[Contract] | None = None) -> list[Verdict]:
    """The verdict of each contract with the source's distribution. asked: by default `contracts()`."""
    asked = contracts() if asked is None else tuple(asked)
    seen = observe(source, asked)
    return [verdict(c, source.version, seen[c.id]) for c in chosen(asked, source.distribution)]


def table(verdicts: Sequence[Verdict], distribution: str = "", asked: Iterable[Contract] | None = None) -> Matrix:
    """Verdicts with the rows and columns that they should fill. asked: the rows, by default `contracts()`."""
    asked = contracts() if asked is None else asked
    mine = [v for v in verdicts if distribution in ("", v.distribution)]
    versions = {d: ordered({v.version for v in mine if v.distribution == d}) for d in {v.distribution for v in mine}}
    return Matrix([c.id for c in chosen(asked, distribution) if c.distribution in versions], versions, mine)


def ordered(versions: set[str]) -> list[str]:
    """Version numbers from the oldest to the newest."""
    return sorted(
        versions,
        key=lambda v: [(int(n), "") if n.isascii() and n.isdigit() else (-1, n) for n in re.split("[-.]", v[:200])],
    )


def shipped(_: object, request: MatrixRequest) -> Matrix:
    """The shipped verdicts; they are about releases, and the same for every tree."""
    return table(packaged().verdicts, request.distribution)


def read_matrix(words: Sequence[str], cache: Path | None = None) -> Matrix:
    """The verdicts on the releases that the user named; without a word, those that are shipped.

    Raises:
        UsageError: a word names no release that can be read.
    """
    return of_sources([open_source(word, cache) for word in dict.fromkeys(words)])


def of_sources(sources: Sequence[Source]) -> Matrix:
    """The verdicts on releases; of none, those that are shipped."""
    if not sources:
        kept = packaged()
        return table([*kept.verdicts, *kept.releases], asked=of_releases() if kept.releases else contracts())
    made: dict[tuple[str, str], Verdict] = {}
    for source in sources:
        for found in verdicts(source, of_releases()):
            made.setdefault((found.contract, found.version), found)
    return table(list(made.values()), asked=of_releases())


def releases(matrix: Matrix) -> Iterator[Release]:
    """The matrix by releases: by distribution, then from the oldest to the newest."""
    for distribution, versions in sorted(matrix.versions.items()):
        promised = tuple(c for c in chosen(of_releases(), distribution) if c.id in matrix.contracts)
        for version in versions:
            mine = [v for v in matrix.verdicts if (v.distribution, v.version) == (distribution, version)]
            yield Release(distribution, version, promised, mine)


def audit(matrix: Matrix, together: Sequence[Source] = ()) -> list[Finding]:
    """One finding for each release and each claim that has contracts with it, and one for each two of the releases
    `together` of which one uses the other, or that are shipped; `config` names the release, or both."""
    found = []
    for release in releases(matrix):
        for claim in claims_on(Release, "upstream"):
            mine = release.about(claim.id)
            words = [Evidence(kind="fact", symbol=v.contract, value=v.word) for v in mine.verdicts]
            name = f"{release.distribution}=={release.version}"
            artifact = Artifact(mine, name, config=name, kind="S", evidence=words.copy)
            if mine.contracts:
                found.append(judge_artifact(artifact, claim))
    for pair in pairs(together) if together else packaged().pairs:
        found += judge_all(Artifact(pair, pair.name, config=pair.name, kind="S"), "upstream")
    return found


def write_packaged(sources: Iterable[Source], path: Path, together: Iterable[Sequence[Source]] = ()) -> None:
    """Make the shipped facts anew; the observations of the pinned releases are kept as well.

    Args:
        path: the contract's `upstream.verdicts`, or another file to look at first.
        together: releases that go together; each pair of them of which one uses the other is judged.
    """
    pinned = pipeline().contract()["upstream.pinned"]
    opened, order = list(sources), {c.id: i for i, c in enumerate(of_releases())}
    own = {c.id for c in contracts()}
    every = sorted((v for s in opened for v in verdicts(s, of_releases())), key=lambda v: order[v.contract])
    made, more = [v for v in every if v.contract in own], [v for v in every if v.contract not in own]
    kept = {s.distribution: observe(s) for s in opened if pinned.get(s.distribution) == s.version}
    found = {pair.name: pair for some in together for pair in pairs(some)}
    value: Any = msgspec.to_builtins(Packaged(made, kept, more, [judged(pair) for pair in found.values()]))
    path.write_text(json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n", encoding="utf-8")
