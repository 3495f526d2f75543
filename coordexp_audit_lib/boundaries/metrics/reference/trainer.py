"""The reference pipeline's metrics: a small strict parser and matcher that logs through `Stage2Telemetry`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.reference.telemetry import Stage2Telemetry
from coordexp_audit_lib.core.surface import answers
from coordexp_audit_lib.kit.boxes import has_area
from coordexp_audit_lib.kit.schedule import is_b_step, seed_base

PACK = 2
GENERATED, PREDICTED = "rollout/gen_new_tokens_total", "rollout/valid_pred_objects_total"
EXPECTED = "rollout/gt_objects_total"
MATCHED, SAMPLES, MICRO = "rollout/matched_for_supervision", "train/samples_total", "train/micro_steps"
TRUNCATED = "rollout/parse_truncated"


@answers(s.REALIZED)
def realized(request: s.RealizedRequest) -> s.RealizedResponse:
    telemetry, channels, ratios = Stage2Telemetry(), "", []
    for step in range(request.steps):
        channel = "B" if is_b_step(step, request.b_ratio) else "A"
        telemetry.step_began(channel)
        channels += channel
        ratios.append(float(telemetry.finish()[telemetry.words.ratio]))
    return s.RealizedResponse(channels, ratios)


@answers(s.ACCUMULATE)
def accumulate(request: s.AccumulateRequest) -> s.AccumulateResponse:
    """Record each metric by the kind that its name says, on one accumulator a rank, and finish them together."""
    ranks = []
    for micro_steps in request.ranks:
        telemetry = Stage2Telemetry()
        telemetry.step_began("B")
        for micro in micro_steps:
            for key, value in micro.metrics.items():
                _recorded(telemetry, key, value, micro.weight)
        ranks.append(telemetry)
    payloads = _together(ranks)
    for payload in payloads:
        over, under = (payload.pop(f"rollout/_parse_truncated_{term}", None) for term in ("num", "den"))
        if over is not None and under:
            payload["rollout/parse_truncated_rate"] = float(over) / float(under)
            payload[TRUNCATED], payload[SAMPLES] = over, under
    return s.AccumulateResponse(payloads)


@answers(s.REDUCE)
def reduce(request: s.ReduceRequest) -> s.AccumulateResponse:
    """As `accumulate`, of one micro-step a rank."""
    return accumulate(s.AccumulateRequest([[s.MicroStep(dict(rank))] for rank in request.ranks]))


def _recorded(telemetry: Stage2Telemetry, key: str, value: float, weight: float) -> None:
    kind = telemetry.words.role(key)
    if kind == "identity":
        telemetry.identity(key, int(value))
    elif kind == "counter":
        telemetry.count(key, int(value))
    elif kind == "timing":
        telemetry.seconds(key, value)
    else:
        telemetry.gauge(key, value, weight)


def _together(ranks: list[Stage2Telemetry]) -> list[dict[str, float | str]]:
    """Finish all ranks of one step; each gathers the states of all."""
    states = [telemetry.state() for telemetry in ranks]
    return [telemetry.finish(lambda _: states) for telemetry in ranks]


@answers(s.LOG)
def log(request: s.RunRequest) -> s.RunResponse:
    ranks = [Stage2Telemetry() for _ in request.rollouts[0]]
    rows, seen = [], 0
    for step, texts in enumerate(request.rollouts):
        channel = "B" if is_b_step(step, request.b_ratio) else "A"
        for telemetry, samples in zip(ranks, texts, strict=True):
            telemetry.step_began(channel)
            _record_step(telemetry, channel, request, step, samples)
        payload = _together(ranks)[0]
        seen += int(payload[SAMPLES])
        rows.append({"loss": payload["loss/ce"], **payload, "train/samples_seen": float(seen)})
    return s.RunResponse(rows)


def _record_step(telemetry: Stage2Telemetry, channel: str, request: s.RunRequest, step: int, texts: list[str]) -> None:
    packs = [texts[i : i + PACK] for i in range(0, len(texts), PACK)]
    telemetry.count(SAMPLES, len(texts))
    telemetry.count(MICRO, len(packs))
    telemetry.rate("train/samples_per_micro", over=SAMPLES, under=MICRO)
    for n, pack in enumerate(packs):
        telemetry.gauge("loss/ce", 2.0 / (step + n + 1), len(pack))
        telemetry.seconds("time/forward_s", 0.5 * len(pack) + 0.001 * (step % 3))
    if channel == "A":
        return
    telemetry.identity(telemetry.words.seed, seed_base(request.seed, step))
    telemetry.seconds(telemetry.words.generate, 0.01 * sum(map(len, texts)))
    telemetry.count(telemetry.words.rollouts, len(texts))
    for one in texts:
        _record_rollout(telemetry, one, request.gt)
    telemetry.rate(telemetry.words.throughput, over=GENERATED, under=telemetry.words.generate)
    telemetry.rate("rollout/precision", over=MATCHED, under=PREDICTED)
    telemetry.rate("rollout/recall", over=MATCHED, under=EXPECTED)
    telemetry.rate("rollout/parse_truncated_rate", over=TRUNCATED, under=telemetry.words.rollouts)


def _record_rollout(telemetry: Stage2Telemetry, one: str, gt: list[s.Box]) -> None:
    telemetry.count(GENERATED, len(one.split()))
    telemetry.count(EXPECTED, len(gt))
    telemetry.count(TRUNCATED, int(broken_off(one)))
    boxes = []
    for found in parsed(telemetry, one):
        if isinstance(found, s.Box):
            boxes.append(found)
        else:
            telemetry.dropped(found)
    telemetry.count(telemetry.words.valid, len(boxes))
    telemetry.count(PREDICTED, len(boxes))
    telemetry.count(MATCHED, sum(box in gt for box in boxes))


def broken_off(one: str) -> bool:
    """Whether a container began and did not end."""
    return one.startswith("{") and not one.endswith("}")


def parsed(telemetry: Stage2Telemetry, one: str) -> Iterator[s.Box | str]:
    """Each record as a box, or the reason why it is dropped; a text that is no CoordJSON is an invalid rollout."""
    try:
        records: list[dict[str, Any]] = json.loads(re.sub(r"<\|coord_(\d+)\|>", r"\1", one))["objects"]
    except ValueError:
        telemetry.count(telemetry.words.invalid)
        return
    for record in records:
        bbox = record["bbox_2d"]
        if not record["desc"]:
            yield "missing_desc"
        elif len(bbox) != 4:
            yield "wrong_arity"
        elif not has_area(bbox):
            yield "bbox_invalid"
        else:
            yield s.Box(record["desc"], bbox)
