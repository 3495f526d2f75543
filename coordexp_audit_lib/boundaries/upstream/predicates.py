"""The predicates over what upstream does. Verdicts on names and signatures are in `verdict.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.upstream.contract import (
    Collated,
    ConfigRequest,
    Configured,
    Group,
    Rows,
    RowsRequest,
    Sample,
    Sent,
    Templated,
    TemplateRequest,
    TrainerRequest,
    Wiring,
)
from coordexp_audit_lib.boundaries.upstream.matrix import PINNED
from coordexp_audit_lib.boundaries.upstream.spec import Contract, Part
from coordexp_audit_lib.boundaries.upstream.verdict import Problem
from coordexp_audit_lib.core.finding import Violation

RATE = 1e-9  # learning rates and decays are passed through, not computed with


def judge_part(contract: Contract, version: str, part: Part, problems: list[Problem]) -> Iterator[Violation]:
    """What the pipeline relies on and the release does not have. What cannot be decided is no violation."""
    for problem in problems:
        if problem.kind != "undecidable":
            message = f"{contract.distribution} {version}: {part.symbol}: {problem.what}"
            expected = f"as in {contract.distribution} {PINNED.get(contract.distribution, '')}"
            yield Violation(message, f"{contract.title} ({contract.used})", expected, problem.kind, part.symbol)


def judge_groups(request: TrainerRequest, wiring: Wiring) -> Iterator[Violation]:
    """`create_optimizer` puts each trainable parameter in one group, with weight decay where the names say so."""
    yield from _partition("create_optimizer", wiring.names, wiring.groups)
    for group in wiring.groups:
        for name in group.names:
            decay = request.weight_decay if name in wiring.decay else 0.0
            yield from _number(f"create_optimizer: the weight decay of {name}", decay, group.weight_decay, name)
            yield from _number(f"create_optimizer: the rate of {name}", request.learning_rate, group.lr, name)


def judge_decay(wiring: Wiring) -> Iterator[Violation]:
    """Biases and norms get no weight decay, weights do."""
    for name in wiring.names:
        plain = not name.endswith("bias") and "norm" not in name
        if plain != (name in wiring.decay):
            what = "is left out of" if plain else "is in"
            yield Violation(f"{name} {what} the names that get weight decay", name, plain, not plain, name)


def judge_optimizer(request: TrainerRequest, wiring: Wiring) -> Iterator[Violation]:
    """The optimizer's class and keyword arguments are those of the training arguments."""
    wanted = {"lr": request.learning_rate, "betas": [request.beta1, request.beta2], "eps": request.epsilon}
    if wiring.optimizer != "AdamW" or wiring.kwargs != wanted:
        message = "get_optimizer_cls_and_kwargs does not give the arguments' optimizer"
        yield Violation(message, "adamw_torch", ["AdamW", wanted], [wiring.optimizer, wiring.kwargs])


def judge_wiring(request: TrainerRequest, rates: dict[str, float], wiring: Wiring) -> Iterator[Violation]:
    """The pipeline's own wiring: each parameter in one group, decay by the names, the rate that is set for its part.

    Args:
        rates: of each part, by a prefix of its parameters' names; the longest prefix counts.
    """
    if wiring.wiring is None:
        return
    yield from _partition("the pipeline's optimizer", wiring.names, wiring.wiring)
    for group in wiring.wiring:
        for name in group.names:
            part = max((p for p in rates if name.startswith(p)), key=len, default="")
            rate = rates[part] if part else request.learning_rate
            yield from _number(f"the pipeline's optimizer: the rate of {name}", rate, group.lr, name)
            if not name.startswith("coord_offset_adapter"):
                decay = request.weight_decay if name in wiring.decay else 0.0
                what = f"the pipeline's optimizer: the weight decay of {name}"
                yield from _number(what, decay, group.weight_decay, name)


def _partition(what: str, names: list[str], groups: list[Group]) -> Iterator[Violation]:
    grouped = sorted(n for g in groups for n in g.names)
    if grouped != sorted(names):
        odd = sorted(set(names) ^ set(grouped)) or sorted({n for n in grouped if grouped.count(n) > 1})
        yield Violation(f"{what} does not hold each trainable parameter once", what, sorted(names), grouped, odd)


def _number(what: str, wanted: float, found: float, name: str) -> Iterator[Violation]:
    if abs(wanted - found) > RATE:
        yield Violation(f"{what} is {found:g}, not {wanted:g}", name, wanted, found, name)


def judge_config(request: ConfigRequest, made: Configured) -> Iterator[Violation]:
    """Each setting arrives with its value and type, details are asked for, and JSON changes nothing."""
    wanted = {**msgspec.to_builtins(request), "return_details": True}
    for name, value in wanted.items():
        found = made.config.get(name)
        if found != value or type(found) is not type(value):
            yield Violation(f"RequestConfig.{name} is {found!r}, not {value!r}", name, value, found, {name: value})
    for name in sorted(set(made.sent) - set(made.config)):
        yield Violation(f"RequestConfig has no field {name}, which the pipeline gives", name, name, None)
    if made.again != made.config:
        odd = sorted(k for k in {*made.config, *made.again} if made.config.get(k) != made.again.get(k))
        yield Violation("a RequestConfig does not survive its own JSON", "", made.config, made.again, odd)


def judge_bare(made: Configured, defaults: dict[str, Any]) -> Iterator[Violation]:
    """A config that nothing was given has the defaults that are relied on."""
    for name, value in defaults.items():
        if name not in made.bare or made.bare[name] != value or type(made.bare[name]) is not type(value):
            message = f"RequestConfig().{name} is {made.bare.get(name, 'missing')!r}, not {value!r}"
            yield Violation(message, name, value, made.bare.get(name))


def judge_sent(sample: Sample, sent: Sent) -> Iterator[Violation]:
    """Messages and images arrive as they were sent, and the template finds a slot for each image."""
    images = sample.images if sample.images is not None else _inside(sample)
    shown = msgspec.to_builtins(sample)
    for what, wanted, found in (
        ("the messages that are posted", sample.messages, sent.payload.get("messages")),
        ("the messages of the server's request", sample.messages, sent.request.get("messages")),
        ("the images of the server's request", sample.images or [], sent.request.get("images")),
        ("the request after its own JSON", sent.request, sent.again),
        ("the images that the template finds", images, sent.images),
        ("the image slots in the prompt", len(images), sent.slots),
    ):
        if wanted != found:
            yield Violation(f"{what} are not what was sent", what, wanted, found, shown)
    if not all(isinstance(i, str) for i in sent.request.get("images") or []):
        yield Violation("an image of the server's request is no string", "images", "str", sent.request["images"], shown)


def _inside(sample: Sample) -> list[str]:
    """The images within messages, in their order."""
    items = [i for m in sample.messages if isinstance(m["content"], list) for i in m["content"]]
    return [i["image"] for i in items if i["type"] == "image"]


def judge_template(request: TemplateRequest, made: Templated) -> Iterator[Violation]:
    """Names, shapes and dtypes of what the template encodes, packs and collates."""
    for i, keys in enumerate(made.keys):
        missing = {"input_ids", "labels", "length"} - set(keys)
        if missing:
            yield Violation(f"encode gives no {', '.join(sorted(missing))}", f"chat {i}", "", sorted(keys))
    missing = {"input_ids", "labels", "length", "position_ids"} - set(made.row)
    if missing:
        yield Violation(f"packing_row gives no {', '.join(sorted(missing))}", "the row", "", sorted(made.row))
    total, chats = sum(made.lengths), len(made.lengths)
    patches = sum(made.patches)
    packed = {
        "input_ids": ([1, total], "int64"),
        "labels": ([1, total], "int64"),
        "text_position_ids": ([1, total], "int64"),
        "position_ids": ([3, 1, total], "int64"),
        "cu_seq_lens_q": ([chats + 1], "int32"),
        "cu_seq_lens_k": ([chats + 1], "int32"),
        "pixel_values": ([patches, 1536], "float32"),
        "image_grid_thw": ([sum(map(len, request.sizes)), 3], "int64"),
    }
    yield from _tensors("the pack", made.packed, packed)
    if "attention_mask" in made.packed.shapes:
        message = "the pack has an attention mask, under which its segments are not isolated"
        yield Violation(message, "the pack", "no attention_mask", made.packed.shapes["attention_mask"])
    wide = max(made.lengths, default=0)
    padded = {k: ([chats, wide], "int64") for k in ("input_ids", "labels", "attention_mask")}
    yield from _tensors("the padded batch", made.padded, padded)


def _tensors(what: str, found: Collated, wanted: dict[str, tuple[list[int], str]]) -> Iterator[Violation]:
    for name, (shape, dtype) in wanted.items():
        if name not in found.shapes:
            yield Violation(f"{what} has no {name}", what, name, sorted(found.shapes))
        elif found.shapes[name] != shape or found.dtypes.get(name) != dtype:
            actual = [found.shapes[name], found.dtypes.get(name)]
            yield Violation(f"{name} of {what} is {actual}", what, [shape, dtype], actual, name)


def judge_rows(request: RowsRequest, rows: Rows) -> Iterator[Violation]:
    """mRoPE of an image in a text, and isolation of packed segments under four rows of position ids."""
    wanted = mrope(request)
    if rows.rope != wanted:
        yield Violation("get_rope_index gives other positions", "mRoPE", wanted, rows.rope, list(request.grid))
    delta = max(map(max, wanted)) + 1 - len(wanted[0])
    if rows.delta != delta:
        yield Violation("get_rope_index gives another delta", "mRoPE", delta, rows.delta, list(request.grid))
    for name, held in (("isolated", rows.isolated), ("blind", rows.blind)):
        if not held:
            what = "it has alone" if name == "isolated" else "it has after other tokens"
            message = f"under [4, 1, L] position_ids the last segment's logits are not those that {what}"
            yield Violation(message, "4-row position_ids", True, False, request.lengths)


def mrope(request: RowsRequest) -> list[list[int]]:
    """T, H and W of text, vision start, the image's merged patches, vision end, text."""
    rows: list[list[int]] = [[], [], []]
    start = request.before + 1
    _, height, width = request.grid[0], request.grid[1] // 2, request.grid[2] // 2
    for at in range(start):
        for row in rows:
            row.append(at)
    for y in range(height):
        for x in range(width):
            for row, at in zip(rows, (start, start + y, start + x), strict=True):
                row.append(at)
    for at in range(request.after + 1):
        for row in rows:
            row.append(start + max(height, width) + at)
    return rows
