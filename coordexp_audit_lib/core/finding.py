"""Violations and findings: what an audit says, in types that every renderer reads."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import msgspec

from coordexp_audit_lib.core.evidence import Evidence, Where, canonical_json

Severity = Literal["P0", "P1", "P2"]
Kind = Literal["B", "S", "A"]
Status = Literal["held", "violated", "unbound", "error"]
Authority = Literal["spec", "upstream", "practice"]
Reach = Literal["this config", "another config", "unknown", "none"]

STATUSES: tuple[Status, ...] = ("held", "violated", "unbound", "error")
SEVERITIES: tuple[Severity, ...] = ("P0", "P1", "P2")
AUTHORITIES: tuple[Authority, ...] = ("spec", "upstream", "practice")
REACHES: tuple[Reach, ...] = ("this config", "another config", "unknown", "none")  # from near to far
MAX_TEXT = 2000
MAX_BITS = 2048  # of an integer: Python refuses to write one of more than some thousand digits
MAX_NESTED = 64
MAX_SHOWN = 20_000  # characters of one value of a violation


class Reached(NamedTuple):
    """Whether an audited config reaches a violation, how that is known, and which do: none named means all of them, or
    that it is not known which."""

    reach: Reach
    by: str = ""
    configs: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True):
    """A place that may be the one to mend, and how it was found: `refusal` (the innermost frame of the target),
    `parser` (the section class that let a key pass), `lines` (those that ran when it failed and not when it passed),
    `data flow`, `symbol` (named by the claim or the pipeline), `config` (a line of YAML) or `call` (what was asked)."""

    where: Where
    found: str


class Violation(msgspec.Struct, frozen=True):
    """One way in which a claim fails.

    message: what is wrong, for a stranger. subject: what was judged (an input's name, a key path, a token).
    expected, actual, counterexample: JSON-able; the counterexample is the smallest input that shows it.
    where, found: the place to mend and how it was found (`Place`); others: places that come next.
    severity: by effect, where it is not the claim's own. authority: `practice` where it goes beyond what is cited.
    kind: what it has in common with others that are counted with it; "": its message without its subject,
        numbers, names and quotations.
    reach, reach_by, reached_in: whether an audited config reaches it, how that is known, and which do (`Reached`).
    remedy: where it is not the claim's.
    """

    message: str
    subject: str = ""
    expected: Any = None
    actual: Any = None
    counterexample: Any = None
    where: Where | None = None
    severity: Severity | None = None
    authority: Authority | None = None
    kind: str = ""
    reach: Reach | None = None
    reach_by: str = ""
    reached_in: tuple[str, ...] = ()
    found: str = ""
    others: tuple[Place, ...] = ()
    remedy: str = ""

    def size(self) -> tuple[int, str]:
        """Sort key: smaller counterexamples first, then by text."""
        text = canonical_json(tidy(brief(self.counterexample)))
        return (len(text), self.message + text)


class Like(msgspec.Struct, frozen=True):
    """Violations of one kind: what the smallest says, how many there are, the first few of their subjects, what their
    messages have in common (`Violation.kind`), and the audited configs that reach them (`Reached`)."""

    message: str
    count: int
    severity: Severity
    authority: Authority
    reach: Reach
    subjects: tuple[str, ...]
    kind: str = ""
    reached_in: tuple[str, ...] = ()


class Finding(msgspec.Struct, frozen=True):
    """One invariant's result on one target and config (`config` is null where it does not depend on one).

    severity: the worst that a reached violation has; of a claim that is not violated, the worst that one could have.
    authority: whose demand it is; what is `practice` is advice, at most P2. reach: the nearest of its violations';
    `none` is latent: it counts nowhere and fails nothing. checked: how many cases were judged; zero is never `held`.
    violations: examples, one of each kind before a second of any, the weightiest kinds first; kinds: all of them,
    counted; violation_count: how many there were. note: why a finding is `unbound` or `error`, or what of it was not
    judged. configs: all in which it came out alike. also: claims that are violated for the same root. same_as: the
    claim that this one is counted with. accepted: why and since when a baseline accepts its violations; then it counts
    no more, and is told all the same.
    """

    invariant: str
    boundary: str
    severity: Severity
    kind: Kind
    status: Status
    checked: int
    config: str | None
    claim: str
    violations: list[Violation]
    violation_count: int
    evidence: list[Evidence]
    remedy: str
    spec: str
    note: str
    seconds: float
    authority: Authority = "practice"
    reach: Reach | None = None
    reach_by: str = ""
    kinds: tuple[Like, ...] = ()
    configs: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    same_as: str = ""
    accepted: str = ""

    @property
    def latent(self) -> bool:
        """Whether it is violated only where no audited config leads."""
        return self.status == "violated" and self.reach == "none"

    @property
    def advice(self) -> bool:
        """Whether it is violated by our own measure only."""
        return self.status == "violated" and self.authority == "practice"

    @property
    def counts(self) -> bool:
        """Whether it is a violation that counts: reached, and neither accepted nor counted under another name."""
        return self.status == "violated" and not self.latent and not self.same_as and not self.accepted


def tidy(value: Any) -> Any:
    """Builtins made fit for a report: floats rounded, NaN and infinities named, long texts cut, bad text escaped."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else repr(value)
    if isinstance(value, str):
        clean = value.encode("utf-8", "backslashreplace").decode("utf-8")
        return clean if len(clean) <= MAX_TEXT else f"{clean[:MAX_TEXT]}… (+{len(clean) - MAX_TEXT} characters)"
    if isinstance(value, dict):
        return {tidy(str(k)): tidy(v) for k, v in sorted(value.items(), key=lambda kv: str(kv[0]))}
    if isinstance(value, (list, tuple)):
        return [tidy(v) for v in value]
    if value is None or isinstance(value, (bool, int)):
        return value if value is None or value.bit_length() < MAX_BITS else f"an integer of {value.bit_length()} bits"
    return tidy(msgspec.to_builtins(value))


def brief(value: Any, budget: int = MAX_SHOWN) -> Any:
    """Builtins of no more than about `budget` characters of JSON: what comes later is left out, and how much is said.

    A value that fits is given back as it is.
    """
    return _Brief(budget).cut(value)


class _Brief:
    """What is left of a budget of characters, spent in the order of reading."""

    def __init__(self, budget: int) -> None:
        self.left = budget

    def cut(self, value: Any, depth: int = 0) -> Any:
        self.left -= 4
        if isinstance(value, str):
            kept = value[: max(0, min(MAX_TEXT, self.left))]
            self.left -= len(kept)
            return value if len(kept) == len(value) else f"{kept}… (+{len(value) - len(kept)} characters)"
        if isinstance(value, (dict, list, tuple)):
            return (
                "…"
                if depth > MAX_NESTED
                else self._mapping(value, depth)
                if isinstance(value, dict)
                else self._list(value, depth)
            )
        if isinstance(value, msgspec.Struct):
            return self.cut(msgspec.to_builtins(value), depth)
        self.left -= 8
        return value

    def _mapping(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        made = {}
        for n, (key, below) in enumerate(value.items()):
            if self.left <= 0:
                made["…"] = f"(+{len(value) - n} entries)"
                break
            made[self.cut(key)] = self.cut(below, depth + 1)
        return made

    def _list(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        made: list[Any] = []
        for n, below in enumerate(value):
            if self.left <= 0:
                made.append(f"… (+{len(value) - n} entries)")
                break
            made.append(self.cut(below, depth + 1))
        return made
