"""The inputs that the checks of this boundary ask about. Prompts and records are our own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import msgspec

from coordexp_audit_lib.boundaries.template.contract import (
    FIELD_ORDERS,
    ORDERINGS,
    VARIANTS,
    EncodeRequest,
    PromptRequest,
    Record,
    Step,
    SwitchRequest,
)
from coordexp_audit_lib.boundaries.template.trace import Trace
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.kit import tokenizer

# Embedding rows of the published Qwen3-VL: more than its tokenizer has ids.
BASE_ROWS = 151_936
NEIGHBOURS = (
    "",
    " ",
    "  ",
    "\n",
    "\t",
    "a",
    "Z",
    "9",
    "é",
    "街",
    "\U0001f9ca",
    '"',
    "'",
    "[",
    "]",
    "{",
    "}",
    ",",
    ", ",
    ".",
    ":",
    "|",
    "<",
    ">",
    "<|",
    "|>",
    "<|coord_",
    "_0|>",
    "\\",
    "/",
    "-",
    "<|im_end|>",
    "<image>",
    "</think>",
    "0|>",
)
BINS_PER_TEXT = 15


def contexts() -> list[tuple[str, list[int]]]:
    """Texts with the bins that stand in them: every bin, each between neighbours of many kinds."""
    bins = itertools.cycle(range(tokenizer.COORD_BINS))
    found = []
    for before, after in zip(NEIGHBOURS * 2, NEIGHBOURS + NEIGHBOURS[1:] + NEIGHBOURS[:1], strict=True):
        chosen = list(itertools.islice(bins, BINS_PER_TEXT))
        found.append(("".join(f"{before}<|coord_{k}|>{after}" for k in chosen), chosen))
    every = list(range(tokenizer.COORD_BINS))
    found.append(("".join(f"<|coord_{k}|>" for k in every), every))
    boxes = [every[i : i + 4] for i in range(0, 400, 100)]
    items = [f'{{"desc": "cup", "bbox_2d": [{", ".join(f"<|coord_{k}|>" for k in b)}]}}' for b in boxes]
    found.append(('{"objects": [' + ", ".join(items) + "]}", [k for b in boxes for k in b]))
    return found


def prompt_requests() -> list[PromptRequest]:
    """Both orderings, both field orders, both prompt variants."""
    return [PromptRequest(o, f, v) for o, f, v in itertools.product(ORDERINGS, FIELD_ORDERS, VARIANTS)]


def setting(request: PromptRequest) -> str:
    """A prompt request's name, which is also the key of its pin."""
    return f"{request.ordering}/{request.field_order}/{request.variant}"


def pins(kind: str) -> dict[str, Trace]:
    """The pinned prompts of `reference` or of `coordexp` (measured at b46e74f), by setting."""
    text = (pipeline().reference.parent / "prompt_pins.json").read_text(encoding="utf-8")
    return msgspec.convert(json.loads(text)[kind], dict[str, Trace])


CUP, SIGN = ("cup", [12, 34, 256, 480]), ('"No entry!" said the sign {}', [300, 310, 640, 999])
SHIRT, STREET = ("t-shirt.", [0, 0, 999, 999]), ("Straße 街 \U0001f9ca", [5, 6, 7, 8])


def records() -> list[Record]:
    """Records of one and several objects, pictures of many sizes, and descs that end in what JSON goes on with."""
    return [
        Record([CUP]),
        Record([SHIRT, CUP], ((96, 64),)),
        Record([STREET], ((64, 160),)),
        Record([CUP, SIGN], ((128, 96), (64, 64))),
        Record([SHIRT], ((64, 128), (96, 96), (128, 64))),
        Record([(f"tile {k}", [k, k + 1, k + 10, k + 20]) for k in range(12)], ((224, 160),)),
    ]


def encode_requests() -> Iterator[tuple[str, EncodeRequest]]:
    """The records under a short and a long prompt, for both field orders."""
    for order in FIELD_ORDERS:
        yield f"short prompt, {order}", EncodeRequest(records(), "Locate.", "Every object.", order)
    long = "List what you see, from top to bottom. Use <|coord_0|> to <|coord_999|>.\n- No more.\n"
    yield "long prompt", EncodeRequest(records()[:3], long, "What is here? Say it as JSON: {}", "desc_first")


def state_walks() -> list[list[Step]]:
    """Steps with and without a system prompt of their own; some fail while they have it."""
    plain, other, broken = Step(), Step("Another system prompt."), Step("A third system prompt.", fails=True)
    return [
        [plain, other, plain],
        [plain, broken, plain],
        [broken, broken, plain, other, plain],
        [other, broken, other],
    ]


def switch_requests() -> list[SwitchRequest]:
    """The trainer's temporary states, alone and nested, from every starting state, left with and without an error."""
    nests: tuple[tuple[str, ...], ...] = (
        ("packing_off",),
        ("packing_on",),
        ("train",),
        ("packing_off", "train"),
        ("train", "packing_on", "packing_off"),
    )
    return [
        SwitchRequest(list(names), packing, mode, fails)
        for names in nests
        for packing in (False, True)
        for mode in ("train", "pt")
        for fails in (False, True)
    ]
