"""What each release of transformers was seen to do with a packed call: the matrix of `kit/isolation.py`, kept as facts.

One small file for each release in `resources/isolation/`; `coordexp-audit isolation` measures the installed one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.kit import isolation
from coordexp_audit_lib.kit.isolation import APART, CACHES, MIXED, OTHER, REFUSED, Call, Outcome
from coordexp_audit_lib.kit.tiny_pack import POSITIONS

FOLDER = Path(__file__).parents[3] / "resources" / "isolation"
SCHEMA = "coordexp-audit-isolation/1"
MARKS = {APART: "=", OTHER: "~", MIXED: "X", REFUSED: "!"}
VERDICTS = {mark: verdict for verdict, mark in MARKS.items()}


class Facts(msgspec.Struct, frozen=True):
    """The verdicts on one release.

    rows: for each family, content, attention and mask (joined by blanks) the marks of its calls: a group for each kind
    of positions, in it without a cache and with one. errors: of refused calls, how many of each type.
    """

    transformers: str
    torch: str
    rows: dict[str, str]
    errors: dict[str, int] = {}
    schema: str = SCHEMA

    def verdict(self, call: Call) -> str | None:
        """What such a call was seen to do: of `kit/isolation.py`; None where it was not measured."""
        groups = self.rows.get(_row(call), "").split()
        if len(groups) != len(POSITIONS) or call.positions not in POSITIONS:
            return None
        return VERDICTS.get(groups[POSITIONS.index(call.positions)][CACHES.index(call.cache)])

    def count(self, verdict: str) -> int:
        return sum(row.count(MARKS[verdict]) for row in self.rows.values())


class Measured(msgspec.Struct, frozen=True):
    """What was measured here. How sure the verdicts are is shown, in units of what counts as rounding, by the largest
    difference that counts as none (largest_rounding) and the smallest other one (smallest_effect)."""

    facts: Facts
    largest_rounding: float
    smallest_effect: float


def measure(progress: Callable[[Call], object] = lambda call: None) -> Measured:
    """Measure every call on the installed transformers (half a minute)."""
    found = {}
    for call in isolation.calls():
        progress(call)
        found[call] = isolation.measure(call)
    sizes = [size for o in found.values() if o.verdict != REFUSED for size in (o.moved, o.differs)]
    rounding, effects = [s for s in sizes if s <= 1], [s for s in sizes if s > 1]
    return Measured(_facts(found), max(rounding, default=0.0), min(effects, default=float("inf")))


def _facts(found: dict[Call, Outcome]) -> Facts:
    rows: dict[str, str] = {}
    errors: dict[str, int] = {}
    for call, outcome in found.items():
        before = rows.get(_row(call), "")
        blank = " " if before and call.cache is CACHES[0] else ""
        rows[_row(call)] = before + blank + MARKS[outcome.verdict]
        if outcome.error:
            errors[outcome.error] = errors.get(outcome.error, 0) + 1
    return Facts(installed(), metadata.version("torch").partition("+")[0], rows, dict(sorted(errors.items())))


def _row(call: Call) -> str:
    return f"{call.family} {call.content} {call.attention} {call.mask}"


def installed() -> str:
    """The release of transformers that is installed, or "" """
    try:
        return metadata.version("transformers")
    except metadata.PackageNotFoundError:
        return ""


@lru_cache
def recorded(release: str) -> Facts | None:
    """What is recorded of a release of transformers; None where nothing is."""
    path = FOLDER / f"{release}.json"
    return read(path) if path.is_file() else None


def releases() -> list[str]:
    """The releases of which something is recorded, the oldest first."""
    return sorted((p.stem for p in FOLDER.glob("*.json")), key=lambda v: [int(n) for n in v.split(".")])


def all_recorded() -> Iterator[Facts]:
    """What is recorded, the oldest release first."""
    yield from (facts for release in releases() if (facts := recorded(release)) is not None)


def read(path: Path | str) -> Facts:
    """Facts that `coordexp-audit isolation --out` wrote.

    Raises:
        UsageError: it is no such file.
    """
    try:
        made = msgspec.json.decode(Path(path).read_bytes(), type=Facts)
    except (OSError, msgspec.MsgspecError) as error:
        remedy = "write it with `coordexp-audit isolation --out FILE`"
        raise UsageError(f"holds no facts on isolation: {error}", where=str(path), remedy=remedy) from error
    if made.schema != SCHEMA:
        raise UsageError(f"its schema is {made.schema}, not {SCHEMA}", where=str(path), remedy="measure anew")
    return made


def written(facts: Facts) -> str:
    """Facts as a file holds them."""
    return msgspec.json.format(msgspec.json.encode(facts), indent=1).decode() + "\n"


class ModelCall(msgspec.Struct, frozen=True):
    """A call of a model with a pack, as a training program makes it, and what is known of such calls.

    facts: of that release, or None where nothing is known of it.
    """

    call: Call
    facts: Facts | None
    release: str


def called(call: Call, own: Facts | None = None, release: str | None = None) -> ModelCall:
    """A call under a release of transformers, by default the installed one. own: facts that were measured there; those
    of another release say nothing."""
    named: Any = installed() if release is None else release
    facts = own if own is not None and own.transformers == named else recorded(named)
    return ModelCall(call, facts, named)
