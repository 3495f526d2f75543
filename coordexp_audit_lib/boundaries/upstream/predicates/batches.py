"""Batches of the template, and what the model does with their positions."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.upstream.surfaces import Collated, Rows, RowsRequest, Templated, TemplateRequest
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit import mrope
from coordexp_audit_lib.kit.profile import QWEN3_VL as QWEN  # the family whose template and model are asked

PATCH, PIXELS = QWEN.patch_size or 0, QWEN.pixel_width or 0


def names_and_shapes(request: TemplateRequest, made: Templated) -> Iterator[Problem]:
    """Names, shapes and dtypes of what the template encodes, packs and collates."""
    for i, keys in enumerate(made.keys):
        missing = {"input_ids", "labels", "length"} - set(keys)
        if missing:
            yield Problem(f"encode gives no {', '.join(sorted(missing))}", f"chat {i}", "", sorted(keys))
    missing = {"input_ids", "labels", "length", "position_ids"} - set(made.row)
    if missing:
        yield Problem(f"packing_row gives no {', '.join(sorted(missing))}", "the row", "", sorted(made.row))
    total, chats = sum(made.lengths), len(made.lengths)
    patches = sum(made.patches)
    packed = {
        "input_ids": ([1, total], "int64"),
        "labels": ([1, total], "int64"),
        "text_position_ids": ([1, total], "int64"),
        "position_ids": ([3, 1, total], "int64"),
        "cu_seq_lens_q": ([chats + 1], "int32"),
        "cu_seq_lens_k": ([chats + 1], "int32"),
        "pixel_values": ([patches, PIXELS], "float32"),
        "image_grid_thw": ([sum(map(len, request.sizes)), 3], "int64"),
    }
    yield from _tensors("the pack", made.packed, packed)
    if "attention_mask" in made.packed.shapes:
        message = "the pack has an attention mask, under which its segments are not isolated"
        yield Problem(message, "the pack", "no attention_mask", made.packed.shapes["attention_mask"])
    wide = max(made.lengths, default=0)
    padded = {k: ([chats, wide], "int64") for k in ("input_ids", "labels", "attention_mask")}
    yield from _tensors("the padded batch", made.padded, padded)


def _tensors(what: str, found: Collated, wanted: dict[str, tuple[list[int], str]]) -> Iterator[Problem]:
    for name, (shape, dtype) in wanted.items():
        if name not in found.shapes:
            yield Problem(f"{what} has no {name}", what, name, sorted(found.shapes))
        elif found.shapes[name] != shape or found.dtypes.get(name) != dtype:
            actual = [found.shapes[name], found.dtypes.get(name)]
            yield Problem(f"{name} of {what} is {actual}", what, [shape, dtype], actual, name)


def isolated_rows(request: RowsRequest, rows: Rows) -> Iterator[Problem]:
    """mRoPE of an image in a text, and isolation of packed segments under four rows of position ids."""
    wanted = rope_index(request)
    if rows.rope != wanted:
        yield Problem("get_rope_index gives other positions", "mRoPE", wanted, rows.rope, list(request.grid))
    delta = max(map(max, wanted)) + 1 - len(wanted[0])
    if rows.delta != delta:
        yield Problem("get_rope_index gives another delta", "mRoPE", delta, rows.delta, list(request.grid))
    for name, held in (("isolated", rows.isolated), ("blind", rows.blind)):
        if not held:
            what = "it has unpacked" if name == "isolated" else "it has after other tokens"
            message = f"under [4, 1, L] position_ids the last segment's logits are not those that {what}"
            yield Problem(message, "4-row position_ids", True, False, request.lengths)


def rope_index(request: RowsRequest) -> list[list[int]]:
    """T, H and W [3][L] of text, vision start, the image's merged patches, vision end, text."""
    text, merged = -1, QWEN.merged(request.grid)
    image = [QWEN.vision_start, *[QWEN.image_pad] * merged, QWEN.vision_end]
    rows: list[list[int]] = mrope.positions(
        [*[text] * request.before, *image, *[text] * request.after], QWEN, images=[request.grid]
    ).tolist()
    return rows
