"""What an error and a preflight's payload must say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.config.surfaces import Loaded
from coordexp_audit_lib.core.finding import Authority, Severity
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Answer

_GUIDANCE = re.compile(
    r"\b(remove|delete|drop|use|move|migrate|rename|replace|set|fix|choose|keep|instead|did you mean|see"
    r"|(allowed|valid|supported|known|accepted|expected)\b.{0,20}\b(keys|values|one of|are))\b",
    re.IGNORECASE,
)


def said(answer: Answer[Any]) -> str:
    """What a target said to a config: its error, or that it accepts it."""
    return answer.refusal.message if answer.refusal else "accepted"


def names_path(message: str, path: str) -> bool:
    """Whether a message holds the whole dotted path, and not merely as a part of a longer one."""
    return re.search(rf"(?<![\w.\]]){re.escape(path)}(?![\w\[])", message) is not None


def says_what_to_do(message: str, path: str) -> bool:
    """Whether a message tells a remedy: a word of instruction or the accepted alternatives, outside the path itself."""
    return _GUIDANCE.search(message.replace(path, " ")) is not None


def names_any(message: str, name: str) -> bool:
    """Whether a message holds a key's name, alone or within a dotted path."""
    return any(name in word.strip(".,;:'\"()[]{}").replace("[", ".").split(".") for word in message.split())


class Tried(msgspec.Struct, frozen=True):
    """An unknown key that was tried: its dotted path, and what became of it."""

    path: str
    value: Any
    refused: bool
    named: bool
    guided: bool
    said: str

    @property
    def flaws(self) -> list[str]:
        """What is wrong with the answer; empty if all is well."""
        if not self.refused:
            return ["it is accepted in silence"]
        flaws = {"name the full dotted path": self.named, "say what to do": self.guided}
        return [f"the error does not {what}" for what, done in flaws.items() if not done]


def tried(answer: Answer[Loaded], path: str, value: Any) -> Tried:
    """Judge the answer to a config with an unknown key at `path`."""
    error = answer.refusal.message if answer.refusal else ""
    return Tried(path, value, answer.refused, names_path(error, path), says_what_to_do(error, path), error)


def unknown_key(t: Tried, where: str = "", guidance: Authority | None = None) -> Iterator[Problem]:
    """An unknown key is refused, and the error names its full path and says what to do.

    guidance: whose demand the last is, if not that of the whole.
    """
    if t.flaws:
        text, wanted = f"An unknown key at {t.path}{where}", "refused, with the full dotted path and what to do"
        found = {"names the path": t.named, "says what to do": t.guided} if t.refused else "accepted"
        case = {t.path: t.value, **({"error": t.said} if t.refused else {})}
        weight: Severity | None = "P2" if t.refused else None  # a poor message trains nothing else
        whose = guidance if t.refused and t.named else None
        told = f"{text}: {', and '.join(t.flaws)}."
        yield Problem(told, t.path, wanted, found, case, severity=weight, authority=whose)


def preflight_flaws(payload: Mapping[str, Any], keys: Mapping[str, tuple[str, ...]]) -> list[str]:
    """What a preflight payload lacks of its keys and their types, by name."""
    flaws = [f"no key {k}" for k in keys if k not in payload]
    found = {k: type(payload[k]).__name__ for k in keys if k in payload}
    flaws += [f"{k} is {name}" for k, name in found.items() if name not in keys[k]]
    lists = [k for k in found if isinstance(payload[k], list)]
    mixed = [k for k in lists if not all(isinstance(item, str) for item in payload[k])]
    return flaws + [f"{k} holds something else than strings" for k in mixed]
