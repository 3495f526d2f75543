"""Exhibits of the supervision boundary: the token ribbon of a Channel-B target, the match, the schedule, the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.supervision import surfaces as s
from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.asking import channel_a, first, targets
from coordexp_audit_lib.boundaries.supervision.cases.rollouts import Case
from coordexp_audit_lib.boundaries.supervision.predicates.reading import MATCHED
from coordexp_audit_lib.boundaries.supervision.predicates.roles import Token, around, canonical, layout, shown
from coordexp_audit_lib.boundaries.supervision.predicates.targets import Supervised, treatment
from coordexp_audit_lib.core.claim import Context, exhibit
from coordexp_audit_lib.core.errors import SurfaceUnbound

SHARES = (0.05, 0.3, 0.5, 0.85)
STEPS = 60


def ribbon_case() -> Case:
    """One matched object, whose description ends inside a straddling token, one false positive, one missed object."""
    shirt, near = s.Thing("t-shirt.", [100, 100, 300, 300]), s.Thing("t-shirt.", [110, 100, 300, 310])
    return Case("ribbon", rollouts.one([near, rollouts.GT[2]], rollouts.rollout([shirt, rollouts.BIRD])))


@exhibit("supervision.ribbon")
def ribbon(ctx: Context) -> dict[str, Any]:
    """The target of `ribbon_case`, token by token: text, role, fate, label, and gradient norms at the logits."""
    one = first(ctx, ribbon_case().request)
    segment, reading = one.segment, one.reading
    tokens = []
    for p, token in enumerate(reading.view.tokens):
        fates = sorted({reading.fates[i] for i in token.objects})
        tokens.append(
            {
                "text": shown(token.id),
                "role": token.role,
                "fate": "+".join(fates) or "container",
                "supervised": segment.text_grad[p] > 0,
                "ce": segment.text_grad[p],
                "geometry": segment.coord_grad[p] if segment.text_grad[p] == 0 else 0.0,
                "target": segment.targets[p],
            }
        )
    return {"tokens": tokens, "seam": segment.prefix_len}


@exhibit("supervision.match_drawn")
def match_drawn(ctx: Context) -> dict[str, Any]:
    """Boxes of a real rollout with the ground truth they are matched to, in bins."""
    case = rollouts.real(2)[0]
    reading = first(ctx, case.request).reading
    gt = [{"desc": t.desc, "box": t.bbox} for t in case.request.samples[0].gt]
    pred = [
        {"desc": r.desc, "box": list(r.values), "fate": reading.fates[i], "gt": reading.gts[i]}
        for i, r in enumerate(reading.view.records)
        if reading.fates[i] != "appended"
    ]
    missed = sorted({*range(len(gt))} - {reading.gts[i] for i in reading.with_fate(MATCHED)})
    return {"name": case.name, "gt": gt, "pred": pred, "missed": missed}


@exhibit("supervision.schedule_drawn")
def schedule_drawn(ctx: Context) -> dict[str, Any]:
    """The Channel-B steps among the first sixty, for four shares."""
    asked = {b: ctx.value(s.SCHEDULE, s.ScheduleRequest(b, [0, STEPS], detail=True)) for b in SHARES}
    return {"steps": STEPS, "b_steps": {f"{b:g}": a.positions for b, a in asked.items()}}


@exhibit("supervision.straddling")
def straddling(ctx: Context) -> dict[str, Any]:
    """Tokens of two roles or two objects: in real rollouts with their number, and in targets with their treatment."""
    tokens = (t for _, ids in rollouts.real_texts() for t in layout(ids, "desc_first").tokens)
    counts = Counter((shown(t.id), _what(t)) for t in tokens if t.straddles or (t.objects and t.outside))
    rows = [row for _, one, _ in targets(ctx) for row in _treated(one)]
    ranked = sorted(counts.items(), key=lambda kv: (-kv[1], kv[0]))
    real = [{"token": t, "covers": w, "count": n} for (t, w), n in ranked]
    names = ("token", "covers", "fate", "treated")
    treated = [{**dict(zip(names, row, strict=True)), "count": n} for row, n in sorted(Counter(rows).items())]
    return {"real": real, "treated": treated}


def _what(token: Token) -> str:
    places = [f"{len(token.objects)} objects"] if len(token.objects) > 1 else ["object"] if token.objects else []
    whole = " + ".join(places + (["container"] if token.outside else []))
    return " + ".join(token.roles) + (f" ({whole})" if "+" in whole or len(token.objects) > 1 else "")


def _treated(one: Supervised) -> Iterator[tuple[str, str, str, str]]:
    for p, token in enumerate(one.reading.view.tokens):
        if token.objects and (token.straddles or token.outside):
            fate = " and ".join(dict.fromkeys(one.reading.fates[i] for i in token.objects))
            yield shown(token.id), _what(token), fate, treatment(one, p)


@exhibit("supervision.append_points")
def append_points(ctx: Context) -> dict[str, Any]:
    """For each case: the tokens around the append point, and those of the same text tokenized as one."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for case, one, _ in targets(ctx):
        ids, seam = one.segment.ids, one.reading.seam
        key = tuple(" | ".join(map(shown, around(tokens, seam))) for tokens in (ids, canonical(ids)))
        rows.setdefault(key, []).append(case.name)
    return {"points": [{"target": a, "canonical": b, "cases": len(n), "example": n[0]} for (a, b), n in rows.items()]}


@exhibit("supervision.softctx")
def softctx(ctx: Context) -> dict[str, Any]:
    """Channel-A, forward by forward: what changed and where the loss reaches."""
    rows = []
    for name, request in rollouts.channel_a():
        answer = ctx.value(s.CHANNEL_A, request)
        for n, one in enumerate(answer.passes):
            rows.append(
                {
                    "case": name,
                    "forward": f"{n + 1} of {request.n_iter}",
                    "slots": len(answer.slots),
                    "rows changed": len(one.changed),
                    "text rows with gradient": len(one.text_rows),
                    "slots with gradient": one.slots_reached,
                    "tracked": one.tracked,
                }
            )
    return {"passes": rows}


@exhibit("supervision.channel_a")
def channel_a_ribbon(ctx: Context) -> dict[str, Any]:
    """Channel-A's target token by token, and under it, for both ways of the gradient and each forward of the case with
    most of them: where an embedding is replaced, and which tokens cross-entropy reaches."""
    asked = [(request, answer) for _, request in channel_a(ctx) if (answer := ctx.value(s.CHANNEL_A, request)).passes]
    alike = [(r, a) for r, a in asked if len(a.segments) == 1 and not r.packed]
    if not alike:
        raise SurfaceUnbound("no forward was seen", where=s.CHANNEL_A.name)
    modes = {}
    for request, answer in sorted(alike, key=lambda one: len(one[1].passes)):
        (segment,) = answer.segments
        begin = segment.row * answer.length + segment.start + segment.prompt_len
        modes[request.grad_mode] = [
            {
                "changed": [p - begin for p in one.changed],
                "text": [p + 1 - begin for p in one.text_rows],  # row p predicts token p+1
                "slots_reached": one.slots_reached,
            }
            for one in answer.passes
        ]
    segment, slots = alike[0][1].segments[0], len(alike[0][1].slots)
    tokens = [{"text": shown(t.id), "role": t.role} for t in layout(segment.ids, alike[0][0].order).tokens]
    return {"tokens": tokens, "slots": slots, "modes": modes}
