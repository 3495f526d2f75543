"""Boundary 08: rollouts from a server, and ranks."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import parts
from parts import NotHere, of_tree, refusal


class _Reply:
    status_code, text = 200, ""

    def __init__(self, data: Any) -> None:
        self.data = data

    def json(self) -> Any:
        return json.loads(json.dumps(self.data))


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    number = int(re.findall(r"request (\d+)", json.dumps(request))[0])
    choice = {"message": {"content": f"answer {number}"}, "token_ids": [7, 1000 + number]}
    return {"choices": [choice], "prompt_token_ids": [1, 2, 3]}


def _connected(answer: Any, batch: int = 2, seed: int = 0, step: int = 0, names: Any = parts.ROLLOUT_TRAINER) -> Any:
    """A trainer in server mode on one server; `answer(requests)` is what its /infer/ says; posts are kept."""
    servers = [{"base_url": "http://server-7.test:8000", "group_port": 51216}]
    vllm = {"mode": "server", "enable_lora": False, "sync": {"mode": "full", "fallback_to_full": True}}
    vllm["server"] = {"servers": servers, "timeout_s": 5, "infer_timeout_s": 5, "debug_dump": {"enabled": False}}
    more = {"decode_batch_size": batch, "max_new_tokens": 64, "rollout_backend": "vllm", "vllm": vllm}
    decoding = {"temperature": 0.0, "top_p": 1.0, "top_k": -1}
    made = parts.trainer(names, whole=False, seed=seed, step=step, decoding=decoding, repetition_penalty=1.0, **more)
    posts: list[Any] = []

    def post(url: str, json: Any = None, timeout: Any = None, **_: Any) -> Any:
        posts.append(json)
        return _Reply(answer(json["infer_requests"]))

    made.template, made.processing_class = SimpleNamespace(system=None), SimpleNamespace(pad_token_id=151_643)
    made._stage2_skip_vllm_server_sync, made._vllm_server_last_synced_step = True, step
    made._vllm_server_last_logged_step = step
    made._vllm_server_client = SimpleNamespace(sessions=[SimpleNamespace(post=post)])
    made._vllm_server_cached_world_sizes = [1]
    return made, posts


def _samples(count: int) -> list[dict[str, Any]]:
    return [{"messages": [{"role": "user", "content": f"request {i}"}]} for i in range(count)]


def seeds_nonzero(tree: Path) -> tuple[bool, str]:
    """The seeds that the server is sent, and those that its requests count on to, in one rollout of seven requests."""
    made, posts = _connected(lambda requests: [_answer(r) for r in requests], batch=3, seed=2**31 - 2)
    made._rollout_many(_samples(7))
    calls = [(p["request_config"]["seed"], len(p["infer_requests"])) for p in posts]
    counted = [seed + i for seed, count in calls for i in range(count)]
    past, shared = [s for s in counted if s > 2**31 - 1], len(set(counted)) < len(counted)
    return bool(past) or shared, f"(seed, requests) of the calls: {calls}; past int32: {past}; shared: {shared}"


def server_truth(tree: Path) -> tuple[bool, str]:
    """Answers in another order, and a connection that breaks: does the error say at which server?"""
    swapped, _ = _connected(lambda requests: [_answer(r) for r in requests][::-1], batch=4)
    texts = [found[1] for found in swapped._rollout_many(_samples(3))]

    def broken(requests: Any) -> Any:
        raise ConnectionError("Connection aborted.")

    said = refusal(_connected(broken)[0]._rollout_many, _samples(1))
    return texts[
        0
    ] == "answer 2" and "server-7" not in said, f"swapped answers taken: {texts}; broken connection: {said}"


def request_schema(tree: Path) -> tuple[bool, str]:
    """A conversation of the assistant's answer alone, no user turn: what is sent?"""
    made, posts = _connected(lambda requests: [{**_answer({"m": "request 0"})} for _ in requests])
    made._rollout_many([{"messages": [{"role": "assistant", "content": "the answer"}]}])
    roles = [m["role"] for m in posts[0]["infer_requests"][0]["messages"]]
    return roles[-1] == "assistant", f"the server is sent turns of {roles}"


def response_schema(tree: Path) -> tuple[bool, str]:
    parse = of_tree(*parts.ROLLOUT_TRAINER)._parse_vllm_server_output

    def said(tokens: Any) -> str:
        return refusal(
            parse, {"choices": [{"message": {"content": "x"}, "token_ids": tokens}], "prompt_token_ids": [1]}
        )

    told = {str(tokens): said(tokens) for tokens in ([], [1, "2"], [True, 1], None)}
    taken = [tokens for tokens, text in told.items() if not text]
    return taken[:3] == ["[]", "[1, '2']", "[True, 1]"] and bool(told["None"]), f"token_ids accepted: {taken}"


def no_rank_conditional_collective(tree: Path) -> tuple[bool, str]:
    """Two ranks whose caches know the same keys; one of them met a new key since."""
    mixin = of_tree("src.trainers.metrics.mixins:AggregateTokenTypeMetricsMixin")
    if not hasattr(mixin, "_sync_dataset_metrics"):
        raise NotHere("no _sync_dataset_metrics")

    def body(rank: int, dist: Any) -> str:
        one = mixin.__new__(mixin)
        keys = ["a", "b"] if rank == 0 else ["a"]
        one.custom_metrics, one._dataset_metric_key_cache = {"train": dict.fromkeys(keys, 0)}, {"train": {"a"}}
        one._sync_dataset_metrics()
        return "done"

    ends = parts.on_two_ranks(body, 20.0)
    hung = "value" not in (ends[0] or {}) and (ends[1] or {}).get("value") == "done"
    return hung, f"rank 0, with a new key: {ends[0] or 'waits for ever'}; rank 1: {ends[1]}"


def fail_together(tree: Path) -> tuple[bool, str]:
    """The reduction of metrics on two ranks, of which only one has rollout counters."""
    made = parts.trainer(whole=False)
    given = [{"loss/x": 1.0, "rollout/parse_truncated": 1.0, "stage2/raw_rollouts": 2.0}, {"loss/x": 1.0}]

    def body(rank: int, dist: Any) -> list[str]:
        return sorted(made._reduce_stage2_pending_metrics_global(given[rank]))

    ends = [set((e or {}).get("value", [])) for e in parts.on_two_ranks(body, 60.0)]
    return ends[0] != ends[1], f"keys of one rank only: {sorted(ends[0] ^ ends[1])}"
