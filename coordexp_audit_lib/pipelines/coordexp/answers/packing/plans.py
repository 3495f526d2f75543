"""Packing plans: who answers in a CoordExp tree. Standard library only at import time; the rest is the target's own.

Two stand-ins: the dataset, whose samples carry a `length` and nothing else, and the template, an object with two flags.
"""

import json
import os
import tempfile
from typing import Any
from unittest import mock

from coordexp_audit_lib.pipelines.api import Refused, binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.harness.configs import sha
from coordexp_audit_lib.pipelines.coordexp.harness.trainer import quiet_bases


class Lengths:
    """A map-style dataset of samples that carry their length."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return dict(self.samples[index])


def numbered(lengths):
    return Lengths([{"length": int(n), "index": i} for i, n in enumerate(lengths)])


class Flags:
    """What the wrappers ask of a template."""

    packing = False
    padding_free = False


def packed(here, samples, template, cache, *, rank=0, world=1, **options):
    """The project's packed dataset on a rank: outside torch.distributed it reads that from the environment."""
    options.update(cache_dir=cache, world_size=world, length_precompute_workers=1, fingerprint={"asked_by": "audit"})
    with mock.patch.dict(os.environ, RANK=str(rank)):
        return here.ask(here.build, samples, template, **options)


def share_of(rank, world, packs, drop_last):
    """The packs of one rank: what ms-swift's own sampler yields there, unshuffled."""
    from swift.llm.data_loader import BatchSamplerShard

    place = {"rank": property(lambda self: rank), "world_size": property(lambda self: world)}
    shard = type("Shard", (BatchSamplerShard,), place)
    return [i for batch in shard(packs, 1, False, drop_last, None) for i in batch]


@binds("packing.plan", build=symbols.STATIC_PACKER)
def plan(request, here):
    world, drop_last = request["world_size"], request["dataloader_drop_last"]
    options = {name: request[name] for name in ("packing_length", "min_fill_ratio", "allow_single_long")}
    options.update(packing_drop_last=request["drop_last"], dataloader_drop_last=drop_last, wait_timeout_s=5.0)
    options.update(train_dataloader_shuffle=False, world=world)
    with tempfile.TemporaryDirectory(dir=here.scratch) as cache:
        made = [packed(here, numbered(request["lengths"]), Flags(), cache, rank=r, **options) for r in range(world)]
    first = made[0]
    return {
        "packs": first.raw_plan,
        "aligned": [[s["index"] for s in first[i]] for i in range(len(first))],
        "ranks": [share_of(r, world, len(d), drop_last) for r, d in enumerate(made)],
        "rank_digests": [sha(json.dumps(d.pack_plan)) for d in made],
        "repeated": list(first.repeated_pack_indices),
        "single_long": first.single_long,
        "skipped_long": first.skipped_long,
        "dropped": dropped_of(first),
    }


def dropped_of(dataset):
    """The pipeline's own count of samples that it dropped as underfill, under the names it might have."""
    counts = (getattr(dataset, n, None) for n in ("dropped_samples", "dropped", "num_dropped", "dropped_underfilled"))
    return next((count for count in counts if isinstance(count, int)), None)


@binds("packing.stream", build=symbols.STREAM_PACKER)
def stream(request, here):
    counted: dict[str, int] = {}
    options = {name: value for name, value in request.items() if name not in ("lengths", "repeat")}
    made = here.call(here.build, numbered(request["lengths"]), Flags(), **options)
    told: Any = getattr(made, symbols.EPOCH_STATS.member, None)

    def listen(packs, fill, single, skipped):
        counted.update(single=single, skipped=skipped)
        told(packs, fill, single, skipped)

    if told is not None:
        setattr(made, symbols.EPOCH_STATS.member, listen)
    packs = here.call(list, made)
    return {
        "packs": [[s["index"] for s in pack] for pack in packs],
        "single_long": counted.get("single"),
        "skipped_long": counted.get("skipped"),
        "dropped": dropped_of(made),
    }


@binds("packing.select", select=symbols.SELECT_SEGMENTS)
def select(request, here):
    length = request["packing_length"]
    fill = request["min_fill_ratio"]  # as the tree's own trainer passes it
    return {"chosen": [list(here.ask(here.select, list(b), length, min_fill_ratio=fill)) for b in request["buffers"]]}


@binds("packing.drain", mixin=symbols.SEGMENT_BUFFER, select=symbols.SELECT_SEGMENTS)
def drain(request, here):
    segments: list[Any] = [({}, {"index": i}, n) for i, n in enumerate(request["lengths"])]
    packs = drained(here, segments, request["packing_length"], request["buffer_cap"])
    return {"packs": [[m["index"] for _, m, _ in pack] for pack in packs]}


def drained(here, segments, packing_length, cap=0):
    """The packs that the trainer's own append and pop give for these segments."""
    state = {
        symbols.SELECT_SEGMENTS.member: staticmethod(here.select),
        "_packing_length": lambda self: packing_length,
        "_packing_buffer_cap": lambda self: cap,
        "_packing_min_fill_ratio": lambda self: 0.5,
    }
    cls = type("Trainer", (here.mixin,), state)
    with quiet_bases(cls):
        trainer = cls()
    by_channel = hasattr(trainer, "_stage2_append_post_rollout_segments")
    named = {"channel": "B"} if by_channel else {}  # before Stage 2 had two
    prefix = "_stage2_" if by_channel else "_"
    append, pop = (getattr(trainer, prefix + n) for n in ("append_post_rollout_segments", "pop_post_rollout_pack"))

    def waiting():
        return trainer._stage2_post_rollout_buffer(**named) if by_channel else trainer._post_rollout_segments

    here.call(append, segments=segments, **named)
    packs = []
    while waiting():
        pack, _ = here.call(pop, **named)
        if not pack:
            raise Refused("NoProgress", "the post-rollout buffer gave an empty pack")
        packs.append(pack)
    return packs
