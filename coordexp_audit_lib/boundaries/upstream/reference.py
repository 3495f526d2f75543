"""The reference's answers: the installed transformers, read and run; shipped facts for what is not installed here."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.upstream import surfaces as s
from coordexp_audit_lib.boundaries.upstream.artifact.launcher import Launcher, LauncherRequest, launcher
from coordexp_audit_lib.boundaries.upstream.artifact.matrix import Matrix, MatrixRequest, packaged, shipped
from coordexp_audit_lib.boundaries.upstream.artifact.releases import open_source
from coordexp_audit_lib.boundaries.upstream.cases import DEFAULTS
from coordexp_audit_lib.boundaries.upstream.predicates.batches import PATCH, PIXELS
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.surface import answers
from coordexp_audit_lib.kit import chat, four_rows, wiring
from coordexp_audit_lib.source.facts import Ask, Seen
from coordexp_audit_lib.source.observed import see
from coordexp_audit_lib.source.package import Package
from coordexp_audit_lib.source.tree import Tree

TREE = pipeline().reference
STOP = "<|im_end|>"


@answers(s.API)
def installed_or_shipped(request: s.ApiRequest) -> s.Api:
    """transformers is read where it is installed; of the others, the shipped observations of the pinned release."""
    if request.distribution == "transformers":
        package = installed_transformers()
        return s.Api(package.source.version, [see(package, ask) for ask in request.asks])
    kept = [one for seen in packaged().seen[request.distribution].values() for one in seen]
    version = pipeline().contract()["upstream.pinned"][request.distribution]
    return s.Api(version, [_shipped(ask, kept) for ask in request.asks])


@lru_cache(maxsize=1)
def installed_transformers() -> Package:
    """The release at hand, read once."""
    return Package(open_source("transformers"))


def _shipped(ask: Ask, kept: list[Seen]) -> Seen:
    """What was observed of a symbol for any contract, cut to what is asked."""
    mine = [k for k in kept if k.symbol == ask.symbol]
    if not mine:
        return Seen(ask.symbol, "undecided", why="it is not among the shipped observations")
    first = next((k for k in mine if k.levels is not None), mine[0])
    names = ("members", "words", "expressions", "keys")
    merged: dict[str, Any] = {n: sorted({x for k in mine for x in getattr(k, n)} & {*getattr(ask, n)}) for n in names}
    fields = {f.name: f for k in mine for f in k.fields if f.name in ask.fields}
    levels = first.levels if ask.call else None
    return msgspec.structs.replace(first, fields=list(fields.values()), levels=levels, **merged)


@answers(s.LAUNCHER)
def flags_of_the_reference(request: LauncherRequest) -> Launcher:
    return launcher(Tree(TREE), request)


@answers(s.MATRIX)
def shipped_matrix(request: MatrixRequest) -> Matrix:
    return shipped(None, request)


@answers(s.TRAINER)
def small_trainer(request: s.TrainerRequest) -> s.Wiring:
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
    return msgspec.convert({**found, "wiring": groups}, s.Wiring)


@answers(s.CONFIG)
def request_config(request: s.ConfigRequest) -> s.Configured:
    sent = {**msgspec.to_builtins(request), "n": 1, "stop": [STOP], "return_details": True}
    config = {**DEFAULTS, **sent}
    return s.Configured(sent, config, msgspec.json.decode(msgspec.json.encode(config)), dict(DEFAULTS))


@answers(s.INFER)
def infer_requests(request: s.InferRequests) -> s.Requested:
    return s.Requested([_sent(sample) for sample in request.samples])


def _sent(sample: s.Sample) -> s.Sent:
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
    return s.Sent(payload, made, again, slots, inside or list(sample.images or []))


@answers(s.TEMPLATE)
def template(request: s.TemplateRequest) -> s.Templated:
    """Lengths from the reference's own rendering; shapes and dtypes as of a padding-free pack."""
    lengths, patches = [], []
    for turns, sizes in zip(request.chats, request.sizes, strict=True):
        grids = [(1, height // PATCH, width // PATCH) for width, height in sizes]
        lengths.append(len(chat.render(turns, grids)[0]))
        patches.append(sum(h * w for _, h, w in grids))
    total, chats, wide = sum(lengths), len(lengths), max(lengths)
    image = {"pixel_values": [sum(patches), PIXELS], "image_grid_thw": [sum(map(len, request.sizes)), 3]}
    row = {k: [1, total] for k in ("input_ids", "labels", "text_position_ids")}
    ends = {k: [chats + 1] for k in ("cu_seq_lens_q", "cu_seq_lens_k")}
    packed = {**row, "position_ids": [3, 1, total], **ends, **image}
    padded = {k: [chats, wide] for k in ("input_ids", "labels", "attention_mask")} | image
    keys = ["input_ids", "labels", "length"]
    made = [[*keys, *(["image_grid_thw", "pixel_values"] if p else [])] for p in patches]
    return s.Templated(made, lengths, patches, [*keys, "position_ids"], _collated(packed), _collated(padded))


def _collated(shapes: dict[str, list[int]]) -> s.Collated:
    kinds = {"pixel_values": "float32", "cu_seq_lens_q": "int32", "cu_seq_lens_k": "int32"}
    return s.Collated(shapes, {k: kinds.get(k, "int64") for k in shapes})


@answers(s.ROWS)
def rows(request: s.RowsRequest) -> s.Rows:
    """The installed transformers' own model."""
    from coordexp_audit_lib.kit.model import one_thread, small

    with one_thread():
        found = four_rows.facts(small(), list(request.grid), request.before, request.after, request.lengths)
    return msgspec.convert(found, s.Rows)
