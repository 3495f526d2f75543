"""Inputs that the rollout claims are judged on."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.kit.rollout_stub import MISDEEDS

REACH_SECONDS, HANG_SECONDS, INFER_SECONDS = 0.25, 0.5, 20.0  # what is not waited out may take long on a slow machine
TROUBLES: tuple[s.Trouble, ...] = ("closed", "/health/", "/get_world_size/")
FAILURES: dict[s.Scenario, str] = {
    "not_ready": "rank 1 has no metrics to log",
    "weight_sync": "rank 0 cannot push weights to the server",
    "rollout_fails": "rank 1's server answers 500",
    "before_metrics": "rank 1 raises where metrics are reduced",
}
STEPS = 60
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
        "prompt_token_ids": [11, 872, 198],
        "usage": {"prompt_tokens": 3},
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "[]"},
                "finish_reason": "stop",
                "logprobs": None,
                "token_ids": [1294, 12],
            }
        ],
    }


BAD_IDS: dict[str, Any] = {
    "null": None,
    "empty": [],
    "a text": "11 872",
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
    sample: s.Sample
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
            yield Talk(shown, s.Sample(turns, parts=parts), last + 1, fits=last >= 0)
    both = [user, model]
    path, other = s.Image("path", "images/train2017/000000000009.jpg"), s.Image("path", "/data/été/b c.png")
    pixels = s.Image("data_url", PIXEL)
    yield Talk("two paths", s.Sample(both, [path, other]), 1)
    yield Talk("two paths in tuples", s.Sample(both, [path, other], parts=True, tuples=True), 1)
    yield Talk("a data URL", s.Sample(both, [pixels]), 1)
    yield Talk("a path and a data URL", s.Sample(both, [path, pixels]), 1)
    yield Talk("an image object", s.Sample(both, [s.Image("pil", "4x4")]), 1, fits=False)
    yield Talk("raw bytes", s.Sample(both, [s.Image("bytes", "89504e47")]), 1, fits=False)
    yield Talk("a path and an image object", s.Sample(both, [path, s.Image("pil", "4x4")]), 1, fits=False)


SERVER_SIZES = ([1], [2], [1, 1], [1, 2], [3, 1], [1, 1, 2])


def small_topologies() -> list[s.Topology]:
    """Every count of requests up to seven, on six sets of servers, for one to three ranks and two batch sizes."""
    every = itertools.product(range(8), SERVER_SIZES, (1, 2, 3), (1, 2))
    return [s.Topology(n, list(sizes), ranks, batch) for n, sizes, ranks, batch in every]


def drawn_topologies(rng: random.Random, count: int) -> list[s.Topology]:
    """Larger ones: up to four servers of up to eight GPUs, eight ranks, 64 requests a rank."""
    found = []
    for _ in range(count):
        sizes = [rng.choice((1, 2, 4, 6, 8)) for _ in range(rng.randint(1, 4))]
        found.append(s.Topology(rng.randint(0, 64), sizes, rng.randint(1, 8), rng.randint(1, 8)))
    return found


def seed_requests() -> list[s.DispatchRequest]:
    """Seeds and steps: ordinary ones, and bases at both ends of int32, as every 2,147 steps one comes near to it."""
    cases = [s.Topology(7, [1], 1, 3), s.Topology(6, [1, 2], 1, 1), s.Topology(5, [4], 1, 4)]
    ordinary = [(0, 0), (42, 0), (42, 1), (42, 50_000), (17, 2_147)]
    ends = [(s.MAX_INT32, 0), (s.MAX_INT32 - 2, 0), (2**31, 0), (2**32 - 1, 3)]
    found = [s.DispatchRequest(cases, seed, step) for seed, step in (*ordinary, *ends)]
    return [*found, s.DispatchRequest([s.Topology(5, [2], 1, 1), s.Topology(8, [1, 1], 1, 2)], 42, 100, "train")]


def timeout_values() -> list[s.Timeouts]:
    """Pairs of `timeout_s` and `infer_timeout_s`: right ones first, then what must be refused."""
    right = [(None, None), (240, None), (30.5, 0), (1, -1), (5, 0.0), (5, 600), (5, 0.25), (0.5, 1)]
    wrong = [(0, None), (-1, None), ("soon", None), (5, "never"), ([5], None), (5, {"s": 1})]
    return [s.Timeouts(a, b) for a, b in (*right, *wrong)]


def server_requests() -> list[s.ServerRequest]:
    """Each misdeed on three requests; a swapped answer also where prompts do not tell requests apart."""
    every = [s.ServerRequest(m, 3, HANG_SECONDS if m == "hang" else INFER_SECONDS) for m in MISDEEDS]
    return [*every, s.ServerRequest("swapped", 3, INFER_SECONDS, alike=True)]


def failures(reducers: Sequence[str]) -> Iterator[tuple[str, s.RanksRequest]]:
    """Every scenario in which one rank fails, with its name; where metrics are reduced, in every reducer."""
    for scenario, name in FAILURES.items():
        where = scenario == "before_metrics"
        for reducer in reducers if where else reducers[:1]:
            request = s.RanksRequest(scenario, reducer, [{"loss/ce": 1.0}, {"loss/ce": 2.0}])
            yield name + (f" ({reducer})" if where else ""), request


def reductions(reducers: Sequence[str], metrics: Sequence[list[dict[str, float]]]) -> Iterator[s.RanksRequest]:
    """The metrics of two ranks, one case after the other, in every reducer."""
    for reducer in reducers:
        for given in metrics:
            yield s.RanksRequest("metrics", reducer, given)
