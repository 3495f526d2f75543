"""What a violation says that helps to find its place: the keys that it names, and whose claim it breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.core.finding import Violation

NAME = re.compile(r"[A-Za-z_]\w*(?:\[\d+\])?(?:[./]\w+(?:\[\d+\])?)*")
MOST_KEYS = 6
SHORTEST = 4


class Clue(msgspec.Struct, frozen=True):
    """claim: its id. config: the one under audit, as the target names it; empty where the claim is about none.

    keys: dotted paths and names of metrics that the violation names, the likeliest first. text: subject and message.
    accepted: the violation is that something was accepted which must be refused. measured: a number is another than it
    must be.
    """

    claim: str = ""
    config: str = ""
    keys: tuple[str, ...] = ()
    text: str = ""
    accepted: bool = False
    measured: bool = False


def must_refuse(violation: Violation) -> bool:
    """Whether the violation is that something was accepted."""
    said = violation.expected == "refused" or violation.actual == "accepted" or "accepted" in violation.message
    return bool(said and violation.expected != "accepted")


def clue_of(claim: str, config: str, violation: Violation) -> Clue:
    """The clue of one violation of a claim."""
    keys = dict.fromkeys(k for k in _named(violation) if len(k) >= SHORTEST)
    text = f"{violation.subject} | {violation.message}"
    both = (violation.expected, violation.actual)
    measured = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in both)
    return Clue(claim, config, tuple(keys)[:MOST_KEYS], text, must_refuse(violation), measured)


def _named(violation: Violation) -> Iterator[str]:
    """Names that look like keys: in the subject those with a dot, a slash or an underscore in them, elsewhere those
    with a dot or a slash."""
    yield from _keys(violation.subject, "./_")
    yield from (k for c in _members(violation.counterexample) for k in _keys(c, "./"))
    yield from _keys(violation.message, "./")
    for value in (violation.expected, violation.actual):
        yield from (k for text in _texts(value) for k in _keys(text, "./") if k == text)


def _members(value: Any) -> list[str]:
    return [str(k) for k in value] if isinstance(value, dict) else []


def _keys(text: object, marks: str) -> Iterator[str]:
    found = NAME.findall(text) if isinstance(text, str) else []
    return (k for k in found if any(mark in k for mark in marks) and not k.endswith((".py", ".yaml", ".jsonl", ".sh")))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)
