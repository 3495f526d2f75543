"""The tokens and labels of a sample do not hang on what is encoded before or beside it.

A template that keeps something from one sample to the next, a prompt, a flag, a counter of images, makes what a sample
teaches a matter of the order in which it comes. A second epoch, and a second worker, then train on other data.

Example: a chat without a system prompt gets that of the chat before it."""

from __future__ import annotations

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.packing import cases
from coordexp_audit_lib.boundaries.packing.predicates import encoding
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil
from coordexp_audit_lib.kit.profile import IGNORE_INDEX

encoded_alike = artifact_claim(
    id="packing.encoded_alike",
    doc=__doc__,
    severity="P1",
    remedy="Keep no state in the template between two samples.",
    on={encoding.Both: encoding.encoded_alike},
    asks=cases.each_twice,
)


def _sound() -> encoding.Both:
    return encoding.Both("one", [1, 2], [IGNORE_INDEX, 2], [1, 2], [IGNORE_INDEX, 2])


spoil(encoded_alike, "prompt_kept", "the prompt of the sample before is kept", _sound)(
    lambda seen: replace(seen, ids_again=[9, 1, 2])
)
spoil(encoded_alike, "labels_kept", "labels hang on the sample before", _sound)(
    lambda seen: replace(seen, labels_again=[1, 2])
)
