"""Channel-B's cross-entropy is a weighted mean over the text's tokens of the batch: their shares of the loss add up to
one.

Text and geometry are added up with fixed weights. A divisor that counts more than what is supervised (one token too
many, the masked ones, the padding) takes weight from the text, and the more so the shorter the answer is.

Example: 20 tokens of weight 1 and 4 of weight 0.25 have shares of 1/21 and 0.25/21."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.predicates import terms
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_A, CHANNEL_B, ChannelBRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation


@claim(severity="P0", kind="B", remedy="Divide by the sum of the weights of the tokens that are supervised.")
def text_mean(ctx: Context) -> Iterator[Violation]:
    for case in rollouts.targets():
        answer = ctx.ask(CHANNEL_B, case.request)
        if answer.content is not None:
            shares = [segment.share for segment in answer.content.segments]
            # The divisor is set where the loss is computed, which is what answers for Channel-A.
            found = (p.violation(case.name) for p in terms.whole(shares, ctx))
            yield from (replace(v, where=ctx.where(CHANNEL_A)) for v in found)


def _scaled(divisor: Any) -> Any:
    """Every share times the number of tokens that have one over what the function says."""

    def apply(request: ChannelBRequest, honest: Honest) -> Any:
        answer = honest(request)
        count = sum(v > 0 for s in answer.segments for v in s.share)
        by = count / divisor(answer.segments, count) if count else 1.0
        return replace(answer, segments=[replace(s, share=[v * by for v in s.share]) for s in answer.segments])

    return apply


fault(text_mean, "one_token_more", CHANNEL_B, "The divisor is one token too many.")(_scaled(lambda s, n: n + 1))
fault(text_mean, "masked_counted", CHANNEL_B, "The divisor counts masked tokens too.")(
    _scaled(lambda segments, n: sum(len(s.ids) for s in segments))
)
fault(text_mean, "mean_of_samples", CHANNEL_B, "Each sample's mean is added up.")(
    _scaled(lambda segments, n: n / len(segments) if len(segments) > 1 else n)
)
