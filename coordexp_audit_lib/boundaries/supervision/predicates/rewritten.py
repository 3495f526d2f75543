"""What a target begins with where the contract has it written anew from the accepted objects of the rollout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from coordexp_audit_lib.boundaries.supervision.predicates.roles import VOCABULARY, text_of
from coordexp_audit_lib.boundaries.supervision.predicates.targets import Supervised
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.boxes import has_area, iou
from coordexp_audit_lib.kit.coordjson import OPENING, Entry, record, salvage

WHOLE = "Decode the sampled tokens as one text: decoded one by one, a character of several tokens is lost."
ALIKE = 0.5  # of an overlap: an object that overlaps a kept one so far may be taken for the same


def rewritten(one: Supervised, rollout: Sequence[int]) -> Iterator[Problem]:
    """The kept text is the serializer's writing of usable objects of the rollout, in its order; one that is left out
    overlaps one that was kept.

    Objects with a box of no area are no usable ones. A rollout that spells the end of its turn is not judged for what
    it may have lost: whether that ends it is left open.
    """
    ids = list(rollout)
    end = ids.index(VOCABULARY.turn_end) if VOCABULARY.turn_end in ids else len(ids)
    found = salvage(text_of(ids[:end]), one.order)
    usable = [e for e in (found.entries if found else []) if e.box is not None and has_area(e.box)]
    kept = [r for r in one.reading.view.records if r.span[0] < one.reading.seam]
    yield from _written(one, kept)
    at = 0
    for r in kept:
        place = next((i for i in range(at, len(usable)) if _same(usable[i], r)), None)
        if place is None:
            text = "a kept object is none of the rollout's, or stands out of its order"
            yield Problem(text, r.desc, "", r.values, remedy=WHOLE if "\ufffd" in r.desc else "")
        else:
            at = place + 1
    if b"<|im_end|>" in text_of(ids[:end]):
        return
    for e in usable:
        if not any(iou(e.values, r.values) >= ALIKE for r in kept):
            yield Problem("a usable object of the rollout is left out", e.desc, "kept", "left out")


def _written(one: Supervised, kept: Sequence[Entry]) -> Iterator[Problem]:
    records = ", ".join(record(r.desc, r.geometry, r.values, one.order) for r in kept)
    view = one.reading.view
    opened = view.container.opened if view.container else len(view.text)
    text = view.text[: kept[-1].span[1] if kept else opened].decode("utf-8", "replace")
    if text != OPENING + records:
        yield Problem("the kept text is not as the serializer writes it", "prefix", OPENING + records, text)


def _same(a: Entry, b: Entry) -> bool:
    return a.desc == b.desc and list(a.values) == list(b.values)
