"""The matrix: the verdict of every contract for every release, from sources that are read and never imported."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.upstream import spec_pipeline, spec_swift, spec_transformers
from coordexp_audit_lib.boundaries.upstream.facts import Seen
from coordexp_audit_lib.boundaries.upstream.package import Package
from coordexp_audit_lib.boundaries.upstream.reading import see
from coordexp_audit_lib.boundaries.upstream.sources import Source
from coordexp_audit_lib.boundaries.upstream.spec import Contract
from coordexp_audit_lib.boundaries.upstream.verdict import Verdict, verdict

CONTRACTS: tuple[Contract, ...] = (*spec_transformers.CONTRACTS, *spec_swift.CONTRACTS, *spec_pipeline.CONTRACTS)
PINNED = {"transformers": "4.57.6", "ms-swift": "3.10.3", "vllm": "0.11.0"}  # what the audited commit was written for
PACKAGED = Path(__file__).resolve().parents[2] / "resources" / "upstream_verdicts.json"


class Packaged(msgspec.Struct, frozen=True):
    """The facts that this library ships. seen: of each pinned release, what the parts of each contract show."""

    verdicts: list[Verdict]
    seen: dict[str, dict[str, list[Seen]]]


class MatrixRequest(msgspec.Struct, frozen=True):
    """distribution: one of them, or all."""

    distribution: str = ""


class Matrix(msgspec.Struct, frozen=True):
    """contracts: the rows, by id. versions: of each distribution, in order. verdicts: one of each."""

    contracts: list[str]
    versions: dict[str, list[str]]
    verdicts: list[Verdict]


def contracts(distribution: str = "", invariant: str = "") -> list[Contract]:
    """Those of a distribution, or of an invariant; all by default."""
    return [c for c in CONTRACTS if distribution in ("", c.distribution) and invariant in ("", c.invariant)]


def contract(id: str) -> Contract:
    """The contract of that id."""
    return next(c for c in CONTRACTS if c.id == id)


def observe(source: Source) -> dict[str, list[Seen]]:
    """What a release has of each contract's parts, by the contract's id."""
    package = Package(source)
    return {c.id: [see(package, part.ask) for part in c.parts] for c in contracts(source.distribution)}


def verdicts(source: Source) -> list[Verdict]:
    """The verdict of each contract with the source's distribution."""
    seen = observe(source)
    return [verdict(c, source.version, seen[c.id]) for c in contracts(source.distribution)]


def matrix(sources: Iterable[Source]) -> list[Verdict]:
    """All verdicts: by distribution as in `CONTRACTS`, then in the order of the sources."""
    made = [v for source in sources for v in verdicts(source)]
    order = {c.id: i for i, c in enumerate(CONTRACTS)}
    return sorted(made, key=lambda v: order[v.contract])


@lru_cache(maxsize=1)
def packaged() -> Packaged:
    """The verdicts that this library ships, so that the matrix is there offline."""
    return msgspec.json.decode(PACKAGED.read_bytes(), type=Packaged)


def table(verdicts: Sequence[Verdict], distribution: str = "") -> Matrix:
    """Verdicts with the rows and columns that they should fill."""
    chosen = [v for v in verdicts if distribution in ("", v.distribution)]
    versions = {
        d: ordered({v.version for v in chosen if v.distribution == d}) for d in {v.distribution for v in chosen}
    }
    return Matrix([c.id for c in contracts(distribution) if c.distribution in versions], versions, chosen)


def ordered(versions: set[str]) -> list[str]:
    """Version numbers from the oldest to the newest."""
    return sorted(
        versions, key=lambda v: [(int(n), "") if n.isdigit() else (-1, n) for n in v.replace("-", ".").split(".")]
    )


def shipped(_: object, request: MatrixRequest) -> Matrix:
    """The shipped verdicts; they are about releases, and the same for every pipeline."""
    return table(packaged().verdicts, request.distribution)


def write_packaged(sources: Sequence[Source], path: Path = PACKAGED) -> None:
    """Make the shipped facts anew; the observations of the pinned releases are kept as well."""
    kept = {s.distribution: observe(s) for s in sources if PINNED[s.distribution] == s.version}
    value: Any = msgspec.to_builtins(Packaged(matrix(sources), kept))
    path.write_text(json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n", encoding="utf-8")
