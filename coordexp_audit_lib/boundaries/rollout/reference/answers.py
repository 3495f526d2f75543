"""The reference's answers: what a careful trainer does with its rollout servers."""

from __future__ import annotations

import json
import time
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.boundaries.rollout.reference import client, plan, ranks
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.surface import Refuse, answers
from coordexp_audit_lib.kit import rollout_stub as stub
from coordexp_audit_lib.kit.schedule import counted_base
from coordexp_audit_lib.source import collectives, routes
from coordexp_audit_lib.source.tree import Tree

SOURCES = pipeline().reference.parent / "reference_rollout"


@answers(s.PARSE)
def parse_response(request: s.ParseRequest) -> s.Parsed:
    return s.Parsed([_outcome(item) for item in request.items])


def _outcome(item: Any) -> s.Outcome:
    try:
        prompt, tokens, text = client.parse_item(item)
    except client.RolloutError as error:
        return s.Outcome(type(error).__name__, str(error))
    return s.Outcome(prompt_token_ids=prompt, token_ids=tokens, text=text)


def build(sample: s.Sample) -> dict[str, Any]:
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


@answers(s.PAYLOAD)
def request_payload(request: s.PayloadRequest) -> s.Payload:
    made = build(request.sample)
    config = {**CONFIG, "seed": counted_base(0, 0, 1)}
    payload = {"infer_requests": [made], "request_config": config}
    assert json.loads(json.dumps(payload, allow_nan=False)) == payload
    kept = list(request.sample.turns)[: len(made["messages"])]
    return s.Payload(kept, [made["images"]], config, [], sorted(payload))


@answers(s.DISPATCH)
def dispatch(request: s.DispatchRequest) -> s.Dispatched:
    return s.Dispatched([[_rank_run(case, r, request) for r in range(case.ranks)] for case in request.cases])


def _rank_run(case: s.Topology, rank: int, request: s.DispatchRequest) -> s.RankRun:
    if case.requests == 0:
        return s.RankRun([], [])
    try:
        calls = plan.calls(case, rank, request.seed, request.global_step)
    except Refuse as error:
        return s.RankRun([], [], f"{error.refusal.type}: {error.refusal.message}")
    return s.RankRun(calls, [n for c in calls for n in c.requests])


@answers(s.TIMEOUTS)
def timeouts(request: s.TimeoutsRequest) -> s.TimeoutsRead:
    read = []
    for pair in request.values:
        try:
            wait, infer = client.timeouts(pair.timeout_s, pair.infer_timeout_s)
            read.append(s.TimeoutOutcome(timeout_s=wait, infer_timeout_s=infer, posted=infer))
        except Refuse as error:
            read.append(s.TimeoutOutcome(error.refusal.type, error.refusal.message))
    return s.TimeoutsRead(read)


@answers(s.REACH)
def reach(request: s.ReachRequest) -> s.Reached:
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
    bounded = time.monotonic() - begun < server.patience
    server.close()
    return s.Reached(error, message, bounded)


@answers(s.SERVER)
def served(request: s.ServerRequest) -> s.Served:
    begun = time.monotonic()
    with stub.Stub(request.misdeed) as server:
        requests = [build(s.Sample([("user", f"request {i}")])) for i in range(request.requests)]
        error, message, outputs = "", "", []
        try:
            items = client.infer(server.url, requests, CONFIG, request.infer_timeout_s)
            outputs = [tokens[-1] - 1000 for _, tokens, _ in items]
        except client.RolloutError as failure:
            error, message = type(failure).__name__, server.without_port(str(failure))
        bounded = time.monotonic() - begun < server.patience
        return s.Served(error, message, outputs, server.posts, bounded)


@answers(s.TWO_RANKS)
def two_ranks(request: s.RanksRequest) -> s.RanksEnded:
    whole = replace(request, metrics=request.metrics or [{}, {}])
    return ranks.run([ranks.program(whole, number) for number in (0, 1)])


@answers(s.ROUTES_SERVED)
def routes_served(request: s.RoutesServedRequest) -> s.RoutesServed:
    """The stub's own routes: the reference's server."""
    known = [("GET", "/get_world_size/"), ("GET", "/health/"), ("POST", "/get_engine_type/"), ("POST", "/infer/")]
    return s.RoutesServed([*known, ("POST", "/init_communicator/")], "stub", "1")


@answers(s.ROUTES_USED)
def routes_used(request: routes.RoutesRequest) -> routes.Routes:
    return routes.used(Tree(SOURCES), request)


@answers(s.COLLECTIVES)
def collectives_of_the_reference(request: collectives.ScanRequest) -> collectives.Scan:
    """Those of the sources that come with the reference pipeline."""
    return collectives.scan(Tree(SOURCES), request)
