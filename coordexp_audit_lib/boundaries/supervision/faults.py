"""Small deliberate breaks of the boundary's surfaces, each with the claim that must notice it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision import faults_numbers
from coordexp_audit_lib.boundaries.supervision.contract import (
    CHANNEL_A,
    CHANNEL_B,
    CLOSURE,
    MATCH,
    PREFIX,
    REQUEST_SEEDS,
    ROLLOUT_SEED,
    SCHEDULE,
    ChannelA,
    ChannelARequest,
    ChannelB,
    ChannelBRequest,
    ClosureRequest,
    Match,
    MatchRequest,
    Positions,
    Prefixes,
    PrefixRequest,
    RequestSeeds,
    RequestSeedsRequest,
    Sample,
    Schedule,
    ScheduleRequest,
    Seed,
    SeedRequest,
    SegmentB,
)
from coordexp_audit_lib.boundaries.supervision.reading import APPENDED, FALSE, MATCHED, Reading, read
from coordexp_audit_lib.boundaries.supervision.roles import DESC, STRUCTURE, is_coordinate, piece, text_of
from coordexp_audit_lib.boundaries.supervision.schedule import digest, letters
from coordexp_audit_lib.boundaries.supervision.teaching import keep
from coordexp_audit_lib.core.claim import fault
from coordexp_audit_lib.core.surface import Refuse
from coordexp_audit_lib.kit.tokenizer import encode

__all__ = ["faults_numbers"]

Touch = Callable[[SegmentB, Reading, int], bool]


def _change(
    request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB], where: Touch, factor: float
) -> ChannelB:
    """The honest answer with weight and gradient of some tokens scaled: 0 masks them, 1 teaches untaught ones."""
    answer = honest(request)
    changed = [
        _scaled(s, read(s, x, request.order), where, factor)
        for s, x in zip(answer.segments, request.samples, strict=False)
    ]
    return replace(answer, segments=changed)


def _scaled(segment: SegmentB, reading: Reading, where: Touch, factor: float) -> SegmentB:
    hit = {p for p in range(len(segment.text_grad)) if where(segment, reading, p)}
    unit = max(segment.share, default=0.0)

    def moved(values: list[float], floor: float) -> list[float]:
        return [(v or floor) * factor if p in hit else v for p, v in enumerate(values)]

    labels = [
        (t if factor else -100) if p in hit else k
        for p, (t, k) in enumerate(zip(segment.ids, segment.labels, strict=False))
    ]
    pulls = [
        (t if factor else -1) if p in hit else k
        for p, (t, k) in enumerate(zip(segment.ids, segment.pulls, strict=False))
    ]
    return replace(
        segment, labels=labels, pulls=pulls, share=moved(segment.share, unit), text_grad=moved(segment.text_grad, unit)
    )


def _of_fate(reading: Reading, p: int, *fates: str) -> bool:
    return any(reading.fates[i] in fates for i in reading.view.tokens[p].objects)


@fault(
    "supervision.counts_from_resume",
    surface=SCHEDULE,
    caught_by=("supervision.schedule",),
    summary="The schedule counts steps from the last resume, not from the start of training.",
)
def counts_from_resume(request: ScheduleRequest, honest: Callable[[ScheduleRequest], Schedule]) -> Schedule:
    line = "".join(letters(request.b, 0, stop - start) for start, stop in pairwise(request.resumes))
    blocks = [digest(line[i : i + request.block]) for i in range(0, len(line), request.block)]
    positions = [request.resumes[0] + i for i, c in enumerate(line) if c == "B"] if request.detail else []
    return Schedule(blocks, line.count("B"), positions)


@fault(
    "supervision.seed_without_mask",
    surface=ROLLOUT_SEED,
    caught_by=("supervision.rollout_seed",),
    summary="The seed base is not brought into 31 bits.",
)
def seed_without_mask(request: SeedRequest, honest: Callable[[SeedRequest], Seed]) -> Seed:
    return Seed(request.seed + request.step * 1_000_003)


@fault(
    "supervision.one_seed_for_all",
    surface=REQUEST_SEEDS,
    caught_by=("supervision.rollout_seed",),
    summary="Every server call of a step gets the seed base itself.",
)
def one_seed_for_all(
    request: RequestSeedsRequest, honest: Callable[[RequestSeedsRequest], RequestSeeds]
) -> RequestSeeds:
    calls = honest(request).calls
    return RequestSeeds([(count, calls[0][1]) for count, _ in calls])


@fault(
    "supervision.two_rules",
    surface=CHANNEL_B,
    caught_by=("supervision.token_roles_partition",),
    summary="A token that ends a desc counts as structure in the prefix and as desc in the tail.",
)
def two_rules(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    def where(_: SegmentB, reading: Reading, p: int) -> bool:
        roles = reading.view.tokens[p].roles
        return DESC in roles and STRUCTURE in roles and _of_fate(reading, p, MATCHED)

    return _change(request, honest, where, 1.0)


@fault(
    "supervision.mask_without_effect",
    surface=CHANNEL_B,
    caught_by=("supervision.token_roles_partition",),
    summary="The masks say that desc is masked, but the loss reaches it.",
)
def mask_without_effect(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    answer = honest(request)
    segments = [replace(s, text_grad=[v or 1e-3 for v in s.text_grad]) for s in answer.segments]
    return replace(answer, segments=segments)


@fault(
    "supervision.coordinates_in_ce",
    surface=CHANNEL_B,
    caught_by=("supervision.coord_out_of_ce",),
    summary="Coordinate tokens keep their labels.",
)
def coordinates_in_ce(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    return _change(request, honest, lambda s, _, p: is_coordinate(s.ids[p]), 1.0)


@fault(
    "supervision.false_positives_taught",
    surface=CHANNEL_B,
    caught_by=("supervision.fp_neutral",),
    summary="The opening brace of an unmatched object is taught.",
)
def false_positives_taught(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    return _change(request, honest, lambda _, r, p: _of_fate(r, p, FALSE) and STRUCTURE in r.view.tokens[p].roles, 1.0)


@fault(
    "supervision.matched_masked",
    surface=CHANNEL_B,
    caught_by=("supervision.matched_struct_only",),
    summary="The whole rollout is masked, matched objects included.",
)
def matched_masked(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    return _change(request, honest, lambda _, r, p: _of_fate(r, p, MATCHED), 0.0)


@fault(
    "supervision.pulled_to_prediction",
    surface=CHANNEL_B,
    caught_by=("supervision.matched_struct_only", "supervision.expectation_decode"),
    summary="Matched slots are pulled to the bin that was predicted, not to the ground truth's.",
)
def pulled_to_prediction(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    answer = honest(request)
    segments = [
        replace(s, targets=[k if k < 0 else t - 151_670 for t, k in zip(s.ids, s.targets, strict=False)])
        for s in answer.segments
    ]
    return replace(answer, segments=segments)


@fault(
    "supervision.last_missed_forgotten",
    surface=CHANNEL_B,
    caught_by=("supervision.fn_injected",),
    summary="The last ground truth is left out of the target.",
)
def last_missed_forgotten(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    return honest(replace(request, samples=[replace(s, gt=s.gt[:-1]) for s in request.samples]))


@fault(
    "supervision.appended_desc_masked",
    surface=CHANNEL_B,
    caught_by=("supervision.fn_injected",),
    summary="The desc of appended objects gets no loss.",
)
def appended_desc_masked(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    return _change(request, honest, lambda _, r, p: _of_fate(r, p, APPENDED) and DESC in r.view.tokens[p].roles, 0.0)


@fault(
    "supervision.appended_by_itself",
    surface=CHANNEL_B,
    caught_by=("supervision.append_tokenization",),
    summary="The appended text is tokenized by itself and put behind the kept tokens.",
)
def appended_by_itself(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    def split(segment: SegmentB, sample: Sample) -> SegmentB:
        kept = keep(sample.rollout, request.order).ids
        rest = text_of(segment.ids)[len(text_of(kept)) :].decode()
        return replace(segment, ids=kept + encode(rest), prefix_len=len(kept))

    answer = honest(request)
    return replace(answer, segments=[split(s, x) for s, x in zip(answer.segments, request.samples, strict=False)])


@fault(
    "supervision.stop_neutral",
    surface=CHANNEL_B,
    caught_by=("supervision.closure",),
    summary="The closing brace and <|im_end|> are masked.",
)
def stop_neutral(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    return _change(request, honest, lambda _, r, p: p in r.view.closing(), 0.0)


@fault(
    "supervision.first_brace_closes",
    surface=CLOSURE,
    caught_by=("supervision.closure",),
    summary="The first closing brace is taken for the outermost one, also in a string.",
)
def first_brace_closes(request: ClosureRequest, honest: Callable[[ClosureRequest], Positions]) -> Positions:
    last = honest(request).positions[-1]
    first = next(p for p, t in enumerate(request.ids) if b"}" in piece(t))
    return Positions([first - request.prefix_len, last])


@fault(
    "supervision.prefix_encoded_anew",
    surface=PREFIX,
    caught_by=("supervision.prefix_kept",),
    summary="The kept prefix is decoded and encoded again.",
)
def prefix_encoded_anew(request: PrefixRequest, honest: Callable[[PrefixRequest], Prefixes]) -> Prefixes:
    anew = [replace(p, prefix=encode(text_of(p.prefix).decode("utf-8", "replace"))) for p in honest(request).parses]
    return Prefixes(anew)


@fault(
    "supervision.unparsable_raises",
    surface=CHANNEL_B,
    caught_by=("supervision.invalid_rollout_fallback",),
    summary="A rollout without a container stops the training.",
)
def unparsable_raises(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    if any(keep(s.rollout, request.order).invalid for s in request.samples):
        raise Refuse("no container in the rollout")
    return honest(request)


@fault(
    "supervision.unparsable_left_out",
    surface=CHANNEL_B,
    caught_by=("supervision.invalid_rollout_fallback",),
    summary="A sample whose rollout has no container is left out of the batch.",
)
def unparsable_left_out(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    answer = honest(request)
    return replace(answer, segments=[s for s in answer.segments if not s.invalid])


@fault(
    "supervision.gate_ignored",
    surface=MATCH,
    caught_by=("supervision.match_deterministic",),
    summary="Predictions are paired with ground truth in order of appearance, whatever they overlap.",
)
def gate_ignored(request: MatchRequest, honest: Callable[[MatchRequest], Match]) -> Match:
    n = min(len(request.preds), len(request.gts))
    return Match([(i, i) for i in range(n)], list(range(n, len(request.gts))), list(range(n, len(request.preds))))


@fault(
    "supervision.one_forward_less",
    surface=CHANNEL_A,
    caught_by=("supervision.softctx_forwards",),
    summary="The last iteration is skipped.",
)
def one_forward_less(request: ChannelARequest, honest: Callable[[ChannelARequest], ChannelA]) -> ChannelA:
    answer = honest(request)
    return replace(answer, passes=answer.passes[: max(1, len(answer.passes) - 1)])


@fault(
    "supervision.unshifted_update",
    surface=CHANNEL_A,
    caught_by=("supervision.softctx_forwards",),
    summary="The slots are filled from the logits at p, not at p-1.",
)
def unshifted_update(request: ChannelARequest, honest: Callable[[ChannelARequest], ChannelA]) -> ChannelA:
    answer = honest(request)
    turned = [
        replace(p, update_error=p.update_error_unshifted, update_error_unshifted=p.update_error) for p in answer.passes
    ]
    return replace(answer, passes=turned)


@fault(
    "supervision.ce_from_last_forward",
    surface=CHANNEL_A,
    caught_by=("supervision.ce_from_first_forward",),
    summary="Cross-entropy is taken from the last forward.",
)
def ce_from_last_forward(request: ChannelARequest, honest: Callable[[ChannelARequest], ChannelA]) -> ChannelA:
    answer = honest(request)
    rows = [p.text_rows for p in answer.passes]
    return replace(answer, passes=[replace(p, text_rows=rows[-1 - n]) for n, p in enumerate(answer.passes)])


@fault(
    "supervision.first_forward_untracked",
    surface=CHANNEL_A,
    caught_by=("supervision.softctx_gradient",),
    summary="em_detach runs all but the last forward without gradient, so that cross-entropy has none.",
)
def first_forward_untracked(request: ChannelARequest, honest: Callable[[ChannelARequest], ChannelA]) -> ChannelA:
    answer = honest(request)
    if request.grad_mode != "em_detach":
        return answer
    quiet = [replace(p, tracked=False, text_rows=[], text_grad=0.0) for p in answer.passes[:-1]]
    return replace(answer, passes=[*quiet, answer.passes[-1]])


@fault(
    "supervision.unroll_detached",
    surface=CHANNEL_A,
    caught_by=("supervision.softctx_gradient",),
    summary="unroll detaches the expected embeddings.",
)
def unroll_detached(request: ChannelARequest, honest: Callable[[ChannelARequest], ChannelA]) -> ChannelA:
    answer = honest(request)
    quiet = [replace(p, slots_reached=0, slot_grad=0.0) for p in answer.passes[:-1]]
    return replace(answer, passes=[*quiet, answer.passes[-1]])


@fault(
    "supervision.labels_reach_forward",
    surface=CHANNEL_B,
    caught_by=("supervision.no_helper_kwargs",),
    summary="The batch's labels are passed to the model.",
)
def labels_reach_forward(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    answer = honest(request)
    return replace(answer, kwargs=[*answer.kwargs, "labels"])


@fault(
    "supervision.multiplier_everywhere",
    surface=CHANNEL_B,
    caught_by=("supervision.multiplier_scope",),
    summary="The structure multiplier reaches the closure.",
)
def multiplier_everywhere(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    return _change(request, honest, lambda _, r, p: p in r.view.closing(), request.multiplier)


@fault(
    "supervision.desc_multiplied",
    surface=CHANNEL_B,
    caught_by=("supervision.multiplier_scope",),
    summary="The structure multiplier reaches the desc of appended objects.",
)
def desc_multiplied(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    def where(_: SegmentB, reading: Reading, p: int) -> bool:
        return _of_fate(reading, p, APPENDED) and reading.view.tokens[p].roles == (DESC,)

    return _change(request, honest, where, request.multiplier)


@fault(
    "supervision.overlap_lost",
    surface=CHANNEL_B,
    caught_by=("supervision.matched_struct_only", "supervision.fn_injected"),
    summary="CIoU is weighted in the log, but left out of the loss.",
)
def overlap_lost(request: ChannelBRequest, honest: Callable[[ChannelBRequest], ChannelB]) -> ChannelB:
    return honest(replace(request, ciou_weight=0.0))
