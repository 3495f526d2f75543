"""The length by which packs are planned is the number of tokens that a sample has.

A length that was counted before an image became its pads, or before the end of a turn was added, plans packs that
overflow or stand half empty. An overflow is cut, and what is cut off is supervision.

Example: a sample with one image of 24 pads and 40 tokens of text is 64 long, not 41."""

from __future__ import annotations

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.packing import cases
from coordexp_audit_lib.boundaries.packing.predicates import encoding
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

lengths_true = artifact_claim(
    id="packing.lengths_true",
    doc=__doc__,
    severity="P1",
    remedy="Count the tokens of the sample as it is encoded for training, its images spread out.",
    on={encoding.Alone: encoding.length_true},
    asks=cases.each_alone,
)


def _sound() -> encoding.Alone:
    return encoding.Alone("one", [("user", "hi")], [1, 2, 3], 3)


spoil(lengths_true, "counted_before_images", "the length is counted before images become pads", _sound)(
    lambda seen: replace(seen, length=2)
)
