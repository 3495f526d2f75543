"""Inputs that the rollout claims are judged on."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.rollout.contract import MAX_INT32, DispatchRequest, Image, Sample, Timeouts, Topology

# One pixel.
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg"
    "=="
)


class Item(msgspec.Struct, frozen=True):
    """One item of a response. field: what an error must name; empty where the item is right or is no object at all."""

    label: str
    item: Any
    field: str = ""
    right: bool = False


def good_item() -> dict[str, Any]:
    """An item as ms-swift 3.10.3 sends it with `return_details`."""
    return {
        "model": "m",
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 0,
        "images_size": [[640, 480]],
        "prompt_token_ids": [151644, 872, 198],
        "usage": {"prompt_tokens": 3},
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "[]"},
                "finish_reason": "stop",
                "logprobs": None,
                "token_ids": [1294, 151645],
            }
        ],
    }


BAD_IDS: dict[str, Any] = {
    "null": None,
    "empty": [],
    "a text": "151644 872",
    "a mapping": {"0": 1},
    "a text among ints": [1, "2"],
    "a float among ints": [1, 2.5],
    "a null among ints": [1, None],
    "a bool among ints": [1, True],
    "nested": [[1, 2]],
}


def items() -> Iterator[Item]:
    """Right items, bare and in an envelope, then one thing wrong at a time."""
    yield Item("right", good_item(), right=True)
    yield Item("right, in an envelope", {"response": good_item(), "rollout_infos": {}}, right=True)
    for field in ("prompt_token_ids", "token_ids"):
        item, holder = _holder(field)
        del holder[field]
        yield Item(f"{field} missing", item, field)
        for label, value in BAD_IDS.items():
            item, holder = _holder(field)
            holder[field] = value
            yield Item(f"{field}: {label}", item, field)
    choices: dict[str, Any] = {"missing": None, "empty": [], "of null": [None], "a text": "x"}
    for label, value in choices.items():
        item = good_item()
        item["choices"] = value
        if label == "missing":
            del item["choices"]
        yield Item(f"choices {label}", item, "choice")
    odds: dict[str, Any] = {"null": None, "a list": [], "a text": "ok"}
    for label, odd in odds.items():
        yield Item(f"the item is {label}", odd)
    yield Item("an error object", {"object": "error", "message": "out of memory"}, "out of memory")


def _holder(field: str) -> tuple[dict[str, Any], dict[str, Any]]:
    item = copy.deepcopy(good_item())
    return item, item["choices"][0] if field == "token_ids" else item


class Talk(msgspec.Struct, frozen=True):
    """A sample, and how many of its turns are the prompt. fits: whether it can be posted as JSON text at all."""

    label: str
    sample: Sample
    prompt: int
    fits: bool = True


def talks() -> Iterator[Talk]:
    """Conversations of every shape, then images of every kind."""
    user, model, system = ("user", "Locate all. request 0"), ("assistant", '{"objects": []}'), ("system", "Be exact.")
    for label, turns in {
        "user": [user],
        "user, assistant": [user, model],
        "system, user, assistant": [system, user, model],
        "user, two assistants": [user, model, model],
        "two exchanges": [("user", "First."), model, user, model],
        "earlier assistant kept": [("user", "First."), model, user],
        "assistant alone": [model],
    }.items():
        last = max((i for i, (role, _) in enumerate(turns) if role == "user"), default=-1)
        for parts in (False, True):
            shown = f"{label}, contents as {'parts' if parts else 'text'}"
            yield Talk(shown, Sample(turns, parts=parts), last + 1, fits=last >= 0)
    both = [user, model]
    path, other = Image("path", "images/train2017/000000000009.jpg"), Image("path", "/data/été/b c.png")
    pixels = Image("data_url", PIXEL)
    yield Talk("two paths", Sample(both, [path, other]), 1)
    yield Talk("two paths in tuples", Sample(both, [path, other], parts=True, tuples=True), 1)
    yield Talk("a data URL", Sample(both, [pixels]), 1)
    yield Talk("a path and a data URL", Sample(both, [path, pixels]), 1)
    yield Talk("an image object", Sample(both, [Image("pil", "4x4")]), 1, fits=False)
    yield Talk("raw bytes", Sample(both, [Image("bytes", "89504e47")]), 1, fits=False)
    yield Talk("a path and an image object", Sample(both, [path, Image("pil", "4x4")]), 1, fits=False)


SERVER_SIZES = ([1], [2], [1, 1], [1, 2], [3, 1], [1, 1, 2])


def small_topologies() -> list[Topology]:
    """Every count of requests up to seven, on six sets of servers, for one to three ranks and two batch sizes."""
    every = itertools.product(range(8), SERVER_SIZES, (1, 2, 3), (1, 2))
    return [Topology(n, list(sizes), ranks, batch) for n, sizes, ranks, batch in every]


def drawn_topologies(rng: random.Random, count: int) -> list[Topology]:
    """Larger ones: up to four servers of up to eight GPUs, eight ranks, 64 requests a rank."""
    found = []
    for _ in range(count):
        sizes = [rng.choice((1, 2, 4, 6, 8)) for _ in range(rng.randint(1, 4))]
        found.append(Topology(rng.randint(0, 64), sizes, rng.randint(1, 8), rng.randint(1, 8)))
    return found


def seed_requests() -> list[DispatchRequest]:
    """Seeds and steps: ordinary ones, and bases at both ends of int32, as every 2,147 steps one comes near to it."""
    cases = [Topology(7, [1], 1, 3), Topology(6, [1, 2], 1, 1), Topology(5, [4], 1, 4)]
    ordinary = [(0, 0), (42, 0), (42, 1), (42, 50_000), (17, 2_147)]
    ends = [(MAX_INT32, 0), (MAX_INT32 - 2, 0), (2**31, 0), (2**32 - 1, 3)]
    found = [DispatchRequest(cases, seed, step) for seed, step in (*ordinary, *ends)]
    return [*found, DispatchRequest([Topology(5, [2], 1, 1), Topology(8, [1, 1], 1, 2)], 42, 100, "train")]


def timeout_values() -> list[Timeouts]:
    """Pairs of `timeout_s` and `infer_timeout_s`: right ones first, then what must be refused."""
    right = [(None, None), (240, None), (30.5, 0), (1, -1), (5, 0.0), (5, 600), (5, 0.25), (0.5, 1)]
    wrong = [(0, None), (-1, None), ("soon", None), (5, "never"), ([5], None), (5, {"s": 1})]
    return [Timeouts(a, b) for a, b in (*right, *wrong)]
