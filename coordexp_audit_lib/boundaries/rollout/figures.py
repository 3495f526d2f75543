"""Data of the rollout figures: a request and its response, a chunk plan, misdeeds, timelines, seeds, collectives."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.rollout import cases, predicates
from coordexp_audit_lib.boundaries.rollout.collectives import ScanRequest
from coordexp_audit_lib.boundaries.rollout.contract import (
    COLLECTIVES,
    DISPATCH,
    PARSE,
    PAYLOAD,
    SERVER,
    TWO_RANKS,
    DispatchRequest,
    ParseRequest,
    PayloadRequest,
    Topology,
)
from coordexp_audit_lib.boundaries.rollout.invariants import server_requests
from coordexp_audit_lib.boundaries.rollout.rank_invariants import FAILURES, failures
from coordexp_audit_lib.core.claim import Context, exhibit

SHOWN = Topology(9, [1, 2, 1], 3, 2)
STEP = DispatchRequest([Topology(8, [1, 1], 1, 2)], 42, 100, "train")
MISDEEDS = {
    "none": "none: a sound answer",
    "status_500": "status 500",
    "hang": "no answer in time",
    "no_reply": "closes without an answer",
    "cut_body": "body is cut",
    "not_json": "body is not JSON",
    "not_a_list": "JSON, but no list",
    "error_object": "an error object as item",
    "too_few": "one output too few",
    "too_many": "one output too many",
    "swapped": "outputs in reverse order",
    "no_prompt_token_ids": "prompt_token_ids missing",
    "no_token_ids": "token_ids missing",
    "no_choices": "choices missing",
}
Line = tuple[str, str]  # one line of JSON, and the note that stands beside it


@exhibit("rollout.exchange")
def exchange(ctx: Context) -> dict[str, Any]:
    """What is posted for one sample with an image, and how an item of the answer is read."""
    (talk,) = [t for t in cases.talks() if t.label == "two paths"]
    payload = ctx.value(PAYLOAD, PayloadRequest(talk.sample))
    item = cases.good_item()
    every = [c.item for c in cases.items()]
    read = ctx.value(PARSE, ParseRequest(every)).outcomes[0]
    config = payload.config
    return {
        "request": [
            *_list(
                "infer_requests[0].messages",
                [{"role": r, "content": c} for r, c in payload.turns],
                "ends with the user's turn",
            ),
            *_list("infer_requests[0].images", payload.images[0], "paths or data URLs, never pixels"),
            *[(f"request_config.{k} = {_short(config[k])}", note) for k, note in CONFIG_NOTES.items() if k in config],
        ],
        "response": [
            (f"[0].prompt_token_ids = {_short(item['prompt_token_ids'])}", "must equal the prompt of the training row"),
            (f"[0].choices[0].token_ids = {_short(item['choices'][0]['token_ids'])}", "what is parsed and trained on"),
            (f"[0].choices[0].message.content = {_short(item['choices'][0]['message']['content'])}", "not trusted"),
            (f"[0].choices[0].finish_reason = {_short(item['choices'][0]['finish_reason'])}", ""),
        ],
        "read": {"prompt_token_ids": read.prompt_token_ids, "token_ids": read.token_ids, "error": read.error},
    }


CONFIG_NOTES = {
    "return_details": "else the answer has no token ids",
    "seed": "of the call's first request; the server counts on",
    "n": "one rollout a request",
    "temperature": "0 is greedy",
    "max_tokens": "the rollout ends here at the latest",
    "stop": "",
}


def _list(name: str, values: list[Any], note: str) -> list[Line]:
    """One line per element; the note stands at the last."""
    return [(f"{name}[{i}] = {_short(v)}", note if i == len(values) - 1 else "") for i, v in enumerate(values)]


def _short(value: Any, limit: int = 58) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


@exhibit("rollout.chunks")
def chunks(ctx: Context) -> dict[str, Any]:
    """Which requests of three ranks go to which of three servers, round by round."""
    (runs,) = ctx.value(DISPATCH, DispatchRequest([SHOWN])).runs
    calls = [
        {"rank": rank, "round": c.round, "server": c.server, "first": c.requests[0], "last": c.requests[-1]}
        for rank, run in enumerate(runs)
        for c in run.calls
    ]
    return {
        "requests": SHOWN.requests,
        "ranks": SHOWN.ranks,
        "servers": SHOWN.servers,
        "decode_batch_size": SHOWN.decode_batch_size,
        "caps": [SHOWN.decode_batch_size * size for size in SHOWN.servers],
        "rounds": 1 + max((c["round"] for c in calls), default=0),
        "calls": calls,
        "in_order": [run.outputs == list(range(SHOWN.requests)) for run in runs],
    }


@exhibit("rollout.seeds")
def seeds(ctx: Context) -> dict[str, Any]:
    """The calls of one Channel-B step of eight samples, with each request's seed."""
    ((run,),) = ctx.value(DISPATCH, STEP).runs
    each = predicates.request_seeds(run.calls)
    return {
        "calls": [[c.round, c.server, c.seed, c.requests] for c in run.calls],
        "seeds": each,
        "distinct": len(set(each)),
        "error": run.error,
    }


@exhibit("rollout.misdeeds")
def misdeeds(ctx: Context) -> dict[str, Any]:
    """How a rollout on each misbehaving server ends. `said`: the error says what happened."""
    rows = []
    for request in server_requests():
        served = ctx.value(SERVER, request)
        problems = {p.message for p in predicates.server_problems(request, served)}
        sent = [n for post in served.posts for n in post]
        rows.append(
            {
                "misdeed": MISDEEDS[request.misdeed] + (", prompts alike" if request.alike else ""),
                "error": served.error,
                "message": served.message,
                "raised": bool(served.error),
                "said": bool(served.error) and not any("does not say" in p for p in problems),
                "in_time": served.bounded,
                "once": len(set(sent)) == len(sent) or request.misdeed == "swapped",
                "posts": len(served.posts),
                "outputs": served.outputs,
                "sound": request.misdeed == "none",
            }
        )
    return {"rows": rows}


@exhibit("rollout.timeline")
def timeline(ctx: Context) -> dict[str, Any]:
    """What two ranks do in each failure, in each rank's own order; when in between is not told."""
    found = []
    for request in failures():
        ended = ctx.value(TWO_RANKS, request)
        name = FAILURES[request.scenario]
        if request.scenario == "before_metrics":
            name += f" ({request.reducer})"
        ranks = [{"events": r.events, "error": r.error, "message": r.message} for r in ended.ranks]
        found.append({"name": name, "ranks": ranks, "bounded": ended.bounded})
    return {"scenarios": found}


@exhibit("rollout.collectives")
def collectives(ctx: Context) -> dict[str, Any]:
    """Every collective that was judged."""
    found = ctx.value(COLLECTIVES, ScanRequest())
    return {"files": found.files, "collectives": [msgspec.to_builtins(c) for c in found.collectives]}
