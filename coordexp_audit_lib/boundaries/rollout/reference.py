"""The reference's answers: what a careful trainer does with its rollout servers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from coordexp_audit_lib.boundaries.rollout import client, collectives, planner, ranks, routes
from coordexp_audit_lib.boundaries.rollout.contract import (
    COLLECTIVES,
    DISPATCH,
    PARSE,
    PAYLOAD,
    REACH,
    ROUTES_SERVED,
    ROUTES_USED,
    SERVER,
    TIMEOUTS,
    TWO_RANKS,
    Dispatched,
    DispatchRequest,
    Outcome,
    Parsed,
    ParseRequest,
    Payload,
    PayloadRequest,
    RankRun,
    RanksEnded,
    RanksRequest,
    Reached,
    ReachRequest,
    RoutesServed,
    RoutesServedRequest,
    Sample,
    Served,
    ServerRequest,
    TimeoutOutcome,
    TimeoutsRead,
    TimeoutsRequest,
    Topology,
)
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.surface import Refuse, answers
from coordexp_audit_lib.kit import rollout_stub as stub
from coordexp_audit_lib.source.tree import Tree

OWN = Path(__file__).resolve().parent
SOURCES = pipeline().reference.parent / "reference_rollout"


@answers(PARSE)
def parse_response(request: ParseRequest) -> Parsed:
    return Parsed([_outcome(item) for item in request.items])


def _outcome(item: Any) -> Outcome:
    try:
        prompt, tokens, text = client.parse_item(item)
    except client.RolloutError as error:
        return Outcome(type(error).__name__, str(error))
    return Outcome(prompt_token_ids=prompt, token_ids=tokens, text=text)


def build(sample: Sample) -> dict[str, Any]:
    """One infer request: the conversation up to its last user turn, with images as texts.

    Raises:
        Refuse: there is no user turn, or an image is neither a path nor a URL.
    """
    turns = list(sample.turns)
    while turns and turns[-1][0] != "user":
        turns.pop()
    if not turns:
        raise Refuse("messages: there is no user turn to answer; give a prompt")
    for i, image in enumerate(sample.images):
        if image.kind not in ("path", "data_url", "url"):
            raise Refuse(f"images[{i}] is {image.kind}: give a path or a data URL", "TypeError")
    texts = [{"role": r, "content": [{"type": "text", "text": t}] if sample.parts else t} for r, t in turns]
    return {"messages": texts, "images": [i.value for i in sample.images]}


CONFIG = {"n": 1, "max_tokens": 64, "temperature": 0.0, "stop": ["<|im_end|>"], "return_details": True}


@answers(PAYLOAD)
def request_payload(request: PayloadRequest) -> Payload:
    made = build(request.sample)
    config = {**CONFIG, "seed": planner.seed_base(0, 0, 1)}
    payload = {"infer_requests": [made], "request_config": config}
    assert json.loads(json.dumps(payload, allow_nan=False)) == payload
    kept = list(request.sample.turns)[: len(made["messages"])]
    return Payload(kept, [made["images"]], config, [], sorted(payload))


@answers(DISPATCH)
def dispatch(request: DispatchRequest) -> Dispatched:
    return Dispatched([[_rank_run(case, r, request) for r in range(case.ranks)] for case in request.cases])


def _rank_run(case: Topology, rank: int, request: DispatchRequest) -> RankRun:
    if case.requests == 0:
        return RankRun([], [])
    try:
        calls = planner.plan(case, rank, request.seed, request.global_step)
    except Refuse as error:
        return RankRun([], [], f"{error.refusal.type}: {error.refusal.message}")
    return RankRun(calls, [n for c in calls for n in c.requests])


@answers(TIMEOUTS)
def timeouts(request: TimeoutsRequest) -> TimeoutsRead:
    read = []
    for pair in request.values:
        try:
            wait, infer = client.timeouts(pair.timeout_s, pair.infer_timeout_s)
            read.append(TimeoutOutcome(timeout_s=wait, infer_timeout_s=infer, posted=infer))
        except Refuse as error:
            read.append(TimeoutOutcome(error.refusal.type, error.refusal.message))
    return TimeoutsRead(read)


@answers(REACH)
def reach(request: ReachRequest) -> Reached:
    silent = () if request.trouble == "closed" else (request.trouble,)
    server = stub.Stub(silent=silent)
    if request.trouble == "closed":
        server.close()
    begun = time.monotonic()
    try:
        client.connect(server.url, request.timeout_s)
        error, message = "", ""
    except client.RolloutError as failure:
        error, message = type(failure).__name__, server.without_port(str(failure))
    bounded = time.monotonic() - begun < 3 * request.timeout_s + 2
    server.close()
    return Reached(error, message, bounded)


@answers(SERVER)
def served(request: ServerRequest) -> Served:
    begun = time.monotonic()
    with stub.Stub(request.misdeed) as server:
        requests = [build(Sample([("user", f"request {i}")])) for i in range(request.requests)]
        error, message, outputs = "", "", []
        try:
            items = client.infer(server.url, requests, CONFIG, request.infer_timeout_s)
            outputs = [tokens[-1] - 1000 for _, tokens, _ in items]
        except client.RolloutError as failure:
            error, message = type(failure).__name__, server.without_port(str(failure))
        bounded = time.monotonic() - begun < 3 * request.infer_timeout_s + 2
        return Served(error, message, outputs, server.posts, bounded)


@answers(TWO_RANKS)
def two_ranks(request: RanksRequest) -> RanksEnded:
    whole = request if request.metrics else RanksRequest(**{**_fields(request), "metrics": [{}, {}]})
    return ranks.run([ranks.program(whole, number) for number in (0, 1)])


def _fields(request: RanksRequest) -> dict[str, Any]:
    return {f: getattr(request, f) for f in request.__struct_fields__}


@answers(ROUTES_SERVED)
def routes_served(request: RoutesServedRequest) -> RoutesServed:
    """The stub's own routes: the reference's server."""
    known = [("GET", "/get_world_size/"), ("GET", "/health/"), ("POST", "/get_engine_type/"), ("POST", "/infer/")]
    return RoutesServed([*known, ("POST", "/init_communicator/")], "stub", "1")


@answers(ROUTES_USED)
def routes_used(request: routes.RoutesRequest) -> routes.Routes:
    return routes.used(Tree(SOURCES), request)


@answers(COLLECTIVES)
def collectives_of_the_reference(request: collectives.ScanRequest) -> collectives.Scan:
    """Those of the sources that come with the reference pipeline."""
    return collectives.scan(Tree(SOURCES), request)
