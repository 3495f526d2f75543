"""Faults: deliberate small breaks of one surface, each declared below the claim that must catch it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from coordexp_audit_lib.core.claim import Claim
from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.core.surface import Surface

Honest = Callable[[Any], Any]
T = TypeVar("T", bound=Callable[..., Any])
_FAULTS: dict[str, Fault] = {}
_SPOILS: dict[str, Spoil] = {}


class Fault(msgspec.Struct, frozen=True, eq=False):
    """A deliberate small break of one surface: `apply(request, honest)` where `honest(request)` is the true answer.

    `apply` returns a response or raises `Refuse`. `caught_by`: the claims that must find it.
    """

    id: str
    surface: Surface[Any, Any]
    caught_by: tuple[str, ...]
    summary: str
    apply: Callable[[Any, Honest], Any]


def fault(
    caught: Claim, name: str, question: Surface[Any, Any], summary: str, *, also: tuple[str, ...] = ()
) -> Callable[[T], T]:
    """Declare a fault over a function `(request, honest) -> response`; one line where the break is a lambda:

        fault(cu_seqlens, "cu_int64", BATCH, "cu_seq_lens are int64")(edited(retyped("cu_seq_lens_q", "int64")))

    Args:
        caught: the claim that must find it. name: the fault's id is `<boundary of the claim>.<name>`.
        question: the surface that is broken. summary: the break in a few words. also: ids of other claims that must
            find it too.
    """
    id = f"{caught.boundary}.{name}"

    def register(apply: T) -> T:
        if id in _FAULTS:
            raise AuditError(f"fault {id} is declared twice", where=id, remedy="rename one of them")
        _FAULTS[id] = Fault(id, question, (caught.id, *also), summary, apply)
        return apply

    return register


def asked(**changes: Callable[[Any], Any]) -> Callable[[Any, Honest], Any]:
    """A break that answers another question: each named field is what its function makes of the request."""
    return lambda request, honest: honest(
        msgspec.structs.replace(request, **{n: made(request) for n, made in changes.items()})
    )


def answered(**changes: Callable[[Any], Any]) -> Callable[[Any, Honest], Any]:
    """A break of the answer: each named field is what its function makes of the honest answer."""

    def apply(request: Any, honest: Honest) -> Any:
        answer = honest(request)
        return msgspec.structs.replace(answer, **{n: made(answer) for n, made in changes.items()})

    return apply


def faults(boundary: str | None = None) -> list[Fault]:
    """Declared faults by id; of one boundary if named."""
    return [f for _, f in sorted(_FAULTS.items()) if boundary in (None, f.id.partition(".")[0])]


class Spoil(msgspec.Struct, frozen=True, eq=False):
    """A deliberate small break of an artifact or a live object: what `apply` makes of the sound one breaks the claim
    `caught_by`, which holds on the sound one."""

    id: str
    caught_by: str
    summary: str
    sound: Callable[[], Any]
    apply: Callable[[Any], Any]


def spoil(caught: Claim, name: str, summary: str, sound: Callable[[], Any]) -> Callable[[T], T]:
    """Declare a break of an artifact over a function `(sound one) -> broken one`.

    Args:
        caught: the claim that must find it. name: its id is `<boundary of the claim>.<name>`. sound: makes a sound one.
    """
    id = f"{caught.boundary}.{name}"

    def register(apply: T) -> T:
        if id in _SPOILS:
            raise AuditError(f"fault {id} is declared twice", where=id, remedy="rename one of them")
        _SPOILS[id] = Spoil(id, caught.id, summary, sound, apply)
        return apply

    return register


def spoils(boundary: str | None = None) -> list[Spoil]:
    """Declared breaks of artifacts by id; of one boundary if named."""
    return [s for _, s in sorted(_SPOILS.items()) if boundary in (None, s.id.partition(".")[0])]
