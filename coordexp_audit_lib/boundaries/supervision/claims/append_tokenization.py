"""The tokens at the append point are those of the canonical tokenization of the same text; a difference is a named
finding, not silence.

Missed objects are written behind tokens that the model sampled. Tokenized apart, the seam has tokens that the model
never produces there: it learns to continue a prefix that it will not meet at inference.

Example: `{"objects": [` + `{"desc"` is ` [` `{"` when appended, and ` [{"` in one text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases import asking
from coordexp_audit_lib.boundaries.supervision.predicates.roles import around, canonical, shown, text_of
from coordexp_audit_lib.boundaries.supervision.reference.target import keep
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_B, ChannelBRequest, Sample, SegmentB
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.tokenizer import encode


@claim(
    severity="P1",
    kind="B",
    remedy="Tokenize the last kept token's text together with the appended text, or report the difference in training.",
)
def append_tokenization(ctx: Context) -> Iterator[Problem]:
    for case, one, _ in asking.targets(ctx):
        ctx.judged()
        ids, seam = one.segment.ids, one.reading.seam
        ours, wanted = ([shown(t) for t in around(tokens, seam)] for tokens in (ids, canonical(ids)))
        if ours != wanted:
            message = "the tokens at the append point are not those of the canonical tokenization"
            text = text_of(ids).decode("utf-8", "replace")[max(0, seam - 20) : seam + 20]
            yield Problem(message, case.name, wanted, ours, text)


_BY_ITSELF = "The appended text is tokenized by itself and put behind the kept tokens."


@fault(append_tokenization, "appended_by_itself", CHANNEL_B, _BY_ITSELF)
def _appended_by_itself(request: ChannelBRequest, honest: Honest) -> Any:
    def split(segment: SegmentB, sample: Sample) -> SegmentB:
        kept = keep(sample.rollout, request.order).prefix
        rest = text_of(segment.ids)[len(text_of(kept)) :].decode()
        return replace(segment, ids=kept + encode(rest), prefix_len=len(kept))

    answer = honest(request)
    return replace(answer, segments=list(map(split, answer.segments, request.samples)))
