"""The claims of boundary 07 on the pieces: prefix, fallback, closure, match, decoding, geometry."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import exp
from statistics import median

from coordexp_audit_lib.boundaries.supervision import inputs, judge, pairing
from coordexp_audit_lib.boundaries.supervision.asking import over
from coordexp_audit_lib.boundaries.supervision.contract import (
    BBOX_LOSS,
    CHANNEL_B,
    CLOSURE,
    DECODE,
    MATCH,
    PREFIX,
    BoxLossRequest,
    ChannelBRequest,
    ClosureRequest,
    DecodeRequest,
    Match,
    MatchRequest,
    PrefixRequest,
    Sample,
)
from coordexp_audit_lib.boundaries.supervision.reading import FALSE, read
from coordexp_audit_lib.boundaries.supervision.roles import layout, text_of
from coordexp_audit_lib.boundaries.supervision.teaching import keep
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit.tokenizer import IM_END

BOUNDARY = "supervision"
SPEC = "openspec/specs/stage2-ab-training/spec.md"
NEWLINE = 198
DROPPED = "stage2_ab/channel_b/closure_supervision/N_drop"
INVALID = "stage2_ab/channel_b/invalid_rollout"
EMPTY_PREFIXES = (b'{"objects": [', b'{"objects":[', b"{")


@invariant(
    "supervision.closure",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="The brace that closes the outermost object and <|im_end|> are supervised; braces in strings do not fool "
    "it; a target with no resolvable closure is dropped and counted.",
    remedy="Find the closing brace by depth outside strings, and count what is dropped.",
    spec=f"{SPEC}: Channel-B supervises top-level closure and <|im_end|>",
)
def closure(ctx: Context) -> Iterator[Violation]:
    yield from over(ctx, inputs.taught(), lambda case, segment, reading, _: judge.closed(segment, reading))
    for things in ([inputs.CAT], inputs.ODD, [], *([t] for t in inputs.BRACES), inputs.BRACES):
        ids = [*inputs.rollout(things), NEWLINE]
        for prefix_len in (0, 3):
            ctx.judged()
            wanted = [p - prefix_len for p in layout(ids, "desc_first").closing()]
            answer = ctx.ask(CLOSURE, ClosureRequest(ids, prefix_len))
            found = answer.content.positions if answer.content else "refused"
            if found != wanted:
                name = f"{len(things)} objects, {text_of(ids)[:60].decode('utf-8', 'replace')}"
                yield Violation("the closure is found at other tokens", name, wanted, found)
    whole = inputs.rollout([inputs.ODD[2]])
    for name, ids in (("no closing brace", whole[:-2]), ("no <|im_end|>", whole[:-1])):
        ctx.judged()
        if not ctx.ask(CLOSURE, ClosureRequest(ids, 0)).refused:
            yield Violation("a target without closure gets positions", name, "refused", "positions")
    yield from _unclosed(ctx)


def _unclosed(ctx: Context) -> Iterator[Violation]:
    samples = [Sample(inputs.GT, inputs.rollout([inputs.CAT])), Sample(inputs.GT[:1], inputs.rollout([inputs.DOG]))]
    answer = ctx.value(CHANNEL_B, ChannelBRequest(samples, backward=False, unclosed=[0]))
    ctx.judged()
    if len(answer.segments) != 1 or answer.metrics.get(DROPPED) != 1:
        actual = [len(answer.segments), answer.metrics.get(DROPPED)]
        yield Violation("a target without closure is not dropped and counted", "1 of 2 samples", [1, 1], actual)


@invariant(
    "supervision.prefix_kept",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="The rollout's own token ids are kept up to the cut, which is not before its last complete record; only the "
    "last may be re-tokenized, to the same text.",
    remedy="Cut the list of sampled tokens; never decode and encode the whole prefix.",
    spec=f"{SPEC}: no re-tokenization of the rollout prefix",
)
def prefix_kept(ctx: Context) -> Iterator[Violation]:
    rollouts = [c.request.samples[0].rollout for c in inputs.taught() if c.request.order == "desc_first"]
    rollouts += [*inputs.truncations(), *(ids for i, (_, ids) in enumerate(inputs.real_texts()) if i % 2 == 0)]
    answer = ctx.value(PREFIX, PrefixRequest(rollouts, "desc_first"))
    for ids, parse in zip(rollouts, answer.parses, strict=True):
        ctx.judged()
        for message, subject, expected, actual in judge.kept(parse.prefix, ids) if not parse.invalid else ():
            text = text_of(ids).decode("utf-8", "replace")
            yield Violation(message, f"{len(ids)} tokens, {subject}", expected, actual, text)
        wanted = keep(ids, "desc_first")
        spelled = text_of(ids).count(b"<|im_end|>") > ids.count(IM_END)  # whether that ends a rollout is left open
        lost = len(text_of(parse.prefix)) < len(text_of(wanted.ids))
        if lost and not (parse.invalid or wanted.invalid or spelled):
            right, got = (text_of(k).decode("utf-8", "replace")[-40:] for k in (wanted.ids, parse.prefix))
            yield Violation("a complete record of the rollout is cut away", f"{len(ids)} tokens", right, got)
    for case in inputs.taught():
        found = ctx.ask(CHANNEL_B, case.request)
        for segment, sample in zip(found.content.segments if found.content else [], case.request.samples, strict=False):
            ctx.judged()
            kept = segment.ids[: segment.prefix_len]
            for message, subject, expected, actual in judge.kept(kept, sample.rollout) if not segment.invalid else ():
                yield Violation(message, f"{case.name}: {subject}", expected, actual)


@invariant(
    "supervision.invalid_rollout_fallback",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="An unparsable rollout is counted, falls back to the canonical empty prefix, and still trains every "
    "ground truth.",
    remedy="Treat whatever can't be brought into an append-ready prefix as an invalid rollout; do not raise.",
    spec=f"{SPEC}: Channel-B invalid rollouts fall back deterministically",
)
def invalid_rollout_fallback(ctx: Context) -> Iterator[Violation]:
    for case in [*inputs.unparsable(), inputs.junk_before()]:
        ctx.judged()
        found = ctx.ask(CHANNEL_B, case.request)
        text = text_of(case.request.samples[0].rollout).decode("utf-8", "replace")
        if found.content is None:
            what = f"{found.refusal.type}: {found.refusal.message[:200]}" if found.refusal else ""
            yield Violation("the step is refused instead of falling back", case.name, "fallback", what, text)
            continue
        if not found.content.segments:
            message = "a sample with an unparsable rollout is left out: its ground truth is not trained"
            yield Violation(message, case.name, "a segment", "none", text)
            continue
        segment, sample = found.content.segments[0], case.request.samples[0]
        if found.content.metrics.get(INVALID) != 1 or not segment.invalid:
            actual = [found.content.metrics.get(INVALID), segment.invalid]
            yield Violation("an unparsable rollout is not counted", case.name, [1, True], actual, text)
        kept = text_of(segment.ids[: segment.prefix_len])
        if not any(p.startswith(kept.rstrip()) for p in EMPTY_PREFIXES):
            yield Violation(
                "the prefix is not the canonical empty one", case.name, "empty", kept.decode("utf-8", "replace")
            )
        reading = read(segment, sample, case.request.order)
        for message, subject, expected, actual_ in judge.complete(segment, reading, sample.gt):
            yield Violation(message, f"{case.name}: {subject}", expected, actual_, text)
        if case.request.backward and not any(v > 0 for v in segment.coord_grad):
            yield Violation("the fallback target trains nothing", case.name, "> 0", 0, text)


@invariant(
    "supervision.match_deterministic",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="The match is the same on repeat, follows a permutation of its inputs, honours the gate, and its cost is "
    "the optimum.",
    remedy="Solve the assignment exactly on gated IoU costs.",
    spec="openspec/specs/rollout-matching-sft/spec.md: Hungarian matching",
)
def match_deterministic(ctx: Context) -> Iterator[Violation]:
    rng = ctx.rng()
    for n in range(24):
        gts = [_box(rng.randrange(0, 600), rng.randrange(0, 600), rng.randrange(150, 390)) for _ in range(n % 7 + 1)]
        preds = [[min(999, k + rng.randrange(-40, 40) % 999) for k in b] for b in gts[: n % 5 + 1]]
        preds = [b for b in preds if b[0] < b[2] and b[1] < b[3]] or [_box(0, 0, 200)]
        preds += [_box(rng.randrange(0, 700), rng.randrange(0, 700), 180) for _ in range(n % 3)]
        yield from _one_match(ctx, f"case {n}", preds, gts, rng.sample(range(len(preds)), len(preds)))


def _box(x: int, y: int, side: int) -> list[int]:
    return [x, y, x + side, y + side]


def _one_match(
    ctx: Context, name: str, preds: list[list[int]], gts: list[list[int]], order: list[int]
) -> Iterator[Violation]:
    ctx.judged()
    gate, inputs_ = 0.3, {"preds": preds, "gts": gts}
    request = MatchRequest(preds, gts, gate, top_k=len(gts))
    found = ctx.value(MATCH, request)
    best = pairing.match(preds, gts, gate)
    gap = pairing.cost_of(found.pairs, preds, gts) - pairing.cost_of(best, preds, gts)
    near, clear = pairing.margin(preds, gts, gate)
    low = [[i, j] for i, j in found.pairs if pairing.iou(preds[i], gts[j]) < gate - 0.02]
    if low:
        yield Violation("a pair below the gate is matched", name, f">= {gate}", low, inputs_)
    if gap > 0.02 * (len(preds) + 1) and near > 0.02:
        yield Violation("the match is not the cheapest one", name, best, found.pairs, inputs_)
    used = (sorted(i for i, _ in found.pairs), sorted(j for _, j in found.pairs))
    whole = (sorted(used[0] + found.fp) == list(range(len(preds))), sorted(used[1] + found.fn) == list(range(len(gts))))
    if not all(whole) or any(a == b for side in used for a, b in pairwise(side)):
        yield Violation("matched and unmatched do not add up to the inputs", name, "a partition", found.pairs, inputs_)
    if ctx.value(MATCH, request) != found:
        yield Violation("the match differs on repeat", name, found.pairs, "another", inputs_)
    if near > 0.02 and clear > 0.02:
        yield from _permuted(ctx, name, request, found, order)


def _permuted(ctx: Context, name: str, request: MatchRequest, found: Match, order: list[int]) -> Iterator[Violation]:
    """Permute both sides; asked only where the best assignment has no rival."""
    turned = list(reversed(range(len(request.gts))))
    shuffled = MatchRequest(
        [request.preds[i] for i in order], [request.gts[j] for j in turned], request.gate, request.top_k
    )
    back = sorted((order[i], turned[j]) for i, j in ctx.value(MATCH, shuffled).pairs)
    if back != sorted(map(tuple, found.pairs)):
        yield Violation("the match does not follow a permutation", name, sorted(found.pairs), back)


@invariant(
    "supervision.expectation_decode",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Boxes are decoded as the sum of p(k) k/999 from the logits at p-1; a two-peak distribution gives the mean.",
    remedy="Take the expectation over the thousand coordinate logits one position before the slot.",
    spec=f"{SPEC}: expectation decoding (not argmax)",
)
def expectation_decode(ctx: Context) -> Iterator[Violation]:
    yield from _decoded(ctx)
    yield from _pulled(ctx)


def _decoded(ctx: Context) -> Iterator[Violation]:
    slots: list[tuple[list[tuple[int, float]], float]] = [
        ([(0, 0.0), (999, 0.0)], 0.5),
        ([(0, 0.0)], 0.0),
        ([(999, 0.0)], 1.0),
        ([(500, 0.0)], 500 / 999),
        ([(100, 0.0), (200, 0.0), (900, 0.0)], 400 / 999),
        ([(10, 1.0), (990, 1.0)], 500 / 999),
    ]
    warm: list[tuple[list[tuple[int, float]], float]] = [([(0, 0.0), (999, 2.0)], 1 / (1 + exp(-1)))]
    for temperature, peaks in ((1.0, slots), (2.0, warm)):
        coords = ctx.value(DECODE, DecodeRequest([s for s, _ in peaks], -60.0, temperature)).coords
        for (slot, wanted), got in zip(peaks, coords, strict=True):
            ctx.judged()
            # Answers have four digits; dividing by 1000 is off by 0.001 at the last bin.
            if got is None or abs(got - wanted) > 2e-4:
                name = f"{slot} at temperature {temperature:g}"
                yield Violation("the decoded coordinate is not the expectation", name, round(wanted, 4), got, slot)


def _pulled(ctx: Context) -> Iterator[Violation]:
    off: list[int] = []
    for case in inputs.taught()[:3]:
        answer = ctx.value(CHANNEL_B, case.request)
        for segment, sample in zip(answer.segments, case.request.samples, strict=True):
            reading = read(segment, sample, case.request.order)
            for index in range(len(reading.fates)):
                if reading.gts[index] < 0 or reading.fates[index] == FALSE:
                    continue
                ctx.judged(4)
                for p, k in zip(reading.slots(index), sample.gt[reading.gts[index]].bbox, strict=False):
                    off += [segment.targets[p] - k] if k > 550 else []
                    # The target solves out of the gradient only if the loss is that of the expectation at p-1.
                    if abs(segment.targets[p] - k) > 1:
                        place = f"{case.name}: {judge.place(segment, p)}"
                        yield Violation("the loss is not one of the expectation at p-1", place, k, segment.targets[p])
    # One bin is the measure's own error, but not the same way in most slots: k/1000 for k/999 is one bin at the end.
    if off and median(off) != 0:
        message = "targets are off by the same step at the upper bins: they are not k/999"
        yield Violation(message, "bins over 550", 0, median(off), sorted(off))


@invariant(
    "supervision.geometry_finite",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="SmoothL1 + CIoU and their gradients are finite on degenerate, inverted, identical and far boxes; no GIoU.",
    remedy="Clamp areas, diagonals and sides from below before dividing; use CIoU.",
    spec=f"{SPEC}: Numerical stability",
)
def geometry_finite(ctx: Context) -> Iterator[Violation]:
    boxes = {
        "point": ([0.5] * 4, [0.2, 0.2, 0.4, 0.4]),
        "both points": ([0.5] * 4, [0.5] * 4),
        "line": ([0.1, 0.5, 0.9, 0.5], [0.2, 0.2, 0.4, 0.4]),
        "inverted": ([0.9, 0.9, 0.1, 0.1], [0.2, 0.2, 0.4, 0.4]),
        "identical": ([0.2, 0.2, 0.4, 0.4], [0.2, 0.2, 0.4, 0.4]),
        "far": ([0.0, 0.0, 0.01, 0.01], [0.9, 0.9, 1.0, 1.0]),
        "whole image": ([0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]),
        "outside": ([-0.5, -0.5, 1.5, 1.5], [0.1, 0.1, 0.3, 0.3]),
        "at the corner": ([0.0] * 4, [0.0, 0.0, 1.0, 1.0]),
        "partly over": ([0.1, 0.1, 0.5, 0.4], [0.2, 0.15, 0.6, 0.7]),
        "wide on tall": ([0.1, 0.4, 0.9, 0.5], [0.4, 0.1, 0.5, 0.9]),
    }
    answer = ctx.value(BBOX_LOSS, BoxLossRequest([p for p, _ in boxes.values()], [g for _, g in boxes.values()]))
    for i, (name, (pred, gt)) in enumerate(boxes.items()):
        ctx.judged()
        for term, value, grad in (
            ("SmoothL1", answer.smoothl1[i], answer.smoothl1_grad[i]),
            ("CIoU", answer.ciou[i], answer.ciou_grad[i]),
        ):
            if value is None or None in grad:
                yield Violation(
                    f"{term} or its gradient is not finite",
                    name,
                    "finite",
                    {"value": value, "gradient": grad},
                    [pred, gt],
                )
        wanted = pairing.ciou_loss(pred, gt)
        if wanted is not None and answer.ciou[i] is not None and abs((answer.ciou[i] or 0.0) - wanted) > 2e-3:
            yield Violation("the overlap loss is not CIoU", name, round(wanted, 4), answer.ciou[i], [pred, gt])
