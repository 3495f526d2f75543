"""The reference's answers to the questions that need no forward pass; it also registers those of both channels."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.supervision import reference_a, reference_b
from coordexp_audit_lib.boundaries.supervision.contract import (
    BBOX_LOSS,
    CLOSURE,
    DECODE,
    MATCH,
    PREFIX,
    REQUEST_SEEDS,
    ROLES,
    ROLLOUT_SEED,
    SCHEDULE,
    BoxLoss,
    BoxLossRequest,
    ClosureRequest,
    Coords,
    DecodeRequest,
    Match,
    MatchRequest,
    Positions,
    Prefixes,
    PrefixRequest,
    RequestSeeds,
    RequestSeedsRequest,
    Roles,
    RolesRequest,
    Schedule,
    ScheduleRequest,
    Seed,
    SeedRequest,
    TextRoles,
)
from coordexp_audit_lib.boundaries.supervision.objective import ciou, decode, short, smooth_l1
from coordexp_audit_lib.boundaries.supervision.pairing import match as pair
from coordexp_audit_lib.boundaries.supervision.roles import DESC, is_coordinate, layout
from coordexp_audit_lib.boundaries.supervision.schedule import digest, letters
from coordexp_audit_lib.boundaries.supervision.teaching import as_prefix, keep
from coordexp_audit_lib.core.surface import Refuse, answers

__all__ = ["reference_a", "reference_b"]


@answers(SCHEDULE)
def schedule(request: ScheduleRequest) -> Schedule:
    start = request.resumes[0]
    line = letters(request.b, start, request.resumes[-1])
    blocks = [digest(line[i : i + request.block]) for i in range(0, len(line), request.block)]
    positions = [start + i for i, c in enumerate(line) if c == "B"] if request.detail else []
    return Schedule(blocks, line.count("B"), positions)


@answers(ROLLOUT_SEED)
def rollout_seed(request: SeedRequest) -> Seed:
    return Seed(base_seed(request.seed, request.step))


def base_seed(seed: int, step: int) -> int:
    """The rollout seed base of a step; 0 would read as no seed, so 1 stands for it."""
    return (seed + step * 1_000_003) & 0x7FFFFFFF or 1


@answers(REQUEST_SEEDS)
def request_seeds(request: RequestSeedsRequest) -> RequestSeeds:
    base = base_seed(request.seed, request.step)
    starts = range(0, request.samples, request.chunk)
    return RequestSeeds([(min(request.chunk, request.samples - s), (base + s) & 0x7FFFFFFF or 1) for s in starts])


@answers(MATCH)
def match(request: MatchRequest) -> Match:
    pairs = pair(request.preds, request.gts, request.gate)
    fn = [j for j in range(len(request.gts)) if j not in {j for _, j in pairs}]
    return Match(pairs, fn, [i for i in range(len(request.preds)) if i not in {i for i, _ in pairs}])


@answers(DECODE)
def expectation_decode(request: DecodeRequest) -> Coords:
    import torch

    logits = torch.full((len(request.slots), 1000), request.floor)
    for row, peaks in enumerate(request.slots):
        for k, value in peaks:
            logits[row, k] = value
    return Coords([short(v) for v in decode(logits, request.temperature)])


@answers(BBOX_LOSS)
def bbox_loss(request: BoxLossRequest) -> BoxLoss:
    import torch

    made = BoxLoss([], [], [], [])
    for pred, gt in zip(request.preds, request.gts, strict=True):
        box, target = torch.tensor([pred], requires_grad=True), torch.tensor([gt])
        for term, values, grads in (
            (smooth_l1(box, target), made.smoothl1, made.smoothl1_grad),
            (ciou(box, target), made.ciou, made.ciou_grad),
        ):
            (grad,) = torch.autograd.grad(term, box)
            values.append(short(term.detach()))
            grads.append([short(g) for g in grad[0]])
    return made


@answers(CLOSURE)
def closure_positions(request: ClosureRequest) -> Positions:
    closing = layout(request.ids, "desc_first").closing() or layout(request.ids, "geometry_first").closing()
    if len(closing) < 2 or closing[0] < request.prefix_len:
        raise Refuse(
            "the target has no resolvable closure: no outermost brace with <|im_end|> after it in the taught tail"
        )
    return Positions([p - request.prefix_len for p in closing])


@answers(PREFIX)
def prefix(request: PrefixRequest) -> Prefixes:
    return Prefixes([as_prefix(keep(ids, request.order)) for ids in request.rollouts])


@answers(ROLES)
def token_roles(request: RolesRequest) -> Roles:
    made = []
    for ids in request.texts:
        tokens = layout(ids, "desc_first").tokens
        desc = [p for p, t in enumerate(tokens) if DESC in t.roles]
        made.append(TextRoles(desc, [p for p, t in enumerate(tokens) if is_coordinate(t.id)]))
    return Roles(made)
