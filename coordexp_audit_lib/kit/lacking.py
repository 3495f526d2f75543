"""Requests without what a pipeline does not have at all, so that the rest can be asked. Standard library only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from coordexp_audit_lib.kit.asked import Asked

SYSTEM, TURNS = "system", "turns"
KNOWN = {SYSTEM: "a system prompt", TURNS: "a question after the first answer"}
SLOT = "<image>"
Turns = Sequence[tuple[str, str]]


def kept(turns: Turns, lacks: Collection[str]) -> list[tuple[str, str]]:
    """Of a chat the turns that a pipeline without these can take."""
    left = [(role, text) for role, text in turns if not (SYSTEM in lacks and role == "system")]
    if TURNS in lacks:
        ends = [i for i, (role, _) in enumerate(left) if role == "assistant"]
        left = left[: ends[0] + 1] if ends else left
    return left


def request(asked: Any, lacks: Collection[str]) -> Any:
    """A request with each chat cut so; its pictures are those of the turns that are left."""
    if not lacks:
        return asked
    made = Asked(asked)
    if "samples" in made:
        made["samples"] = [_sample(one, lacks) for one in made["samples"]]
    if "chats" in made:
        made["chats"] = [kept(one, lacks) for one in made["chats"]]
    if SYSTEM in lacks and "system" in made:
        made["system"] = ""
    return made


def _sample(one: Any, lacks: Collection[str]) -> Asked:
    turns = kept(one["turns"], lacks)
    slots = sum(text.count(SLOT) for role, text in turns if role != "assistant")
    return Asked(one, turns=turns, pictures=one["pictures"][:slots])
