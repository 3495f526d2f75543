"""A matched object's structure is supervised, its desc masked; the gradient of its geometry points to the matched
ground truth.

The model found the object, in its own words: the words are left alone, the box is corrected. With the desc in the loss
the model is pressed to synonyms; with the prediction's own bins as the target the box is never corrected at all.

A token that covers the end of a desc and the structure behind it can't be both: that it loses its loss is advice, for
a project may choose.

Example: `cat` at `[100, 100, 300, 300]`, matched to `[110, 100, 300, 310]`, has slots that move to 110 and 310."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.asking import over, with_overlap
from coordexp_audit_lib.boundaries.supervision.faults import each, of_fate, roles, scaled
from coordexp_audit_lib.boundaries.supervision.predicates import targets
from coordexp_audit_lib.boundaries.supervision.predicates.reading import MATCHED
from coordexp_audit_lib.boundaries.supervision.predicates.roles import DESC, STRUCTURE
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_B
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, asked, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit.tokenizer import COORD_0


@claim(
    severity="P0",
    root="supervision.fp_neutral",
    kind="B",
    remedy="Supervise the record's tokens without those of the desc, and give each slot the ground truth's bin.",
)
def matched_struct_only(ctx: Context) -> Iterator[Violation]:
    yield from over(ctx, rollouts.targets(), targets.matched)
    yield from over(ctx, rollouts.targets(), targets.fused)
    # No model writes so on its own: what is supervised there is hardly ever reached.
    yield from (replace(v, severity="P2") for v in over(ctx, [rollouts.escaped_key()], targets.matched))
    yield from with_overlap(ctx, MATCHED)


matched_struct_only.on(targets.Supervised, targets.matched)

fault(matched_struct_only, "matched_masked", CHANNEL_B, "The whole rollout is masked, matched objects included.")(
    scaled(lambda one, p: of_fate(one, p, MATCHED), 0.0)
)
_PREDICTED = each(targets=lambda s: [k if k < 0 else t - COORD_0 for t, k in zip(s.ids, s.targets, strict=False)])
_TO_PREDICTION = "Matched slots' gradients point to the bin that was predicted, not to the ground truth's."
_DECODE, _INJECTED = ("supervision.expectation_decode",), ("supervision.fn_injected",)
fault(matched_struct_only, "gradient_to_prediction", CHANNEL_B, _TO_PREDICTION, also=_DECODE)(
    answered(segments=lambda b: _PREDICTED(b.segments))
)
_FUSED = "A token that covers the end of a matched desc, its quote and the comma is masked with the desc."
fault(matched_struct_only, "fused_masked", CHANNEL_B, _FUSED, also=("supervision.token_roles_partition",))(
    scaled(lambda one, p: {DESC, STRUCTURE} <= {*roles(one, p)} and of_fate(one, p, MATCHED), 0.0)
)
_LOST = "CIoU is weighted in the log, but left out of the loss."
fault(matched_struct_only, "overlap_lost", CHANNEL_B, _LOST, also=_INJECTED)(asked(ciou_weight=lambda _: 0.0))


def _escapes(one: targets.Supervised) -> bool:
    return b"\\u0065" in one.reading.view.text


_ESCAPED = "Descs are found by the letters of their key, so that one whose key has an escape is supervised."
fault(matched_struct_only, "escaped_key_missed", CHANNEL_B, _ESCAPED)(
    scaled(lambda one, p: _escapes(one) and of_fate(one, p, MATCHED) and roles(one, p) == (DESC,), 1.0)
)
