"""Deliberate breaks of how a pack reaches the model, each measured on the real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coordexp_audit_lib.boundaries.packing.isolation import FORWARD, Forward, ForwardRequest
from coordexp_audit_lib.boundaries.packing.isolation_reference import How, measure
from coordexp_audit_lib.core.claim import fault

Honest = Callable[[Any], Any]
ISOLATED, LOSS = ("packing.segments_isolated",), ("packing.loss_equivalent",)

BREAKS: dict[str, tuple[How, tuple[str, ...], str]] = {
    "three_rows": (How(rows=3), ISOLATED + LOSS, "the model gets the three mRoPE rows without the text row"),
    "one_row": (How(rows=1), ISOLATED + LOSS, "the model gets position_ids of shape [1, L]"),
    "never_restarts": (
        How(restarts=False),
        ISOLATED + LOSS,
        "the text row counts through the pack, so that segments see each other",
    ),
    "counts_through": (How(rows=1, restarts=False), ISOLATED + LOSS, "position_ids are 0 … L − 1 in one row"),
    "with_cache": (How(use_cache=True), ISOLATED + LOSS, "the model is called with use_cache"),
    "mask_of_ones": (How(ones_mask=True), ISOLATED + LOSS, "the model gets an attention mask of ones"),
    "kernel_unbounded": (How(bounded=False), ISOLATED + LOSS, "cu_seq_lens bound the pack and no sample"),
    "crossing_label": (How(first_taught=True), LOSS, "each sample's first token is taught from the sample before it"),
    "mean_of_means": (How(by_segment=True), LOSS, "the loss is the mean of the segments' means"),
}


def _broken(how: How) -> Callable[[ForwardRequest, Honest], Forward]:
    def apply(request: ForwardRequest, honest: Honest) -> Forward:
        return measure(request, how)

    return apply


for _name, (_how, _caught, _summary) in BREAKS.items():
    _ = fault(f"packing.{_name}", surface=FORWARD, caught_by=_caught, summary=_summary)(_broken(_how))
