"""Surfaces: the named questions that a pipeline answers at a boundary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from coordexp_audit_lib.core.errors import AuditError, TargetRefused
from coordexp_audit_lib.core.evidence import Where

Request = TypeVar("Request", bound=msgspec.Struct)
Response = TypeVar("Response", bound=msgspec.Struct)

_SURFACES: dict[str, Surface[Any, Any]] = {}
_REFERENCE: dict[str, Callable[[Any], Any]] = {}


class Surface(msgspec.Struct, Generic[Request, Response], frozen=True, eq=False):
    """A question with typed, JSON-able input and output.

    name: `boundary.question`. request, response: `msgspec.Struct` types. summary: one line.
    static: for questions about source text, a function `(tree, request) -> response` that reads a
    source tree (`core.tree.Tree`) and never imports it; None for behavioural questions.
    """

    name: str
    request: type[Request]
    response: type[Response]
    summary: str
    static: Callable[[Any, Request], Response] | None = None


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """The target's own function raised: the exception's type name, its message, and the innermost place in the target's
    source, where one is known."""

    type: str
    message: str
    where: Where | None = None


class StandIn(msgspec.Struct, frozen=True, array_like=True):
    """What took part in an answer in place of something that is not installed: its name, what stood for it, and whether
    the answer is the same as with the real one."""

    name: str
    what: str
    sound: bool


class Answer(msgspec.Struct, Generic[Response], frozen=True):
    """What a target said: a value, or a refusal. Never both, never neither."""

    surface: str
    content: Response | None = None
    refusal: Refusal | None = None
    stand_ins: tuple[StandIn, ...] = ()

    @property
    def refused(self) -> bool:
        return self.refusal is not None

    @property
    def value(self) -> Response:
        """The answer's value.

        Raises:
            TargetRefused: the target refused the request.
        """
        if self.content is None:
            reason = self.refusal or Refusal("Unknown", "no value")
            raise TargetRefused(
                f"the target refused an input that it should accept: {reason.type}: {reason.message[:300]}",
                where=self.surface,
                remedy="read the refusal; if it is right, the check's input is wrong for this target",
            )
        return self.content


class Refuse(Exception):
    """Raised by a reference function to refuse its input, as a real pipeline raises ValueError."""

    def __init__(self, message: str, type: str = "ValueError") -> None:
        self.refusal = Refusal(type=type, message=message)
        super().__init__(message)


def surface(
    name: str,
    request: type[Request],
    response: type[Response],
    summary: str,
    static: Callable[[Any, Request], Response] | None = None,
) -> Surface[Request, Response]:
    """Declare a surface. A second declaration of a name is an error."""
    if name in _SURFACES:
        raise AuditError(f"surface {name} is declared twice", where=name, remedy="rename one of them")
    made = Surface(name=name, request=request, response=response, summary=summary, static=static)
    _SURFACES[name] = made
    return made


def surfaces() -> dict[str, Surface[Any, Any]]:
    """All declared surfaces by name, sorted."""
    return dict(sorted(_SURFACES.items()))


def answers(
    question: Surface[Request, Response],
) -> Callable[[Callable[[Request], Response]], Callable[[Request], Response]]:
    """Register the reference implementation of a surface: `(request) -> response`, or raise `Refuse`."""

    def register(function: Callable[[Request], Response]) -> Callable[[Request], Response]:
        if question.name in _REFERENCE:
            raise AuditError(
                f"{question.name} has two reference answers", where=function.__qualname__, remedy="keep one"
            )
        _REFERENCE[question.name] = function
        return function

    return register


def reference_answers() -> dict[str, Callable[[Any], Any]]:
    """The registered reference implementations by surface name."""
    return dict(_REFERENCE)
