"""Packing plans: who answers in a CoordExp tree. Standard library only at import time; the rest is the target's own.

Two stand-ins: the dataset, whose samples carry a `length` and nothing else, and the template, an object with two flags.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from typing import Any
from unittest import mock

from coordexp_audit_lib.pipelines.api import Refused, binds
from coordexp_audit_lib.pipelines.coordexp import symbols


class Lengths:
    """A map-style dataset of samples that carry their length."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return dict(self.samples[index])


def numbered(lengths):
    return [{"length": int(n), "index": i} for i, n in enumerate(lengths)]


class Flags:
    """What the wrappers ask of a template."""

    packing = False
    padding_free = False


def as_rank(rank, build):
    """Call `build` with the rank in the environment, where the project reads it outside torch.distributed."""
    with mock.patch.dict(os.environ, RANK=str(rank)):
        return build()


def share_of(rank, world, packs, drop_last):
    """The packs of one rank: what ms-swift's own sampler yields there, unshuffled."""
    from swift.llm.data_loader import BatchSamplerShard

    place = {"rank": property(lambda self: rank), "world_size": property(lambda self: world)}
    shard = type("Shard", (BatchSamplerShard,), place)
    return [i for batch in shard(packs, 1, False, drop_last, None) for i in batch]


@binds("packing.plan", build=symbols.STATIC_PACKER)
def plan(request, here):
    world, drop_last = request["world_size"], request["dataloader_drop_last"]
    with tempfile.TemporaryDirectory(dir=here.scratch) as cache:
        wanted = dict(
            packing_length=request["packing_length"],
            min_fill_ratio=request["min_fill_ratio"],
            packing_drop_last=request["drop_last"],
            dataloader_drop_last=drop_last,
            allow_single_long=request["allow_single_long"],
            cache_dir=cache,
            fingerprint={"asked_by": "audit"},
            world_size=world,
            train_dataloader_shuffle=False,
            wait_timeout_s=5.0,
            length_precompute_workers=1,
        )
        wanted = here.fitting(here.build, **wanted)
        made = [
            as_rank(r, lambda: here.call(here.build, Lengths(numbered(request["lengths"])), Flags(), **wanted))
            for r in range(world)
        ]
    first = made[0]
    return {
        "packs": first.raw_plan,
        "aligned": [[s["index"] for s in first[i]] for i in range(len(first))],
        "ranks": [share_of(r, world, len(d), drop_last) for r, d in enumerate(made)],
        "rank_digests": [digest(d.pack_plan) for d in made],
        "repeated": list(first.repeated_pack_indices),
        "single_long": first.single_long,
        "skipped_long": first.skipped_long,
        "dropped": dropped_of(first),
    }


def dropped_of(dataset):
    """The pipeline's own count of samples that it dropped as underfill, under the names it might have."""
    for name in ("dropped_samples", "dropped", "num_dropped", "dropped_underfilled"):
        if isinstance(getattr(dataset, name, None), int):
            return getattr(dataset, name)
    return None


def digest(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


@binds("packing.stream", build=symbols.STREAM_PACKER)
def stream(request, here):
    counted: dict[str, int] = {}
    made = here.call(
        here.build,
        Lengths(numbered(request["lengths"])),
        Flags(),
        packing_length=request["packing_length"],
        buffer_size=request["buffer_size"],
        min_fill_ratio=request["min_fill_ratio"],
        drop_last=request["drop_last"],
        allow_single_long=request["allow_single_long"],
    )
    told: Any = getattr(made, "_emit_epoch_stats", None)

    def listen(packs, fill, single, skipped):
        counted.update(single=single, skipped=skipped)
        told(packs, fill, single, skipped)

    if told is not None:
        made._emit_epoch_stats = listen
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
    asked = here.fitting(here.select, min_fill_ratio=request["min_fill_ratio"])  # as the tree's own trainer passes it
    return {"chosen": [list(here.call(here.select, list(b), length, **asked)) for b in request["buffers"]]}


@binds("packing.drain", mixin=symbols.EXECUTOR_MIXIN, select=symbols.SELECT_SEGMENTS)
def drain(request, here):
    segments: list[Any] = [({}, {"index": i}, n) for i, n in enumerate(request["lengths"])]
    packs = drained(here, segments, request["packing_length"], request["buffer_cap"])
    return {"packs": [[m["index"] for _, m, _ in pack] for pack in packs]}


def drained(here, segments, packing_length, cap=0):
    """The packs that the trainer's own append and pop give for these segments."""
    state = {
        "_select_post_rollout_segment_indices": staticmethod(here.select),
        "_packing_length": lambda self: packing_length,
        "_packing_buffer_cap": lambda self: cap,
        "_packing_min_fill_ratio": lambda self: 0.5,
    }
    trainer = type("Trainer", (here.mixin,), state)()
    here.call(trainer._stage2_append_post_rollout_segments, channel="B", segments=segments)
    packs = []
    while trainer._stage2_post_rollout_buffer(channel="B"):
        pack, _ = here.call(trainer._stage2_pop_post_rollout_pack, channel="B")
        if not pack:
            raise Refused("NoProgress", "the post-rollout buffer gave an empty pack")
        packs.append(pack)
    return packs
