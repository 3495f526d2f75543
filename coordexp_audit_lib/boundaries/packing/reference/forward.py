"""The reference's pass through a small Qwen3-VL, with the ways in which a trainer can get it wrong as switches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.packing import surfaces as s
from coordexp_audit_lib.boundaries.packing.reference import batches, plans
from coordexp_audit_lib.core.surface import answers
from coordexp_audit_lib.kit import influence, model, picture, varlen


class How(msgspec.Struct, frozen=True):
    """How the model is called. rows: of position_ids, 4 with the text row, 3 without, 1 for the text row by itself.

    restarts: text positions begin anew with each sample. bounded: `cu_seq_lens` know the samples. first_supervised:
    each sample's first token is supervised. by_segment: the loss is the mean of the segments' means. wide_first: the
    row of width stands before that of height.
    """

    rows: int = 4
    restarts: bool = True
    use_cache: bool = False
    ones_mask: bool = False
    bounded: bool = True
    first_supervised: bool = False
    by_segment: bool = False
    wide_first: bool = False


@answers(s.FORWARD)
def forward(request: s.ForwardRequest) -> s.Forward:
    return measure(request, How())


def measure(request: s.ForwardRequest, how: How) -> s.Forward:
    """The answer of a trainer that calls the model so."""
    key = msgspec.json.encode(request)
    return _measured(key, how)


@lru_cache(maxsize=64)  # what every fault measures, once
def _measured(key: bytes, how: How) -> s.Forward:
    request = msgspec.json.decode(key, type=s.ForwardRequest)
    encoded = [batches.encode_one(one) for one in request.samples]
    packs = plans.packs([e.length for e in encoded], request.packing_length, request.path)
    small = model.hashed()
    with model.one_thread(), varlen.attending(small, request.attention):
        found = [_pack(small, request, encoded, members, how) for members in packs]
    return s.Forward(found, sdpa_accepted=True)


def _pack(small: Any, request: s.ForwardRequest, encoded: Sequence[s.Encoded], members: list[int], how: How) -> s.Pack:
    import torch

    samples = request.samples
    batch = batches.collate(encoded, members)
    ints = batch.ints
    labels = torch.tensor(ints["labels"][0])
    ends = ints["cu_seq_lens_q"]
    bounds = list(pairwise(ends))
    if how.first_supervised:
        labels[ends[1:-1]] = torch.tensor(ints["input_ids"][0])[ends[1:-1]]
    labels = model.row_of(labels)
    call = {**_call(batch, how), **_vision([samples[m] for m in members], ints.get("image_grid_thw"))}
    with influence.watching(small) as seen:
        small(**call)
    loss, supervised = _loss(seen.logits, labels, bounds if how.by_segment else [(0, ends[-1])])
    differences, unpacked = [], []
    for (a, b), m in zip(bounds, members, strict=True):
        logits, one = _kept(msgspec.json.encode(samples[m]), request.attention)
        differences.append(influence.largest_difference(seen.logits[:, a:b], logits))
        unpacked.append(one)
    return s.Pack(
        members=members,
        lengths=[b - a for a, b in bounds],
        keys=seen.keys(),
        position_rows=seen.position_rows(),
        use_cache=how.use_cache,
        differences=differences,
        largest_logit=float(seen.logits.detach().abs().max()),
        influence=influence.influence(seen, labels, bounds),
        loss=loss,
        supervised=supervised,
        unpacked=unpacked,
        tokens=influence.by_token(seen) if request.by_token else [],
        called=seen.called(),
    )


def _call(batch: s.Batch, how: How) -> dict[str, Any]:
    """What the model is called with, images left out."""
    import torch

    ints = batch.ints
    text = torch.tensor(ints["text_position_ids"])
    if not how.restarts:
        text = torch.arange(text.shape[1])[None]
    mrope = torch.tensor(ints["position_ids"])[[0, 2, 1] if how.wide_first else [0, 1, 2]]
    rows = {4: torch.cat([text[None], mrope]), 3: mrope, 1: text}
    cu = torch.tensor(ints["cu_seq_lens_q"] if how.bounded else [0, text.shape[1]], dtype=torch.int32)
    longest = ints["max_length_q"] if how.bounded else text.shape[1]
    call = {"input_ids": torch.tensor(ints["input_ids"]), "position_ids": rows[how.rows], "use_cache": how.use_cache}
    call |= {"cu_seq_lens_q": cu, "cu_seq_lens_k": cu, "max_length_q": longest, "max_length_k": longest}
    return {**call, "attention_mask": torch.ones_like(text)} if how.ones_mask else call


def _vision(samples: Sequence[s.Sample], grid: list[list[int]] | None) -> dict[str, Any]:
    """Grids and pixel rows, normalised as the image processor does."""
    import torch

    if not grid:
        return {}
    pixels = [picture.patches(picture.pixels(p.number, p.width, p.height))[1] for one in samples for p in one.pictures]
    rows = torch.cat([torch.tensor(p) for p in pixels]).float()
    return {"image_grid_thw": torch.tensor(grid), "pixel_values": (rows / 255 - 0.5) / 0.5}


@lru_cache(maxsize=10)  # the same samples by themselves, however a trainer calls the model on a pack of them
def _kept(key: bytes, attention: s.Attention) -> tuple[Any, s.Loss]:
    """`_unpacked` of a sample; attention: the kernel that the small model attends with now."""
    return _unpacked(msgspec.json.decode(key, type=s.Sample))


def _unpacked(sample: s.Sample) -> tuple[Any, s.Loss]:
    """One sample as inference would run it: a mask of ones, positions that the model computes by itself."""
    import torch

    small, encoded = model.hashed(), batches.encode_one(sample)
    ids = torch.tensor([encoded.input_ids])
    with torch.no_grad():
        call = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
        call |= model.token_types(small.forward, ids)
        logits = small(**call, **_vision([sample], encoded.grid)).logits
    loss, supervised = _loss(logits, model.row_of(torch.tensor(encoded.labels)), [(0, encoded.length)])
    return logits, s.Loss(loss, supervised)


def unpacked_loss(sample: s.Sample) -> s.Loss:
    """The loss of one sample by itself."""
    with model.one_thread():
        return _unpacked(sample)[1]


def _loss(logits: Any, labels: Any, bounds: Sequence[tuple[int, int]]) -> tuple[float, int]:
    """Mean cross-entropy over the supervised tokens of each stretch, the mean over stretches, and how many tokens."""
    import torch

    means, supervised = [], 0
    for a, b in bounds:
        means.append(torch.nn.functional.cross_entropy(logits[0, a : b - 1].detach(), labels[a + 1 : b]))
        supervised += int((labels[a + 1 : b] != batches.PROFILE.ignore_index).sum())
    return float(torch.stack(means).mean()), supervised
