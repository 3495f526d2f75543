"""Whether a call of a model keeps packed samples apart, by what its release of transformers was seen to do."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.packing.artifact.isolation import ModelCall
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.kit.isolation import APART, MIXED, REFUSED, TOLD, Call

MASKS = {"none": "no mask", "ones": "all-ones mask", "numbers": "mask of segment numbers", "block": "block mask"}
POSITIONS = {
    "none": "no position_ids",
    "text": "2-D position_ids",
    "three": "3 rows",
    "four": "4 rows",
    "copied": "4 rows with the temporal row twice",
}
ATTENTIONS = {"varlen": "flash attention", TOLD: "flash attention told cu_seq_lens", "flex": "flex attention"}
SEEN = {
    MIXED: "samples see each other",
    "other": "samples do not see each other, and yet are not what they are unpacked",
}


def in_words(call: Call, release: str = "") -> str:
    """A call in the order of the matrix: attention, mask, positions, cache, what the samples hold, release."""
    parts = [
        ATTENTIONS.get(call.attention, call.attention),
        MASKS[call.mask],
        POSITIONS[call.positions],
        *(["use_cache"] if call.cache else []),
        *(["text alone"] if call.content == "text" else []),
        *([f"transformers {release}"] if release else []),
    ]
    return ", ".join(parts)


def kept_apart(made: ModelCall, ledger: Ledger) -> Iterator[Problem]:
    """Such a call was seen to keep samples apart, and to leave them as they are unpacked."""
    if made.facts is None:
        raise Undecided(
            f"nothing is recorded of transformers {made.release}: run `coordexp-audit isolation --out FILE`"
        )
    verdict = made.facts.verdict(made.call)
    if verdict is None:
        raise Undecided(f"such a call was not measured: {in_words(made.call, made.release)}")
    if verdict == REFUSED:
        raise Undecided(f"transformers {made.release} refuses such a call")
    ledger.judged()
    if verdict != APART:
        text = f"your call: {in_words(made.call, made.release)}: {SEEN[verdict]}"
        yield Problem(text, subject=made.call.family, expected="apart", actual=verdict)
