"""The reference's step: one mean over the tokens of all its packs."""

from __future__ import annotations

from functools import lru_cache

from coordexp_audit_lib.boundaries.packing import surfaces as s
from coordexp_audit_lib.boundaries.packing.reference import batches, plans
from coordexp_audit_lib.boundaries.packing.reference.forward import unpacked_loss
from coordexp_audit_lib.core.surface import answers
from coordexp_audit_lib.kit import coordjson


@answers(s.STEP)
def step(request: s.StepRequest) -> s.Step:
    losses = [_loss(n) for n in request.objects]
    total = sum(one.supervised for one in losses)
    packs = [len(pack) for pack in _packs(request)]
    return s.Step(packs, round(sum(one.loss * one.supervised for one in losses) / total, 4))


def weighed(request: s.StepRequest, packs: list[int]) -> s.Step:
    """The step of a trainer that weighs the mean of each pack by the number of its samples."""
    total = 0.0
    for members in _packs(request):
        losses = [_loss(request.objects[m]) for m in members]
        mean = sum(one.loss * one.supervised for one in losses) / sum(one.supervised for one in losses)
        total += mean * len(members) / len(request.objects)
    return s.Step(packs, round(total, 4))


def _packs(request: s.StepRequest) -> list[list[int]]:
    lengths = [batches.encode_one(_sample(n)).length for n in request.objects]
    return plans.packs(lengths, request.packing_length, "post_rollout")


def _sample(objects: int) -> s.Sample:
    boxes = [[10 * i, 10 * i, 10 * i + 300, 10 * i + 300] for i in range(objects)]
    records = (coordjson.record(f"thing {i}", "bbox_2d", box, "desc_first") for i, box in enumerate(boxes))
    return s.Sample([("user", "Locate every object."), ("assistant", coordjson.container(*records))])


@lru_cache(maxsize=16)
def _loss(objects: int) -> s.Loss:
    return unpacked_loss(_sample(objects))
