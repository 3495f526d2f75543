"""The reference's answers to the questions that need no forward pass."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.supervision import surfaces as s
from coordexp_audit_lib.boundaries.supervision.predicates import matching
from coordexp_audit_lib.boundaries.supervision.predicates.roles import COORDINATE, DESC, layout
from coordexp_audit_lib.boundaries.supervision.reference.losses import ciou, decode, short, smooth_l1
from coordexp_audit_lib.boundaries.supervision.reference.target import keep
from coordexp_audit_lib.core.surface import Refuse, answers
from coordexp_audit_lib.kit import schedule as rules


@answers(s.SCHEDULE)
def schedule(request: s.ScheduleRequest) -> s.Schedule:
    start = request.resumes[0]
    return scheduled(request, rules.channels(request.b, start, request.resumes[-1]))


def scheduled(request: s.ScheduleRequest, line: str) -> s.Schedule:
    """The answer of a pipeline that runs these channels, one letter a step."""
    positions = [request.resumes[0] + i for i, c in enumerate(line) if c == "B"] if request.detail else []
    return s.Schedule(s.digests(line, request.block), line.count("B"), positions)


@answers(s.ROLLOUT_SEED)
def rollout_seed(request: s.SeedRequest) -> s.Seed:
    return s.Seed(rules.request_seed(rules.seed_base(request.seed, request.step)))


@answers(s.REQUEST_SEEDS)
def request_seeds(request: s.RequestSeedsRequest) -> s.RequestSeeds:
    base = rules.request_seed(rules.seed_base(request.seed, request.step))
    starts = range(0, request.samples, request.chunk)
    return s.RequestSeeds([(min(request.chunk, request.samples - i), rules.request_seed(base, i)) for i in starts])


@answers(s.MATCH)
def match(request: s.MatchRequest) -> s.Match:
    pairs = matching.match(request.preds, request.gts, request.gate)
    fn = [j for j in range(len(request.gts)) if j not in {j for _, j in pairs}]
    return s.Match(pairs, fn, [i for i in range(len(request.preds)) if i not in {i for i, _ in pairs}])


@answers(s.DECODE)
def expectation_decode(request: s.DecodeRequest) -> s.Coords:
    import torch

    logits = torch.full((len(request.slots), 1000), request.floor)
    for row, peaks in enumerate(request.slots):
        for k, value in peaks:
            logits[row, k] = value
    return s.Coords([short(v) for v in decode(logits, request.temperature)])


@answers(s.BBOX_LOSS)
def bbox_loss(request: s.BoxLossRequest) -> s.BoxLoss:
    import torch

    made = s.BoxLoss([], [], [], [])
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


@answers(s.CLOSURE)
def closure_positions(request: s.ClosureRequest) -> s.Positions:
    closing = layout(request.ids, "desc_first").closing() or layout(request.ids, "geometry_first").closing()
    if len(closing) < 2 or closing[0] < request.prefix_len:
        why = "no outermost brace with <|im_end|> after it in the supervised tail"
        raise Refuse(f"the target has no resolvable closure: {why}")
    return s.Positions([p - request.prefix_len for p in closing])


@answers(s.PREFIX)
def prefix(request: s.PrefixRequest) -> s.Prefixes:
    return s.Prefixes([keep(ids, request.order) for ids in request.rollouts])


@answers(s.ROLES)
def token_roles(request: s.RolesRequest) -> s.Roles:
    views = [layout(ids, "desc_first").tokens for ids in request.texts]
    places = [[[p for p, t in enumerate(view) if role in t.roles] for role in (DESC, COORDINATE)] for view in views]
    return s.Roles([s.TextRoles(desc, coordinates) for desc, coordinates in places])
