"""Claims: what must hold. One decorated generator function each, in a file of its own.

    \"\"\"cu_seq_lens are int32, from 0 to the total.                     <- the demand, shown in every finding

    Why: ... what goes wrong in the objective or the evaluation without it.

    Example: ...\"\"\"

    @claim(severity="P0", kind="B", remedy="Derive cu_seq_lens from the samples' lengths.")
    def cu_seqlens(ctx: Context) -> Iterator[Violation | Problem]: ...

    cu_seqlens.on(PackedRow, predicates.cu_seqlens)                     <- how an artifact or a live object decides it

The id is `<boundary>.<file>`, read from where the file lies. The claim's faults follow it (`core.fault`).
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.errors import AuditError, CaseUnsupported, SurfaceUnbound
from coordexp_audit_lib.core.evidence import Evidence, Where, digest
from coordexp_audit_lib.core.finding import Kind, Severity, Violation
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.core.surface import Answer, Refusal, Request, Response, StandIn, Surface
from coordexp_audit_lib.core.target import Target

Check = Callable[["Context"], Iterator["Violation | Problem"]]
Predicate = Callable[[Any, "Ledger"], Iterable[Problem]]
Exhibit = Callable[["Context"], dict[str, Any]]
Subjects = Callable[["Context"], Iterable[Any]]
T = TypeVar("T", bound=Callable[..., Any])
Found = TypeVar("Found")

_CLAIMS: dict[str, Claim] = {}
_EXHIBITS: dict[str, Exhibit] = {}
_PROVOCATIONS: list[Provocation] = []


class Ledger:
    """What a check says that it judged. Nothing else counts.

    checked: cases of the thing that the claim is about. unjudged: the parts of the claim that could not be judged, each
    with the reason; a claim with such a part is not held.
    """

    def __init__(self) -> None:
        self.checked = 0
        self._unjudged: dict[str, None] = {}

    @property
    def unjudged(self) -> list[str]:
        return list(self._unjudged)

    def judged(self, cases: int = 1) -> None:
        """Count cases that were judged. A check that judges nothing can't hold."""
        self.checked += cases

    def left_out(self, part: str, why: str = "") -> None:
        """Say that a part of the claim was not judged: `left_out("dynamic packing", "not in this tree")`."""
        self._unjudged.setdefault(f"{part}: {why}" if why else part)


class Claim:
    """What must hold, and how it is judged.

    id: `boundary.name`. claim: the demand, the first paragraph of `doc`. doc: demand, reason and example. severity: the
    highest that a violation may have. kind: `B` the pipeline's own function is asked, `S` source is read, `A` an
    artifact is judged. spec: citations that hold for any pipeline (a library's own demand); what one pipeline's
    specification says stands in that pipeline. per_config: the claim is about a config and is judged for each.
    root: the claim that this one is counted with where both are violated, for they then have one cause. of_targets:
    False where only what a run left behind can break it, so that no target is asked. of_adapters: an adapter's pipeline
    is asked all the same, for a short run.
    """

    of_targets, of_adapters = True, False

    def __init__(
        self,
        id: str,
        doc: str,
        check: Check,
        *,
        severity: Severity,
        kind: Kind,
        remedy: str,
        spec: tuple[Citation, ...] = (),
        per_config: bool = False,
        root: str = "",
    ) -> None:
        self.id, self.boundary, self.doc = id, id.partition(".")[0], inspect.cleandoc(doc)
        self.claim = " ".join(self.doc.partition("\n\n")[0].split())
        self.severity, self.kind, self.remedy, self.spec, self.per_config = severity, kind, remedy, spec, per_config
        self.check, self.root = check, root
        self.predicates: dict[type, Predicate] = {}

    def on(self, kind: type, predicate: Predicate) -> None:
        """Say how an artifact or live object of the type `kind` decides it: `(subject, ledger) -> problems`."""
        self.predicates[kind] = predicate

    def not_on(self, kind: type, needs: str) -> None:
        """Say that a subject of the type `kind` can never decide the claim, and what it would need."""

        def undecided(subject: Any, ledger: Ledger) -> Iterable[Problem]:
            raise Undecided(needs)

        self.predicates[kind] = undecided

    def __repr__(self) -> str:
        return f"Claim({self.id})"


class Provocation(msgspec.Struct, frozen=True, eq=False):
    """Inputs that a surface should refuse; `ask(ctx)` asks them and yields `(label, answer)`."""

    surface: Surface[Any, Any]
    ask: Callable[[Context], Iterable[tuple[str, Answer[Any]]]]


class Asked(msgspec.Struct, frozen=True, eq=False):
    """One question of a check: what was asked, and the refusal if it was refused."""

    question: Surface[Any, Any]
    request: msgspec.Struct
    refusal: Refusal | None


class Context(Ledger):
    """What a check sees: the target, a seeded source of randomness, the ledger of cases, and the config.

    config: as the user named it; empty in a check that is not `per_config`.
    """

    def __init__(self, target: Target, config: str, seed: int = 0, label: str = "") -> None:
        super().__init__()
        self.target, self.config, self.seed, self.label = target, config, seed, label
        self.calls: dict[str, int] = {}
        self.asked: list[Asked] = []
        self.notes: list[Evidence] = []
        self.last_surface = ""
        self.stand_ins: dict[str, StandIn] = {}

    @property
    def contract(self) -> Mapping[str, Any]:
        """What the target's pipeline promises at this commit, as values by name (`boundary.name`)."""
        return self.target.contract()

    def ask(self, question: Surface[Request, Response], request: Request) -> Answer[Response]:
        """Ask the target; the answer is a value or a refusal."""
        self.last_surface = question.name
        self.calls[question.name] = self.calls.get(question.name, 0) + 1
        answer = self.target.ask(question, request)
        self.asked.append(Asked(question, request, answer.refusal))
        for one in answer.stand_ins:
            self.stand_ins[one.name] = one
            if not one.sound:
                self.left_out(f"what depends on {one.name}", f"it is not installed, and answered was with {one.what}")
        return answer

    def value(self, question: Surface[Request, Response], request: Request) -> Response:
        """Ask and take the value; a refusal becomes an `error` finding, for it was not expected."""
        return self.ask(question, request).value

    @contextmanager
    def case(self, name: str) -> Iterator[None]:
        """One of several cases: where the target does not offer what it asks for, that is noted; the others decide."""
        try:
            yield
        except CaseUnsupported as error:
            note = Evidence(kind="fact", symbol=f"not asked: {name}", value=f"not supported: {error.what}")
            if note not in self.notes:
                self.notes.append(note)

    def part(self, name: str, found: Iterable[Found]) -> Iterator[Found]:
        """One of several parts: what it finds; where the target does not answer it, that is left out, and the others
        go on."""
        try:
            yield from found
        except SurfaceUnbound as error:
            self.left_out(name, error.what)

    def offered(self, name: str, question: Surface[Request, Response], request: Request) -> Answer[Response] | None:
        """The answer to one case of several; None where the target does not offer what it asks for (`case`)."""
        with self.case(name):
            return self.ask(question, request)
        return None

    def not_there(self, part: str, why: str) -> None:
        """A part that the target does not answer: left out, unless an adapter's silence says that there is none."""
        if self.target.declaration() is None:
            self.left_out(part, why)
        else:
            self.fact(f"not asked: {part}", "the adapter does not answer it")

    def answers(self, question: Surface[Any, Any]) -> bool:
        """Whether the target has a function behind the surface."""
        binding = self.target.bindings().get(question.name)
        return binding is not None and binding.status in ("bound", "moved")

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


def claim(
    *,
    severity: Severity,
    kind: Kind,
    remedy: str,
    spec: tuple[Citation, ...] = (),
    per_config: bool = False,
    root: str = "",
    id: str = "",
) -> Callable[[Check], Claim]:
    """Declare a claim over a generator function `(ctx) -> Iterator[Violation | Problem]`.

    The module's docstring is the claim's text: its first paragraph the demand, the rest why and an example.

    Args:
        id: `boundary.name`; by default read from the module's place, `boundaries/<boundary>/claims/<name>.py`. With an
            id the function's own docstring is the claim's text.
    """

    def register(check: Check) -> Claim:
        parts = check.__module__.split(".")
        name = id or f"{parts[-3]}.{parts[-1]}"
        if name in _CLAIMS:
            raise AuditError(f"claim {name} is declared twice", where=name, remedy="rename one of them")
        said = (check.__globals__.get("__doc__"), check.__doc__)  # a file of several claims has them in the functions
        doc = next(filter(None, said[::-1] if id else said), "")
        made = Claim(
            name, doc, check, severity=severity, kind=kind, remedy=remedy, spec=spec, per_config=per_config, root=root
        )
        _CLAIMS[name] = made
        return made

    return register


def artifact_claim(
    *,
    severity: Severity,
    remedy: str,
    on: Mapping[type, Predicate],
    spec: tuple[Citation, ...] = (),
    doc: str,
    id: str,
    asks: Subjects | None = None,
) -> Claim:
    """Declare a claim that only artifacts can break: a run's log, its folder, a release. No target is asked.

    Args:
        on: by type of artifact, the predicate `(subject, ledger) -> problems`. doc: the module's `__doc__`. id: as in
            `claim`. asks: makes such subjects of what an adapter answers, `(ctx) -> subjects`; an adapter's pipeline is
            then judged by it too.
    """

    def asks_nothing(ctx: Context) -> Iterator[Violation | Problem]:
        raise Undecided("only what a run left behind can decide it")

    def of_answers(ctx: Context) -> Iterator[Violation | Problem]:
        for subject in asks(ctx) if asks is not None else ():
            yield from on[type(subject)](subject, ctx)

    if id in _CLAIMS:
        raise AuditError(f"claim {id} is declared twice", where=id, remedy="rename one of them")
    check = of_answers if asks is not None else asks_nothing
    made = Claim(id, doc, check, severity=severity, kind="A", remedy=remedy, spec=spec)
    made.of_targets, made.of_adapters = False, asks is not None
    made.predicates.update(on)
    _CLAIMS[id] = made
    return made


def exhibit(name: str) -> Callable[[Exhibit], Exhibit]:
    """Declare the data of a figure: `(ctx) -> JSON-able dict`. What it asks is recorded with the checks' questions."""

    def register(function: Exhibit) -> Exhibit:
        if name in _EXHIBITS:
            raise AuditError(f"exhibit {name} is declared twice", where=name, remedy="rename one of them")
        _EXHIBITS[name] = function
        return function

    return register


def provokes(question: Surface[Any, Any]) -> Callable[[T], T]:
    """Declare a function `(ctx) -> (label, answer), …` that asks inputs which `question` should refuse."""

    def register(function: T) -> T:
        _PROVOCATIONS.append(Provocation(question, function))
        return function

    return register


def provocations() -> list[Provocation]:
    """Declared provocations, by surface."""
    return sorted(_PROVOCATIONS, key=lambda p: p.surface.name)


def claims(boundary: str | None = None) -> list[Claim]:
    """Declared claims that a target is asked about, of one boundary if named: boundaries in the order in which they
    were loaded, ids sorted."""
    return [c for c in declared(boundary) if c.of_targets]


def declared(boundary: str | None = None) -> list[Claim]:
    """All declared claims, those too that only artifacts decide, in the order of `claims`."""
    order = {b: i for i, b in enumerate(dict.fromkeys(c.boundary for c in _CLAIMS.values()))}
    chosen = (c for c in _CLAIMS.values() if boundary in (None, c.boundary))
    return sorted(chosen, key=lambda c: (order[c.boundary], c.id))


def claims_on(kind: type, boundary: str | None = None) -> list[Claim]:
    """The claims that say how a subject of the type `kind` decides them, or why it can't."""
    return [c for c in declared(boundary) if kind in c.predicates]


def exhibits(boundary: str | None = None) -> dict[str, Exhibit]:
    """Declared exhibits by name; those of one boundary are named `boundary.…`."""
    return {n: e for n, e in sorted(_EXHIBITS.items()) if boundary is None or n.split(".")[0] == boundary}
