"""Broken numbers (scale, temperature, overlap loss), and readers of text that lose count."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision import pairing
from coordexp_audit_lib.boundaries.supervision.contract import (
    BBOX_LOSS,
    CHANNEL_A,
    CHANNEL_B,
    CLOSURE,
    DECODE,
    PREFIX,
    BoxLoss,
    BoxLossRequest,
    ChannelA,
    ChannelARequest,
    ChannelB,
    ChannelBRequest,
    ClosureRequest,
    Coords,
    DecodeRequest,
    Positions,
    Prefixes,
    PrefixRequest,
)
from coordexp_audit_lib.boundaries.supervision.roles import text_of
from coordexp_audit_lib.boundaries.supervision.scan import container
from coordexp_audit_lib.boundaries.supervision.teaching import cut_tokens
from coordexp_audit_lib.core.claim import fault
from coordexp_audit_lib.core.surface import Refuse
from coordexp_audit_lib.kit.tokenizer import IM_END


@fault(
    "supervision.argmax_decode",
    surface=DECODE,
    caught_by=("supervision.expectation_decode",),
    summary="A coordinate is the likeliest bin, not the mean.",
)
def argmax_decode(request: DecodeRequest, honest: Callable[[DecodeRequest], Coords]) -> Coords:
    return Coords([max(slot, key=lambda peak: peak[1])[0] / 999 for slot in request.slots])


@fault(
    "supervision.unclamped_geometry",
    surface=BBOX_LOSS,
    caught_by=("supervision.geometry_finite",),
    summary="Overlap divides by an area that may be zero.",
)
def unclamped_geometry(request: BoxLossRequest, honest: Callable[[BoxLossRequest], BoxLoss]) -> BoxLoss:
    answer = honest(request)
    empty = [p[0] == p[2] and g[0] == g[2] for p, g in zip(request.preds, request.gts, strict=True)]
    return replace(answer, ciou=[None if e else v for e, v in zip(empty, answer.ciou, strict=True)])


@fault(
    "supervision.plain_iou",
    surface=BBOX_LOSS,
    caught_by=("supervision.geometry_finite",),
    summary="Another overlap loss than CIoU: without the distance term.",
)
def plain_iou(request: BoxLossRequest, honest: Callable[[BoxLossRequest], BoxLoss]) -> BoxLoss:
    return replace(honest(request), ciou=[None if v is None else min(v, 1.0) for v in honest(request).ciou])


@fault(
    "supervision.decoded_by_1000",
    surface=DECODE,
    caught_by=("supervision.expectation_decode",),
    summary="The mean bin is divided by 1000.",
)
def decoded_by_1000(request: DecodeRequest, honest: Callable[[DecodeRequest], Coords]) -> Coords:
    return Coords([None if c is None else float(f"{c * 0.999:.4g}") for c in honest(request).coords])


@fault(
    "supervision.temperature_ignored",
    surface=DECODE,
    caught_by=("supervision.expectation_decode",),
    summary="Coordinates are decoded at temperature 1, whatever is set.",
)
def temperature_ignored(request: DecodeRequest, honest: Callable[[DecodeRequest], Coords]) -> Coords:
    return honest(replace(request, temperature=1.0))


@fault(
    "supervision.pulled_by_1000",
    surface=CHANNEL_B,
    caught_by=("supervision.expectation_decode",),
    summary="The loss holds ground-truth bin k for k/1000, while it decodes by 999.",
)
def pulled_by_1000(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    answer = honest(request)
    segments = [replace(s, targets=[k if k < 0 else round(k * 0.999) for k in s.targets]) for s in answer.segments]
    return replace(answer, segments=segments)


@fault(
    "supervision.no_aspect_term",
    surface=BBOX_LOSS,
    caught_by=("supervision.geometry_finite",),
    summary="The overlap loss compares centres, but not aspect ratios.",
)
def no_aspect_term(request: BoxLossRequest, honest: Callable[[BoxLossRequest], BoxLoss]) -> BoxLoss:
    answer = honest(request)
    plain = [pairing.ciou_loss(p, g, aspect=False) for p, g in zip(request.preds, request.gts, strict=True)]
    return replace(answer, ciou=[v if d is None else d for v, d in zip(answer.ciou, plain, strict=True)])


@fault(
    "supervision.braces_counted_in_strings",
    surface=CLOSURE,
    caught_by=("supervision.closure",),
    summary="The closing brace is found by depth, but braces in descriptions count too.",
)
def braces_counted_in_strings(request: ClosureRequest, honest: Callable[[ClosureRequest], Positions]) -> Positions:
    depth = 0
    for p, token in enumerate(request.ids):
        for sign in text_of([token]):
            depth += (sign == ord("{")) - (sign == ord("}"))
            if sign == ord("}") and depth == 0 and IM_END in request.ids[p:]:
                return Positions([p - request.prefix_len, request.ids.index(IM_END) - request.prefix_len])
    raise Refuse("the outermost brace is not found")


@fault(
    "supervision.last_record_cut_away",
    surface=PREFIX,
    caught_by=("supervision.prefix_kept",),
    summary="The cut is behind the last record but one.",
)
def last_record_cut_away(request: PrefixRequest, honest: Callable[[PrefixRequest], Prefixes]) -> Prefixes:
    made = []
    for parse in honest(request).parses:
        found = container(text_of(parse.prefix), request.order)
        ends = [found.opened, *(r.span[1] for r in found.records)] if found else []
        cut = parse.prefix if len(ends) < 2 else cut_tokens(parse.prefix, ends[-2])
        made.append(replace(parse, prefix=cut))
    return Prefixes(made)


@fault(
    "supervision.channel_a_stops",
    surface=CHANNEL_A,
    caught_by=("supervision.softctx_forwards",),
    summary="Channel-A gives ids and embeddings at once, which the model refuses.",
)
def channel_a_stops(request: ChannelARequest, honest: Callable[[ChannelARequest], ChannelA]) -> ChannelA:
    raise Refuse("exactly one of input_ids and inputs_embeds")
