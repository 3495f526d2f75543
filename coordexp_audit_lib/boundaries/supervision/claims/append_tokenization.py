"""The tokens at the append point are those of the canonical tokenization of the same text; a difference is a named
finding, not silence.

Missed objects are written behind tokens that the model sampled. Tokenized apart, the seam has tokens that the model
never produces there: it learns to continue a prefix that it will not meet at inference.

Example: `{"objects": [` + `{"desc"` is ` [` `{"` when appended, and ` [{"` in one text."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.asking import segments
from coordexp_audit_lib.boundaries.supervision.predicates.roles import around, canonical, shown, text_of
from coordexp_audit_lib.boundaries.supervision.reference.target import keep
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_B, ChannelB, ChannelBRequest, Sample, SegmentB
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
    for case in rollouts.targets():
        for one, _ in segments(case.request, ctx.ask(CHANNEL_B, case.request).content):
            ctx.judged()
            ids, seam = one.segment.ids, one.reading.seam
            ours, wanted = around(ids, seam), around(canonical(ids), seam)
            if ours != wanted:
                yield Problem(
                    "the tokens at the append point are not those of the canonical tokenization",
                    case.name,
                    [shown(t) for t in wanted],
                    [shown(t) for t in ours],
                    text_of(ids).decode("utf-8", "replace")[max(0, seam - 20) : seam + 20],
                )


@fault(
    append_tokenization,
    "appended_by_itself",
    CHANNEL_B,
    "The appended text is tokenized by itself and put behind the kept tokens.",
)
def _appended_by_itself(request: ChannelBRequest, honest: Honest) -> ChannelB:
    def split(segment: SegmentB, sample: Sample) -> SegmentB:
        kept = keep(sample.rollout, request.order).ids
        rest = text_of(segment.ids)[len(text_of(kept)) :].decode()
        return replace(segment, ids=kept + encode(rest), prefix_len=len(kept))

    answer: ChannelB = honest(request)
    pairs = zip(answer.segments, request.samples, strict=False)
    return replace(answer, segments=[split(segment, sample) for segment, sample in pairs])
