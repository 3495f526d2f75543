"""Everything that a chat's turns say is in its tokens, in the order of the turns.

A template that drops a system prompt, trims an answer or takes the last turn alone trains another task than the data
set holds, and neither its loss nor its labels show it.

Example: of system, user and assistant the system's text is nowhere in the tokens."""

from __future__ import annotations

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.packing import cases
from coordexp_audit_lib.boundaries.packing.predicates import encoding
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil
from coordexp_audit_lib.kit import tokenizer

turns_whole = artifact_claim(
    id="packing.turns_whole",
    doc=__doc__,
    severity="P1",
    remedy="Render every turn with its whole text; refuse a chat that the template can not render.",
    on={encoding.Alone: encoding.turns_whole},
    asks=cases.each_of_qwen,
)


def _sound() -> encoding.Alone:
    return encoding.Alone("one", [("user", "hi"), ("assistant", "yes")], tokenizer.encode("hi yes"), 2)


spoil(turns_whole, "turn_dropped", "the template leaves the question out", _sound)(
    lambda seen: replace(seen, ids=tokenizer.encode("yes"))
)
spoil(turns_whole, "turns_swapped", "turns change places", _sound)(
    lambda seen: replace(seen, ids=tokenizer.encode("yes hi"))
)
