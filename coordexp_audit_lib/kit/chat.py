"""A Qwen3-VL chat as tokens, with the labels that training takes: what the reference renders.

Tests of the packing and template boundaries show that it does so token for token as ms-swift's `qwen3_vl` template.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from coordexp_audit_lib.kit import picture, tokenizer
from coordexp_audit_lib.kit.profile import IGNORE_INDEX, QWEN3_VL

SLOT = "<image>"
ROLES = ("system", "user", "assistant")


def render(turns: Sequence[tuple[str, str]], grids: Sequence[Sequence[int]] = ()) -> tuple[list[int], list[int]]:
    """Ids and unshifted labels of a conversation.

    What is supervised: each assistant turn's text, its `<|im_end|>`, and the newline after it.

    Args:
        turns: (role, text); each `<image>` in a text that is not an assistant's stands for the next image.
        grids: of each image (t, h, w) in patches.

    Raises:
        ValueError: a role is unknown, or slots and images do not match in number.
    """
    slots = sum(text.count(SLOT) for role, text in turns if role != "assistant")
    if slots != len(grids):
        raise ValueError(f"{slots} image slots and {len(grids)} pictures")
    pads = map(QWEN3_VL.merged, grids)
    ids: list[int] = []
    labels: list[int] = []
    for role, text in turns:
        if role not in ROLES:
            raise ValueError(f"unknown role {role!r}")
        for piece, supervised in _pieces(role, text, pads):
            ids += piece
            labels += piece if supervised else [IGNORE_INDEX] * len(piece)
    return ids, labels


def conversation(turns: Sequence[Sequence[str]], pictures: Sequence[Mapping[str, int]] = ()) -> dict[str, Any]:
    """The same as ms-swift wants it: messages, and PIL images of `picture.pixels`.

    turns: (role, text). pictures: number, width and height in pixels of each.
    """
    return {
        "messages": [{"role": role, "content": text} for role, text in turns],
        "images": [picture.image(p["number"], p["width"], p["height"]) for p in pictures],
    }


def _pieces(role: str, text: str, pads: Iterator[int]) -> Iterator[tuple[list[int], bool]]:
    """Token pieces of one turn, each with whether it is supervised."""
    yield tokenizer.encode(f"<|im_start|>{role}\n"), False
    if role == "assistant":
        yield tokenizer.encode(text), True
        yield tokenizer.encode("<|im_end|>\n"), True
        return
    for part in re.split(f"({SLOT})", text):
        if part == SLOT:
            image = [tokenizer.VISION_START, *[tokenizer.IMAGE_PAD] * next(pads), tokenizer.VISION_END]
            yield image, False
        elif part:
            yield tokenizer.encode(part), False
    yield tokenizer.encode("<|im_end|>\n"), False
