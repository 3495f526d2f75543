"""Packed batches of ms-swift's template, through the project's own dataset wrapper, collator or post-rollout buffer."""

import tempfile
from typing import Any

from coordexp_audit_lib.kit import chat, replies, template
from coordexp_audit_lib.pipelines.api import binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.answers.packing.plans import Lengths, drained, packed
from coordexp_audit_lib.pipelines.coordexp.harness.trainer import world

PACKERS = {"build": symbols.STATIC_PACKER | symbols.STREAM_PACKER, "collator": symbols.PACK_COLLATOR}
POST_ROLLOUT = {"mixin": symbols.SEGMENT_BUFFER.optional, "select": symbols.SELECT_SEGMENTS.optional}


def encoded_samples(here, samples):
    """Each sample as the template encodes it, unpacked, with its number as `sample_id`."""
    made = world(here).template
    with template.packing(made, False):
        encoded = [
            here.call(made.encode, chat.conversation(s["turns"], s["pictures"]), return_length=True) for s in samples
        ]
    for i, sample in enumerate(encoded):
        sample["sample_id"] = i
    return encoded


@binds("packing.encode", wrapper=symbols.STREAM_PACKER)
def encode(request, here):
    images = world(here).template.processor.image_processor
    return replies.encoded(encoded_samples(here, request["samples"]), images)


@binds("packing.batch", **PACKERS, **POST_ROLLOUT)
def batch(request, here):
    made, samples = world(here).template, encoded_samples(here, request["samples"])
    extra = {"padding_to": request["padding_to"]} if request["padding_to"] else {}
    images = made.processor.image_processor
    with template.packing(made, True):
        found = packs(request, here, samples, lambda batch: made.data_collator(batch, **extra))
        return replies.batches(found, images)


@binds("packing.join", join=symbols.JOIN_SUFFIXES, row=symbols.SUFFIX_ROW)
def join(request, here):
    """As its trainer gives them: each row's tensors of the template's own encoding, with a batch dimension."""
    import torch

    images, rows = world(here).template.processor.image_processor, []
    for sample in encoded_samples(here, request["samples"]):
        given = {k: sample[k] for k in ("pixel_values", "image_grid_thw") if sample.get(k) is not None}
        given["input_ids"], labels = (torch.tensor([list(sample[k])]) for k in ("input_ids", "labels"))
        rows.append(here.row(model_inputs=given, labels=labels, steps=()))
    made, labels, _ = here.call(here.join, rows)
    counted = {k: torch.tensor(v, dtype=torch.int32) for k, v in made.items() if isinstance(v, int)}
    return replies.batches([(range(len(rows)), {**made, **counted, "labels": labels})], images)


def packs(request, here, samples, collate):
    """(numbers of the samples, collated batch) of each pack, by the path that the request names."""
    length = request["packing_length"]
    if request["path"] == "post_rollout":  # as the trainer does with its rollout segments
        segments: list[Any] = [(dict(s), {}, int(s["length"])) for s in samples]
        found = [([s for s, _, _ in pack], collate, False) for pack in drained(here, segments, length)]
    else:
        through = here.collator(world(here).template, collate)
        found = [(pack, through, True) for pack in wrapped(here, samples, length)]
    for pack, how, nested in found:
        yield [s["sample_id"] for s in pack], here.call(how, [pack] if nested else pack)


def wrapped(here, samples, length):
    """The packs of the project's dataset wrapper. Each holds copies: the collator takes fields out of samples."""
    with tempfile.TemporaryDirectory(dir=here.scratch) as cache:
        options = {"min_fill_ratio": 0.01, "drop_last": False, "packing_drop_last": False}
        made = packed(here, Lengths(samples), world(here).template, cache, packing_length=length, **options)
        return [made[i] for i in range(len(made))] if hasattr(made, "__len__") else list(made)
