"""The reference's answers: the installed transformers, read and run; shipped facts for what is not installed here."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.upstream import contract as c
from coordexp_audit_lib.boundaries.upstream.facts import Ask, Seen
from coordexp_audit_lib.boundaries.upstream.launcher import Launcher, LauncherRequest, launcher
from coordexp_audit_lib.boundaries.upstream.matrix import PINNED, Matrix, MatrixRequest, packaged, shipped
from coordexp_audit_lib.boundaries.upstream.package import Package
from coordexp_audit_lib.boundaries.upstream.reading import see
from coordexp_audit_lib.boundaries.upstream.sources import open_source
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.surface import answers
from coordexp_audit_lib.kit import chat, four_rows, wiring
from coordexp_audit_lib.source.tree import Tree

TREE = pipeline().reference
STOP = "<|im_end|>"
PATCH, MERGED = 16, 32
DEFAULTS: dict[str, Any] = {
    "max_tokens": None,
    "temperature": None,
    "top_k": None,
    "top_p": None,
    "repetition_penalty": None,
    "num_beams": 1,
    "stop": [],
    "seed": None,
    "stream": False,
    "logprobs": False,
    "n": 1,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "return_details": False,
}


@answers(c.API)
def installed_or_shipped(request: c.ApiRequest) -> c.Api:
    """transformers is read where it is installed; of the others, the shipped observations of the pinned release."""
    if request.distribution == "transformers":
        package = _transformers()
        return c.Api(package.source.version, [see(package, ask) for ask in request.asks])
    kept = [s for seen in packaged().seen[request.distribution].values() for s in seen]
    return c.Api(PINNED[request.distribution], [_shipped(ask, kept) for ask in request.asks])


@lru_cache(maxsize=1)
def _transformers() -> Package:
    return Package(open_source("transformers"))


def _shipped(ask: Ask, kept: list[Seen]) -> Seen:
    """What was observed of a symbol for any contract, cut to what is asked."""
    mine = [s for s in kept if s.symbol == ask.symbol]
    if not mine:
        return Seen(ask.symbol, "undecided", why="it is not among the shipped observations")
    first = next((s for s in mine if s.levels is not None), mine[0])
    names = ("members", "words", "expressions", "keys")
    merged: dict[str, Any] = {n: sorted({x for s in mine for x in getattr(s, n)} & {*getattr(ask, n)}) for n in names}
    fields = {f.name: f for s in mine for f in s.fields if f.name in ask.fields}
    levels = first.levels if ask.call else None
    return msgspec.structs.replace(first, fields=list(fields.values()), levels=levels, **merged)


@answers(c.LAUNCHER)
def flags_of_the_reference(request: LauncherRequest) -> Launcher:
    return launcher(Tree(TREE), request)


@answers(c.MATRIX)
def shipped_matrix(request: MatrixRequest) -> Matrix:
    return shipped(None, request)


@answers(c.TRAINER)
def small_trainer(request: c.TrainerRequest) -> c.Wiring:
    """A real Trainer of the installed transformers, and this reference's own wiring on the same helpers."""
    settings = msgspec.to_builtins(request)
    with tempfile.TemporaryDirectory() as folder:
        found = wiring.facts(folder, settings)
    rates = {"visual": wiring.RATES["vit_lr"], "visual.merger": wiring.RATES["aligner_lr"]}
    groups = []
    for name in found["names"]:
        if name.startswith(wiring.OFFSETS):
            rate = request.embed_lr if "embed" in name else request.head_lr
            groups.append({"names": [name], "weight_decay": 0.0, "lr": rate})
            continue
        part = max((p for p in rates if name.startswith(p)), key=len, default="")
        decay = request.weight_decay if name in found["decay"] else 0.0
        groups.append({"names": [name], "weight_decay": decay, "lr": rates.get(part, request.learning_rate)})
    return msgspec.convert({**found, "wiring": groups}, c.Wiring)


@answers(c.CONFIG)
def request_config(request: c.ConfigRequest) -> c.Configured:
    sent = {**msgspec.to_builtins(request), "n": 1, "stop": [STOP], "return_details": True}
    config = {**DEFAULTS, **sent}
    return c.Configured(sent, config, msgspec.json.decode(msgspec.json.encode(config)), dict(DEFAULTS))


@answers(c.INFER)
def infer_requests(request: c.InferRequests) -> c.Requested:
    return c.Requested([_sent(sample) for sample in request.samples])


def _sent(sample: c.Sample) -> c.Sent:
    payload: dict[str, Any] = {"messages": sample.messages}
    if sample.images is not None:
        payload["images"] = sample.images
    made = {"messages": sample.messages, "images": sample.images or [], "uuid": None, "data_dict": {}}
    slots, inside = 0, []
    for message in sample.messages:
        content = message["content"]
        for item in content if isinstance(content, list) else [{"type": "text", "text": content}]:
            if item["type"] == "image":
                inside.append(item["image"])
                slots += 1
            else:
                slots += item["text"].count(chat.SLOT)
    again = msgspec.json.decode(msgspec.json.encode(made))
    return c.Sent(payload, made, again, slots, inside or list(sample.images or []))


@answers(c.TEMPLATE)
def template(request: c.TemplateRequest) -> c.Templated:
    """Lengths from the reference's own rendering; shapes and dtypes as of a padding-free pack."""
    lengths, patches = [], []
    for turns, sizes in zip(request.chats, request.sizes, strict=True):
        grids = [(1, height // PATCH, width // PATCH) for width, height in sizes]
        lengths.append(len(chat.render(turns, grids)[0]))
        patches.append(sum(h * w for _, h, w in grids))
    total, chats, wide = sum(lengths), len(lengths), max(lengths)
    image = {"pixel_values": [sum(patches), 1536], "image_grid_thw": [sum(map(len, request.sizes)), 3]}
    row = {k: [1, total] for k in ("input_ids", "labels", "text_position_ids")}
    ends = {k: [chats + 1] for k in ("cu_seq_lens_q", "cu_seq_lens_k")}
    packed = {**row, "position_ids": [3, 1, total], **ends, **image}
    padded = {k: [chats, wide] for k in ("input_ids", "labels", "attention_mask")} | image
    keys = ["input_ids", "labels", "length"]
    made = [[*keys, *(["image_grid_thw", "pixel_values"] if p else [])] for p in patches]
    return c.Templated(made, lengths, patches, [*keys, "position_ids"], _collated(packed), _collated(padded))


def _collated(shapes: dict[str, list[int]]) -> c.Collated:
    kinds = {"pixel_values": "float32", "cu_seq_lens_q": "int32", "cu_seq_lens_k": "int32"}
    return c.Collated(shapes, {k: kinds.get(k, "int64") for k in shapes})


@answers(c.ROWS)
def rows(request: c.RowsRequest) -> c.Rows:
    """The installed transformers' own model."""
    from coordexp_audit_lib.kit.model import one_thread, small

    with one_thread():
        found = four_rows.facts(small(), list(request.grid), request.before, request.after, request.lengths)
    return msgspec.convert(found, c.Rows)
