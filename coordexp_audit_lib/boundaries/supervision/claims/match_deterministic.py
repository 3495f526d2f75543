"""The match is the same on repeat, follows a permutation of its inputs, honours the gate, and its cost is the optimum
over the candidates that the pipeline keeps for each prediction.

The match says which object is corrected towards which. With a pair below the gate the gradient points a box at
something that it is not; a match that depends on the order of its inputs makes the objective depend on the order of the
annotation.

Keeping only the best few candidates is the pipeline's to decide; what matches that loses at the number that its configs
ship is advice.

Example: a prediction that overlaps its only ground truth by 0.2 is a false positive where the gate is 0.3."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from coordexp_audit_lib.boundaries.supervision.predicates import matching
from coordexp_audit_lib.boundaries.supervision.surfaces import MATCH, Match, MatchRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, answered, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.boxes import LAST_BIN, has_area, iou

GATE = 0.3
CLEAR = 0.02  # of an overlap or a cost, below which a mask's resolution may decide


@claim(severity="P0", kind="B", remedy="Solve the assignment exactly on gated IoU costs.")
def match_deterministic(ctx: Context) -> Iterator[Problem]:
    rng = ctx.rng()
    for n in range(24):
        gts = [_box(rng.randrange(0, 600), rng.randrange(0, 600), rng.randrange(150, 390)) for _ in range(n % 7 + 1)]
        preds = [[min(LAST_BIN, k + rng.randrange(-40, 40) % LAST_BIN) for k in b] for b in gts[: n % 5 + 1]]
        preds = [b for b in preds if has_area(b)] or [_box(0, 0, 200)]
        preds += [_box(rng.randrange(0, 700), rng.randrange(0, 700), 180) for _ in range(n % 3)]
        order = rng.sample(range(len(preds)), len(preds))
        yield from _one_match(ctx, f"case {n}", MatchRequest(preds, gts, GATE, top_k=len(gts)), order)
    yield from _at_the_gate(ctx)
    yield from _pruned(ctx)


def _at_the_gate(ctx: Context) -> Iterator[Problem]:
    """Overlaps below the gate are out, so one that is the gate is in. Of equal boxes it is 1, by any measure of it."""
    boxes = [_box(100, 100, 300), _box(500, 400, 200)]
    ctx.judged()
    found = ctx.value(MATCH, MatchRequest(boxes, boxes, 1.0, top_k=len(boxes)))
    if sorted(found.pairs) != [(0, 0), (1, 1)]:
        asked = {"preds": boxes, "gts": boxes, "gate": 1.0}
        message = "a pair whose overlap is the gate itself is not matched"
        yield Problem(message, "equal boxes, gate 1", [(0, 0), (1, 1)], found.pairs, asked)


def _box(x: int, y: int, side: int) -> list[int]:
    return [x, y, x + side, y + side]


def _one_match(ctx: Context, name: str, request: MatchRequest, order: list[int]) -> Iterator[Problem]:
    ctx.judged()
    preds, gts, asked = request.preds, request.gts, {"preds": request.preds, "gts": request.gts}
    found = ctx.value(MATCH, request)
    best = matching.match(preds, gts, GATE)
    gap = matching.cost_of(found.pairs, preds, gts) - matching.cost_of(best, preds, gts)
    near, clear = matching.margin(preds, gts, GATE)
    low = [[i, j] for i, j in found.pairs if iou(preds[i], gts[j]) < GATE - CLEAR]
    if low:
        yield Problem("a pair below the gate is matched", name, f">= {GATE}", low, asked)
    if gap > CLEAR * (len(preds) + 1) and near > CLEAR:
        yield Problem("the match is not the cheapest one", name, best, found.pairs, asked)
    used = (sorted(i for i, _ in found.pairs), sorted(j for _, j in found.pairs))
    whole = (sorted(used[0] + found.fp) == list(range(len(preds))), sorted(used[1] + found.fn) == list(range(len(gts))))
    if not all(whole) or any(a == b for side in used for a, b in pairwise(side)):
        yield Problem("matched and unmatched do not add up to the inputs", name, "a partition", found.pairs, asked)
    if ctx.value(MATCH, request) != found:
        yield Problem("the match differs on repeat", name, found.pairs, "another", asked)
    if near > CLEAR and clear > CLEAR:
        yield from _permuted(ctx, name, request, found, order)


def _pruned(ctx: Context) -> Iterator[Problem]:
    """Fewer candidates than ground truths: the optimum over them; then what they cost where boxes crowd."""
    rng = ctx.rng("pruned")
    for n in range(8):
        corners = [(rng.randrange(0, 500), rng.randrange(0, 500)) for _ in range(4)]
        gts = [_box(x, y, rng.randrange(200, 490)) for x, y in corners]
        preds = [[min(LAST_BIN, k + rng.randrange(0, 60)) for k in b] for b in gts]
        preds = [b for b in preds if has_area(b)]
        ctx.judged()
        found = ctx.value(MATCH, MatchRequest(preds, gts, GATE, top_k=2))
        best = matching.match(preds, gts, GATE, among=matching.candidates(preds, gts, 2))
        gap = matching.cost_of(found.pairs, preds, gts) - matching.cost_of(best, preds, gts)
        near, _ = matching.margin(preds, gts, GATE)
        if gap > CLEAR * (len(preds) + 1) and near > CLEAR:
            asked = {"preds": preds, "gts": gts, "top_k": 2}
            yield Problem("the match is not the cheapest one of its candidates", f"{n}", best, found.pairs, asked)
    yield from _crowded(ctx, ctx.contract["supervision.candidate_top_k"])


def _crowded(ctx: Context, top_k: int) -> Iterator[Problem]:
    """Boxes that lie over each other, as in a pile; the predictions a little to one side, so that all are nearest to
    the same few. Every pair is well over the gate."""
    gts, preds = ([_box(300 + side * i, 100, 400) for i in range(8)] for side in (4, -4))
    ctx.judged()
    found = ctx.value(MATCH, MatchRequest(preds, gts, GATE, top_k=top_k))
    if len(found.pairs) < len(gts):
        message = "predictions that fit are not matched, for each is compared with the nearest few boxes only"
        asked = {"preds": preds, "gts": gts, "candidates": top_k}
        where = f"{len(gts)} boxes over each other"
        yield Problem(message, where, len(gts), len(found.pairs), asked, authority="practice")


def _permuted(ctx: Context, name: str, request: MatchRequest, found: Match, order: list[int]) -> Iterator[Problem]:
    """Permute both sides; asked only where the best assignment has no rival."""
    turned = list(reversed(range(len(request.gts))))
    preds, gts = [request.preds[i] for i in order], [request.gts[j] for j in turned]
    shuffled = MatchRequest(preds, gts, request.gate, request.top_k)
    back = sorted((order[i], turned[j]) for i, j in ctx.value(MATCH, shuffled).pairs)
    if back != sorted(map(tuple, found.pairs)):
        yield Problem("the match does not follow a permutation", name, sorted(found.pairs), back)


_IGNORED = "Predictions are paired with ground truth in order of appearance, whatever they overlap."


@fault(match_deterministic, "gate_ignored", MATCH, _IGNORED)
def _gate_ignored(request: MatchRequest, honest: Honest) -> Match:
    n = min(len(request.preds), len(request.gts))
    return Match([(i, i) for i in range(n)], list(range(n, len(request.gts))), list(range(n, len(request.preds))))


_PRUNED = "Each prediction may only be matched with the few boxes that it overlaps most."


@fault(match_deterministic, "candidates_pruned", MATCH, _PRUNED)
def _candidates_pruned(request: MatchRequest, honest: Honest) -> Match:
    among = matching.candidates(request.preds, request.gts, request.top_k)
    pairs = matching.match(request.preds, request.gts, request.gate, among=among)
    used = [{pair[side] for pair in pairs} for side in (0, 1)]
    fp, fn = (
        [k for k in range(len(boxes)) if k not in used[i]] for i, boxes in enumerate((request.preds, request.gts))
    )
    return Match(pairs, fn, fp)


fault(match_deterministic, "missed_forgotten", MATCH, "Ground truth that nothing matches is not told.")(
    answered(fn=lambda made: [])
)

_OPEN = "A pair must overlap by more than the gate."


@fault(match_deterministic, "gate_open", MATCH, _OPEN)
def _gate_open(request: MatchRequest, honest: Honest) -> Match:
    pairs = matching.match(request.preds, request.gts, request.gate + 1e-9)
    fn = [j for j in range(len(request.gts)) if j not in {j for _, j in pairs}]
    return Match(pairs, fn, [i for i in range(len(request.preds)) if i not in {i for i, _ in pairs}])
