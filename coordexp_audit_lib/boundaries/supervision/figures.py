"""Exhibits of the supervision boundary: the token ribbon of a Channel-B target, the match, the schedule, the tables."""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.boundaries.supervision import inputs, judge
from coordexp_audit_lib.boundaries.supervision.contract import (
    CHANNEL_A,
    CHANNEL_B,
    SCHEDULE,
    ScheduleRequest,
    SegmentB,
    Thing,
)
from coordexp_audit_lib.boundaries.supervision.drawing import draw_match, draw_ribbon, draw_schedule
from coordexp_audit_lib.boundaries.supervision.inputs import Case
from coordexp_audit_lib.boundaries.supervision.reading import MATCHED, Reading, read
from coordexp_audit_lib.boundaries.supervision.roles import Token, layout, shown
from coordexp_audit_lib.core.claim import Context, exhibit

__all__ = ["draw_match", "draw_ribbon", "draw_schedule"]
SHARES = (0.05, 0.3, 0.5, 0.85)
STEPS = 60


def ribbon_case() -> Case:
    """One matched object, whose description ends inside a straddling token, one false positive, one missed object."""
    shirt, near = Thing("t-shirt.", [100, 100, 300, 300]), Thing("t-shirt.", [110, 100, 300, 310])
    return Case("ribbon", inputs.one([near, inputs.GT[2]], inputs.rollout([shirt, inputs.BIRD])))


def _first(ctx: Context, case: Case) -> tuple[SegmentB, Reading]:
    segment = ctx.value(CHANNEL_B, case.request).segments[0]
    return segment, read(segment, case.request.samples[0], case.request.order)


@exhibit("supervision.ribbon")
def ribbon(ctx: Context) -> dict[str, Any]:
    """The target of `ribbon_case`, token by token: text, role, fate, label, and gradient norms at the logits."""
    segment, reading = _first(ctx, ribbon_case())
    tokens = []
    for p, token in enumerate(reading.view.tokens):
        fates = sorted({reading.fates[i] for i in token.objects})
        tokens.append(
            {
                "text": shown(token.id),
                "role": token.role,
                "fate": "+".join(fates) or "container",
                "taught": segment.text_grad[p] > 0,
                "ce": segment.text_grad[p],
                "geometry": segment.coord_grad[p] if segment.text_grad[p] == 0 else 0.0,
                "target": segment.targets[p],
            }
        )
    return {"tokens": tokens, "seam": segment.prefix_len}


@exhibit("supervision.match_drawn")
def match_drawn(ctx: Context) -> dict[str, Any]:
    """Boxes of a real rollout with the ground truth they are matched to, in bins."""
    case = inputs.real(2)[0]
    _, reading = _first(ctx, case)
    gt = [{"desc": t.desc, "box": t.bbox} for t in case.request.samples[0].gt]
    pred = [
        {"desc": r.text, "box": r.values, "fate": reading.fates[i], "gt": reading.gts[i]}
        for i, r in enumerate(reading.view.records)
        if reading.fates[i] != "appended"
    ]
    return {"name": case.name, "gt": gt, "pred": pred, "missed": [j for j in range(len(gt)) if j not in _used(reading)]}


def _used(reading: Reading) -> set[int]:
    return {reading.gts[i] for i in reading.with_fate(MATCHED)}


@exhibit("supervision.schedule_drawn")
def schedule_drawn(ctx: Context) -> dict[str, Any]:
    """The Channel-B steps among the first sixty, for four shares."""
    asked = {b: ctx.value(SCHEDULE, ScheduleRequest(b, [0, STEPS], detail=True)) for b in SHARES}
    return {"steps": STEPS, "b_steps": {f"{b:g}": a.positions for b, a in asked.items()}}


@exhibit("supervision.straddling")
def straddling(ctx: Context) -> dict[str, Any]:
    """Tokens of two roles or two objects: in real rollouts with their number, and in targets with their treatment."""
    counts: dict[tuple[str, str], int] = {}
    for _, ids in inputs.real_texts():
        for token in layout(ids, "desc_first").tokens:
            if token.straddles or (token.objects and token.outside):
                key = (shown(token.id), _what(token))
                counts[key] = counts.get(key, 0) + 1
    rows = []
    for case in inputs.taught():
        answer = ctx.ask(CHANNEL_B, case.request).content
        for segment, sample in zip(answer.segments if answer else [], case.request.samples, strict=False):
            rows += _treated(case, segment, read(segment, sample, case.request.order))
    real = [
        {"token": t, "covers": w, "count": n} for (t, w), n in sorted(counts.items(), key=lambda kv: (-kv[1], kv[0]))
    ]
    return {"real": real, "treated": _grouped(rows)}


def _what(token: Token) -> str:
    places = [f"{len(token.objects)} objects"] if len(token.objects) > 1 else ["object"] if token.objects else []
    whole = " + ".join(places + (["container"] if token.outside else []))
    return " + ".join(token.roles) + (f" ({whole})" if "+" in whole or len(token.objects) > 1 else "")


def _treated(case: Case, segment: SegmentB, reading: Reading) -> list[tuple[str, str, str, str]]:
    found = []
    for p, token in enumerate(reading.view.tokens):
        if (token.straddles and token.objects) or (token.objects and token.outside):
            fate = " and ".join(dict.fromkeys(reading.fates[i] for i in token.objects))
            treated = judge.treatment(segment, reading, p, case.request.desc_ce_weight)
            found.append((shown(token.id), _what(token), fate, treated))
    return found


def _grouped(rows: list[tuple[str, str, str, str]]) -> list[dict[str, Any]]:
    kinds = sorted(set(rows))
    return [
        {"token": t, "covers": w, "fate": f, "treated": x, "count": rows.count((t, w, f, x))} for t, w, f, x in kinds
    ]


@exhibit("supervision.append_points")
def append_points(ctx: Context) -> dict[str, Any]:
    """For each case: the tokens around the append point, and those of the same text tokenized as one."""
    rows: dict[tuple[str, str], list[str]] = {}
    for case in inputs.taught():
        answer = ctx.ask(CHANNEL_B, case.request).content
        for segment, sample in zip(answer.segments if answer else [], case.request.samples, strict=False):
            seam = read(segment, sample, case.request.order).seam
            ours, canonical = judge.around(segment.ids, seam), judge.around(judge.canonical(segment.ids), seam)
            key = (" | ".join(map(shown, ours)), " | ".join(map(shown, canonical)))
            rows.setdefault(key, []).append(case.name)
    return {"points": [{"target": a, "canonical": b, "cases": len(n), "example": n[0]} for (a, b), n in rows.items()]}


@exhibit("supervision.softctx")
def softctx(ctx: Context) -> dict[str, Any]:
    """Channel-A, forward by forward: what changed and where the loss reaches."""
    rows = []
    for name, request in inputs.channel_a():
        answer = ctx.value(CHANNEL_A, request)
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
