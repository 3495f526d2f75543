"""The inputs that the checks of this boundary ask about. Prompts and records are our own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.template import surfaces as s
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.kit import tokenizer
from coordexp_audit_lib.kit.profile import PATCH, Profile, named

LETTERS, SIGNS = "\n\taZ9é街\U0001f9ca\"'[]{},", ".:|<>"
NEIGHBOURS = ("", " ", "  ", *LETTERS, ", ", *SIGNS, "<|", "|>", "<|coord_", "_0|>", *"\\/-", "<|im_end|>", "<image>")
NEIGHBOURS = (*NEIGHBOURS, "</think>", "0|>")
BINS_PER_TEXT = 15
ORDERS = ("desc_first",)  # of a record's fields, where the contract has none
BACKENDS = ("generate",)  # who generates, where the contract has none
SETTINGS = {"orderings": ("sorted",), "field_orders": ORDERS, "variants": ("default",)}
Part = tuple[Surface[Any, Any], str, Callable[[Context], Iterator[Any]]]  # a question, what it tells, who judges it


def profile(ctx: Context) -> Profile:
    """What the target's model family fixes, as its pipeline names it."""
    return named(ctx.contract["template.profile"])


def judged_parts(ctx: Context, *parts: Part) -> Iterator[Any]:
    """What each part's judge finds; a part whose surface the target does not answer is left out."""
    for surface, part, judge in parts:
        if ctx.answers(surface):
            with ctx.case(part):
                yield from judge(ctx)
        else:
            ctx.not_there(part, "not in this tree")


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


def prompt_requests(promised: Mapping[str, Any]) -> list[s.PromptRequest]:
    """Every setting of the pipeline's prompts: orderings of objects, orders of fields, variants."""
    names = (promised.get(f"template.{n}", default) for n, default in SETTINGS.items())
    return [s.PromptRequest(*setting) for setting in itertools.product(*names)]


def rollout_requests(promised: Mapping[str, Any]) -> Iterator[tuple[str, s.RolloutRequest]]:
    """Every setting of the prompts with every backend; the setting's name first."""
    for request in prompt_requests(promised):
        for backend in promised.get("template.backends", BACKENDS):
            asked = s.RolloutRequest(backend, request.ordering, request.field_order, request.variant)
            yield setting(request), asked


def setting(request: s.PromptRequest) -> str:
    """A prompt request's name, which is also the key of its pin."""
    return f"{request.ordering}/{request.field_order}/{request.variant}"


CUP, SIGN = ("cup", [12, 34, 256, 480]), ('"No entry!" said the sign {}', [300, 310, 640, 999])
SHIRT, STREET = ("t-shirt.", [0, 0, 999, 999]), ("Straße 街 \U0001f9ca", [5, 6, 7, 8])


def records() -> list[s.Record]:
    """Records of one and several objects, pictures of many sizes, and descs that end in what JSON goes on with."""
    return [
        s.Record([CUP]),
        s.Record([SHIRT, CUP], ((96, 64),)),
        s.Record([STREET], ((64, 160),)),
        s.Record([CUP, SIGN], ((128, 96), (64, 64))),
        s.Record([SHIRT], ((64, 128), (96, 96), (128, 64))),
        s.Record([(f"tile {k}", [k, k + 1, k + 10, k + 20]) for k in range(12)], ((224, 160),)),
    ]


def fitted(made: list[s.Record], promised: Mapping[str, Any]) -> list[s.Record]:
    """Records with pictures of as many patches as the family's are, so that none is resized."""
    patch = named(promised["template.profile"]).patch_size or PATCH
    if patch == PATCH:
        return made
    sizes = ([(w * patch // PATCH, h * patch // PATCH) for w, h in one.pictures] for one in made)
    return [msgspec.structs.replace(one, pictures=tuple(of)) for one, of in zip(made, sizes, strict=True)]


def encode_requests(promised: Mapping[str, Any]) -> Iterator[tuple[str, s.EncodeRequest]]:
    """The records under a short prompt, for each order of fields, and some under a long one."""
    orders = promised.get("template.field_orders", ORDERS)
    for order in orders:
        yield f"short prompt, {order}", s.EncodeRequest(fitted(records(), promised), "Locate.", "Every object.", order)
    long = "List what you see, from top to bottom. Use <|coord_0|> to <|coord_999|>.\n- No more.\n"
    yield (
        "long prompt",
        s.EncodeRequest(fitted(records()[:3], promised), long, "What is here? Say it as JSON: {}", orders[0]),
    )


def role_requests(promised: Mapping[str, Any]) -> Iterator[tuple[str, s.EncodeRequest]]:
    """Prompts that begin as the assistant's header goes on, told of who looks for answers by the word of the role."""
    order = promised.get("template.field_orders", ORDERS)[0]
    chosen = fitted(records()[:2], promised)
    yield (
        "a question that begins with the word assistant",
        s.EncodeRequest(chosen, "Locate.", "assistant\nWhich?", order),
    )
    yield "a system prompt that is the word assistant", s.EncodeRequest(chosen, "assistant", "Every object.", order)


def control_requests(promised: Mapping[str, Any]) -> Iterator[tuple[str, s.EncodeRequest]]:
    """Records whose desc spells a token that steers the chat: its end, or the place of an image."""
    order = promised.get("template.field_orders", ORDERS)[0]
    for sign in ("<|im_end|>", "<|image_pad|>"):
        record = s.Record([(f"a sign that says {sign}", [12, 34, 256, 480])], ((64, 64),))
        yield sign, s.EncodeRequest(fitted([record], promised), "Locate.", "Every object.", order)


def state_walks() -> list[list[s.Step]]:
    """Steps with and without a system prompt of their own; some fail while they have it."""
    plain, other, broken = s.Step(), s.Step("Another system prompt."), s.Step("A third system prompt.", fails=True)
    return [
        [plain, other, plain],
        [plain, broken, plain],
        [broken, broken, plain, other, plain],
        [other, broken, other],
    ]


def switch_requests() -> list[s.SwitchRequest]:
    """The trainer's temporary states, single and nested, from every starting state, left with and without an error."""
    nests: tuple[tuple[str, ...], ...] = (
        *(("packing_off",), ("packing_on",), ("train",)),
        *(("packing_off", "train"), ("train", "packing_on", "packing_off")),
    )
    starts = itertools.product(nests, (False, True), ("train", "pt"), (False, True))
    return [s.SwitchRequest(list(names), packing, mode, fails) for names, packing, mode, fails in starts]
