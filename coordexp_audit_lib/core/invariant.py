"""Invariants: one decorated generator function each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.core.evidence import Evidence, Where, digest
from coordexp_audit_lib.core.finding import Kind, Severity, Violation
from coordexp_audit_lib.core.surface import Answer, Refuse, Request, Response, Surface
from coordexp_audit_lib.core.target import Target

Check = Callable[["Context"], Iterator[Violation]]
Exhibit = Callable[["Context"], dict[str, Any]]
T = TypeVar("T", bound=Callable[..., Any])

_INVARIANTS: dict[str, Invariant] = {}
_EXHIBITS: dict[str, Exhibit] = {}
_FAULTS: dict[str, Fault] = {}
_PROVOCATIONS: list[Provocation] = []


class Invariant(msgspec.Struct, frozen=True, eq=False):
    """A claim over surfaces. `per_config`: the claim is about a config and is judged for each."""

    id: str
    boundary: str
    severity: Severity
    kind: Kind
    claim: str
    remedy: str
    spec: str
    per_config: bool
    check: Check


class Fault(msgspec.Struct, frozen=True, eq=False):
    """A deliberate small break of one surface: `apply(request, honest)` where `honest(request)` is the true answer.

    `apply` returns a response or raises `Refuse`. `caught_by`: the invariants that must find it.
    """

    id: str
    surface: Surface[Any, Any]
    caught_by: tuple[str, ...]
    summary: str
    apply: Callable[[Any, Callable[[Any], Any]], Any]


class Provocation(msgspec.Struct, frozen=True, eq=False):
    """Inputs that a surface should refuse; `ask(ctx)` asks them and yields `(label, answer)`."""

    surface: Surface[Any, Any]
    ask: Callable[[Context], Iterable[tuple[str, Answer[Any]]]]


class Context:
    """What a check sees: the target, a seeded source of randomness, the ledger of cases, and the config.

    config: as the user named it; empty in a check that is not `per_config`.
    """

    def __init__(self, target: Target, config: str, seed: int = 0, label: str = "") -> None:
        self.target, self.config, self.seed, self.label = target, config, seed, label
        self.checked = 0
        self.calls: dict[str, int] = {}
        self.notes: list[Evidence] = []
        self.last_surface = ""

    def ask(self, question: Surface[Request, Response], request: Request) -> Answer[Response]:
        """Ask the target; the answer is a value or a refusal."""
        self.last_surface = question.name
        self.calls[question.name] = self.calls.get(question.name, 0) + 1
        return self.target.ask(question, request)

    def value(self, question: Surface[Request, Response], request: Request) -> Response:
        """Ask and take the value; a refusal becomes an `error` finding, for it was not expected."""
        return self.ask(question, request).value

    def judge(self, cases: int = 1) -> None:
        """Count cases that were judged. A check that judges nothing can't hold."""
        self.checked += cases

    def note(self, evidence: Evidence) -> None:
        """Add a handle that a reader can follow."""
        self.notes.append(evidence)

    def fact(self, name: str, value: Any) -> None:
        """Add a measured value to the finding's evidence."""
        self.notes.append(Evidence(kind="fact", symbol=name, value=value))

    def where(self, question: Surface[Any, Any]) -> Where | None:
        """File, line and symbol of the target's function behind a surface."""
        binding = self.target.bindings().get(question.name)
        return binding.where if binding else None

    def rng(self, *salt: object) -> random.Random:
        """A generator that depends on the seed, the check and the salt only."""
        return random.Random(int(digest([self.seed, self.label, *map(str, salt)]), 16))


def invariant(
    id: str,
    *,
    boundary: str,
    severity: Severity,
    kind: Kind,
    claim: str,
    remedy: str,
    spec: str,
    per_config: bool = False,
) -> Callable[[Check], Check]:
    """Declare an invariant over a generator function `(ctx) -> Iterator[Violation]`."""

    def register(check: Check) -> Check:
        if id in _INVARIANTS:
            raise AuditError(f"invariant {id} is declared twice", where=id, cure="rename one of them")
        _INVARIANTS[id] = Invariant(id, boundary, severity, kind, claim, remedy, spec, per_config, check)
        return check

    return register


def exhibit(name: str) -> Callable[[Exhibit], Exhibit]:
    """Declare the data of a figure: `(ctx) -> JSON-able dict`. What it asks is recorded with the checks' questions."""

    def register(function: Exhibit) -> Exhibit:
        if name in _EXHIBITS:
            raise AuditError(f"exhibit {name} is declared twice", where=name, cure="rename one of them")
        _EXHIBITS[name] = function
        return function

    return register


def fault(id: str, *, surface: Surface[Any, Any], caught_by: tuple[str, ...], summary: str) -> Callable[[T], T]:
    """Declare a fault over a function `(request, honest) -> response`."""

    def register(apply: T) -> T:
        if id in _FAULTS:
            raise AuditError(f"fault {id} is declared twice", where=id, cure="rename one of them")
        _FAULTS[id] = Fault(id, surface, caught_by, summary, apply)
        return apply

    return register


def provokes(question: Surface[Any, Any]) -> Callable[[T], T]:
    """Declare a function `(ctx) -> (label, answer), …` that asks inputs which `question` should refuse."""

    def register(function: T) -> T:
        _PROVOCATIONS.append(Provocation(question, function))
        return function

    return register


def provocations() -> list[Provocation]:
    """Declared provocations, in order of declaration."""
    return list(_PROVOCATIONS)


def invariants(boundary: str | None = None) -> list[Invariant]:
    """Declared invariants, in order of declaration; of one boundary if named."""
    return [i for i in _INVARIANTS.values() if boundary in (None, i.boundary)]


def exhibits(boundary: str | None = None) -> dict[str, Exhibit]:
    """Declared exhibits by name; those of one boundary are named `boundary.…`."""
    return {n: e for n, e in _EXHIBITS.items() if boundary is None or n.split(".")[0] == boundary}


def faults() -> list[Fault]:
    """Declared faults, in order of declaration."""
    return list(_FAULTS.values())


__all__ = [
    "Check",
    "Context",
    "Exhibit",
    "Fault",
    "Invariant",
    "Provocation",
    "Refuse",
    "exhibit",
    "exhibits",
    "fault",
    "faults",
    "invariant",
    "invariants",
    "provocations",
    "provokes",
]
