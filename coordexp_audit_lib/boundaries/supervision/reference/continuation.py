"""The reference's answers on objects in any order and on objectives of several modules: plain Python, no tensors."""

from __future__ import annotations

import random

from coordexp_audit_lib.boundaries.supervision.predicates import candidates, roles
from coordexp_audit_lib.boundaries.supervision.predicates import suffix as parts
from coordexp_audit_lib.boundaries.supervision.surfaces import continuation as s
from coordexp_audit_lib.core.evidence import digest
from coordexp_audit_lib.core.surface import Refuse, answers
from coordexp_audit_lib.kit.tokenizer import encode

END = "<|im_end|>\n"


@answers(s.CANDIDATE_TARGETS)
def candidate_targets(request: s.CandidatesRequest) -> s.CandidateTargets:
    written = request.candidates[request.teacher]
    shares = candidates.shares(request.candidates, request.teacher)
    return s.CandidateTargets([s.TargetStep(t, sorted(p.items())) for t, p in zip(written, shares, strict=True)])


@answers(s.CANDIDATE_LOSS)
def candidate_loss(request: s.CandidateLossRequest) -> s.CandidateLoss:
    rows = zip(request.logits, request.steps, strict=True)
    single = [candidates.step_loss(row, step, request.support, request.balance) for row, step in rows]
    return s.CandidateLoss(sum(single) / len(single), single)


@answers(s.SUFFIX)
def suffix(request: s.SuffixRequest) -> s.Suffix:
    """Every token whose last byte follows what is given, as the only target; the template's newline with it."""
    whole, _ = parts.written([request.gt[i] for i in (*request.given, *request.asked)], request.order)
    ids, given = [*encode(whole), *encode(END)], parts.given_bytes(request)
    follow = [at for at, (_, end) in enumerate(parts.spans(ids)) if end > given]
    return s.Suffix(ids, [s.PlacedStep(at, s.TargetStep(ids[at], [(ids[at], 1.0)])) for at in follow])


@answers(s.BRANCH)
def branch(request: s.BranchRequest) -> s.Branch:
    """The list ends behind the candidate where nothing else is left."""
    rest = [i for i in range(len(request.gt)) if i not in (*request.given, request.candidate)]
    whole, records = parts.written([request.gt[i] for i in (*request.given, request.candidate)], request.order)
    end = len(whole.encode()) - len(parts.CLOSE)
    start = end - len(records[-1].encode())
    ids = [*encode(whole if not rest else whole[: -len(parts.CLOSE)]), *encode(END)]
    spans = list(enumerate(parts.spans(ids)))
    candidate = [at for at, (first, last) in spans if last > start and first < end]
    coordinates = [at for at in candidate if roles.is_coordinate(ids[at])]
    close = [] if rest else [at for at, (first, last) in spans if last > end and first < end + len(parts.CLOSE)]
    return s.Branch(ids, candidate, coordinates, close, close[:1])


@answers(s.SUBSETS)
def subsets(request: s.SubsetRequest) -> s.Subsets:
    samples, epochs = range(request.samples), range(request.epochs)
    return s.Subsets([[_drawn(request, epoch, sample) for sample in samples] for epoch in epochs])


def _drawn(request: s.SubsetRequest, epoch: int, sample: int) -> s.Subset:
    rng = random.Random(int(digest([request.seed, epoch, sample]), 16))
    objects = rng.sample(range(request.objects), request.objects)
    ways = {m: w for m, w in request.mixture.items() if request.objects > 1 or m != "random_subset"}
    if not objects:
        return s.Subset("empty_prefix", [], [], [])
    (mode,) = rng.choices(list(ways), list(ways.values()))
    given = {"empty_prefix": 0, "leave_one_out": len(objects) - 1, "full_prefix": len(objects)}
    cut = given[mode] if mode in given else rng.randrange(1, len(objects))
    remaining = objects[cut:]
    scored = rng.sample(remaining, min(request.candidates or len(remaining), len(remaining)))
    return s.Subset(mode, objects[:cut], remaining, scored)


@answers(s.OBJECTIVE)
def objective(request: s.ObjectiveRequest) -> s.Objective:
    on = [m for m in request.modules if m.on]
    if len({m.name for m in on}) < len(on):
        raise Refuse("a module is named twice")
    terms = {f"{m.name}/{i}": m.weight * t for m in on for i, t in enumerate(m.terms)}
    return s.Objective(sum(terms.values()), {m.name: m.weight * sum(m.terms) for m in on}, terms)
