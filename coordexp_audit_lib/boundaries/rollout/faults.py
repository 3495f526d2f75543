"""Known-bad clients, servers and ranks: one small break each, and the claims that must notice it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.rollout import client, collectives
from coordexp_audit_lib.boundaries.rollout.collectives import Scan, ScanRequest
from coordexp_audit_lib.boundaries.rollout.contract import (
    COLLECTIVES,
    DISPATCH,
    PARSE,
    PAYLOAD,
    REACH,
    ROUTES_SERVED,
    SERVER,
    TIMEOUTS,
    TWO_RANKS,
    Call,
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
    Served,
    ServerRequest,
    TimeoutsRead,
    TimeoutsRequest,
)
from coordexp_audit_lib.core.claim import fault
from coordexp_audit_lib.core.surface import Refuse

Honest = Callable[[Any], Any]


@fault(
    "rollout.coerced_ids",
    surface=PARSE,
    caught_by=("rollout.response_schema",),
    summary="token ids are made ints of whatever they are",
)
def coerced_ids(request: ParseRequest, honest: Honest) -> Parsed:
    def coerced(item: Any, outcome: Outcome) -> Outcome:
        try:
            return Outcome(token_ids=[int(t) for t in item["choices"][0]["token_ids"]], prompt_token_ids=[1])
        except (KeyError, TypeError, ValueError, IndexError):
            return outcome

    made: Parsed = honest(request)
    return Parsed(
        [
            coerced(i, o) if "choices[0].token_ids[" in o.message else o
            for i, o in zip(request.items, made.outcomes, strict=True)
        ]
    )


@fault(
    "rollout.field_not_named",
    surface=PARSE,
    caught_by=("rollout.response_schema",),
    summary="the error about a response says only that it is bad",
)
def field_not_named(request: ParseRequest, honest: Honest) -> Parsed:
    made: Parsed = honest(request)
    return Parsed([replace(o, message="bad response") if o.error else o for o in made.outcomes])


@fault(
    "rollout.no_details",
    surface=PAYLOAD,
    caught_by=("rollout.request_schema",),
    summary="return_details is left at its default",
)
def no_details(request: PayloadRequest, honest: Honest) -> Payload:
    made: Payload = honest(request)
    return replace(made, config={**made.config, "return_details": False})


@fault(
    "rollout.answer_in_prompt",
    surface=PAYLOAD,
    caught_by=("rollout.request_schema",),
    summary="the assistant's own answer stays in the prompt",
)
def answer_in_prompt(request: PayloadRequest, honest: Honest) -> Payload:
    made: Payload = honest(request)
    return replace(made, turns=list(request.sample.turns))


@fault(
    "rollout.tuples_posted",
    surface=PAYLOAD,
    caught_by=("rollout.request_schema",),
    summary="images are posted in the tuple that the dataset gave",
)
def tuples_posted(request: PayloadRequest, honest: Honest) -> Payload:
    made: Payload = honest(request)
    return replace(made, unsound=["payload.infer_requests[0].images: tuple"]) if request.sample.tuples else made


@fault(
    "rollout.image_object_posted",
    surface=PAYLOAD,
    caught_by=("rollout.request_schema",),
    summary="an image object is posted as its printed form",
)
def image_object_posted(request: PayloadRequest, honest: Honest) -> Payload:
    try:
        made: Payload = honest(request)
    except Refuse as error:
        if error.refusal.type != "TypeError":
            raise
        images = [replace(i, kind="path") for i in request.sample.images]
        made = honest(replace(request, sample=replace(request.sample, images=images)))
    return made


def redealt(request: DispatchRequest, honest: Honest, edit: Callable[[list[int], RankRun], RankRun]) -> Dispatched:
    """The honest plan, with each rank's run edited; `edit` gets the servers' sizes."""
    made: Dispatched = honest(request)
    return Dispatched([[edit(c.servers, r) for r in runs] for c, runs in zip(request.cases, made.runs, strict=True)])


@fault(
    "rollout.outputs_by_server",
    surface=DISPATCH,
    caught_by=("rollout.chunking",),
    summary="outputs are joined server by server instead of in request order",
)
def outputs_by_server(request: DispatchRequest, honest: Honest) -> Dispatched:
    def edit(sizes: list[int], run: RankRun) -> RankRun:
        calls = sorted(run.calls, key=lambda c: (c.server, c.round))
        return RankRun(run.calls, [n for c in calls for n in c.requests], run.error)

    return redealt(request, honest, edit)


@fault(
    "rollout.round_robin",
    surface=DISPATCH,
    caught_by=("rollout.chunking",),
    summary="requests are dealt to the servers one by one",
)
def round_robin(request: DispatchRequest, honest: Honest) -> Dispatched:
    def edit(sizes: list[int], run: RankRun) -> RankRun:
        every = [n for c in run.calls for n in c.requests]
        dealt = [every[s :: len(sizes)] for s in range(len(sizes))]
        return RankRun([Call(0, s, 1 + r[0], r) for s, r in enumerate(dealt) if r], run.outputs, run.error)

    return redealt(request, honest, edit)


@fault(
    "rollout.all_at_once",
    surface=DISPATCH,
    caught_by=("rollout.chunking",),
    summary="every rank sends everything in one round",
)
def all_at_once(request: DispatchRequest, honest: Honest) -> Dispatched:
    return redealt(
        request, honest, lambda _, run: RankRun([replace(c, round=0) for c in run.calls], run.outputs, run.error)
    )


@fault(
    "rollout.nothing_sent",
    surface=DISPATCH,
    caught_by=("rollout.chunking",),
    summary="a rank without requests asks the server for nothing",
)
def nothing_sent(request: DispatchRequest, honest: Honest) -> Dispatched:
    return redealt(request, honest, lambda _, run: run if run.calls or run.error else RankRun([Call(0, 0, 1, [])], []))


@fault(
    "rollout.zero_seed", surface=DISPATCH, caught_by=("rollout.seeds_nonzero",), summary="the first request's seed is 0"
)
def zero_seed(request: DispatchRequest, honest: Honest) -> Dispatched:
    return redealt(request, honest, lambda _, run: replace_seeds(run, lambda c: (c.seed or 1) - 1))


@fault(
    "rollout.one_seed",
    surface=DISPATCH,
    caught_by=("rollout.seeds_nonzero",),
    summary="every call of a step begins at the step's seed",
)
def one_seed(request: DispatchRequest, honest: Honest) -> Dispatched:
    return redealt(request, honest, lambda _, run: replace_seeds(run, lambda c: run.calls[0].seed))


@fault(
    "rollout.seed_by_clock", surface=DISPATCH, caught_by=("rollout.seeds_nonzero",), summary="a rerun draws other seeds"
)
def seed_by_clock(request: DispatchRequest, honest: Honest) -> Dispatched:
    return redealt(request, honest, lambda _, run: replace_seeds(run, lambda c: (c.seed or 0) + 100 * request.repeat))


@fault(
    "rollout.wide_seed", surface=DISPATCH, caught_by=("rollout.seeds_nonzero",), summary="seeds are not cut to int32"
)
def wide_seed(request: DispatchRequest, honest: Honest) -> Dispatched:
    base = request.seed + request.global_step * 1_000_003 + 1
    return redealt(request, honest, lambda _, run: replace_seeds(run, lambda c: base + c.requests[0]))


def replace_seeds(run: RankRun, seed: Callable[[Call], int | None]) -> RankRun:
    return RankRun([replace(c, seed=seed(c)) for c in run.calls], run.outputs, run.error)


@fault(
    "rollout.route_renamed",
    surface=ROUTES_SERVED,
    caught_by=("rollout.endpoints",),
    summary="the server's release has another name for /get_world_size/",
)
def route_renamed(request: RoutesServedRequest, honest: Honest) -> RoutesServed:
    made: RoutesServed = honest(request)
    renamed = [(m, "/world_size/" if p == "/get_world_size/" else p) for m, p in made.routes]
    return replace(made, routes=sorted(renamed))


@fault(
    "rollout.zero_is_zero",
    surface=TIMEOUTS,
    caught_by=("rollout.timeouts",),
    summary="an infer_timeout_s of 0 is a timeout of 0 seconds",
)
def zero_is_zero(request: TimeoutsRequest, honest: Honest) -> TimeoutsRead:
    made: TimeoutsRead = honest(request)
    return TimeoutsRead(
        [
            replace(o, infer_timeout_s=0.0, posted=0.0) if p.infer_timeout_s == 0 else o
            for p, o in zip(request.values, made.outcomes, strict=True)
        ]
    )


@fault(
    "rollout.waits_for_ever",
    surface=REACH,
    caught_by=("rollout.timeouts",),
    summary="a silent server is waited for without end",
)
def waits_for_ever(request: ReachRequest, honest: Honest) -> Reached:
    made: Reached = honest(request)
    return made if request.trouble == "closed" else Reached("", "", False)


@fault(
    "rollout.sent_again",
    surface=SERVER,
    caught_by=("rollout.server_truth",),
    summary="a request is sent again after a timeout, though the server may be at work on it",
)
def sent_again(request: ServerRequest, honest: Honest) -> Served:
    made: Served = honest(request)
    return replace(made, posts=made.posts * 2) if request.misdeed == "hang" else made


@fault(
    "rollout.order_trusted",
    surface=SERVER,
    caught_by=("rollout.server_truth",),
    summary="answers are taken to stand in request order",
)
def order_trusted(request: ServerRequest, honest: Honest) -> Served:
    made: Served = honest(request)
    if request.misdeed != "swapped":
        return made
    return replace(made, error="", message="", outputs=list(range(request.requests))[::-1])


@fault(
    "rollout.status_ignored",
    surface=SERVER,
    caught_by=("rollout.server_truth",),
    summary="every failure of the server is one error without a reason",
)
def status_ignored(request: ServerRequest, honest: Honest) -> Served:
    made: Served = honest(request)
    return replace(made, error=client.RolloutError.__name__, message="rollout failed") if made.error else made


@fault(
    "rollout.one_goes_on",
    surface=TWO_RANKS,
    caught_by=("rollout.fail_together",),
    summary="the rank without the error goes on with the step",
)
def one_goes_on(request: RanksRequest, honest: Honest) -> RanksEnded:
    made: RanksEnded = honest(request)
    if all(r.error for r in made.ranks):
        first = replace(made.ranks[0], error="", message="", events=[*made.ranks[0].events[:-1], "goes on"])
        return replace(made, ranks=[first, made.ranks[1]])
    return made


@fault(
    "rollout.left_waiting",
    surface=TWO_RANKS,
    caught_by=("rollout.fail_together",),
    summary="the other rank waits in a collective that never comes",
)
def left_waiting(request: RanksRequest, honest: Honest) -> RanksEnded:
    made: RanksEnded = honest(request)
    return replace(made, bounded=False) if all(r.error for r in made.ranks) else made


@fault(
    "rollout.own_keys",
    surface=TWO_RANKS,
    caught_by=("rollout.fail_together",),
    summary="each rank reports the metrics that it had itself",
)
def own_keys(request: RanksRequest, honest: Honest) -> RanksEnded:
    made: RanksEnded = honest(request)
    if request.scenario != "metrics":
        return made
    return replace(made, ranks=[replace(r, metrics=dict(m)) for r, m in zip(made.ranks, request.metrics, strict=True)])


@fault(
    "rollout.channels_differ",
    surface=TWO_RANKS,
    caught_by=("rollout.fail_together",),
    summary="rank 1 is one step ahead in the schedule",
)
def channels_differ(request: RanksRequest, honest: Honest) -> RanksEnded:
    made: RanksEnded = honest(request)
    shifted = [replace(r, channels=r.channels[i:] + r.channels[:i]) for i, r in enumerate(made.ranks)]
    return replace(made, ranks=shifted)


PLANTED = {
    "main_only": (
        "only rank 0 comes to the barrier",
        "def save(self):\n    if self.is_world_process_zero():\n        self.write()\n        dist.barrier()\n",
    ),
    "early_return": (
        "all ranks but the first return before the broadcast",
        "def load(rank, box):\n    if rank != 0:\n        return None\n    dist.broadcast_object_list(box, src=0)\n",
    ),
    "through_helper": (
        "a method that reduces is called by the main process only",
        "class T:\n    def total(self, x):\n        dist.all_reduce(x)\n\n    def log(self, x):\n"
        "        first = self.accelerator.is_main_process\n        if first:\n            self.total(x)\n",
    ),
    "own_data": (
        "whether keys are gathered depends on the keys that are gathered",
        "def sync(self, cache):\n    keys = sorted(self.metrics)\n    new = set(keys) - cache\n    if not new:\n"
        "        return\n    every = [None] * dist.get_world_size()\n    dist.all_gather_object(every, keys)\n",
    ),
}


def _planted(source: str) -> Callable[[ScanRequest, Honest], Scan]:
    def apply(request: ScanRequest, honest: Honest) -> Scan:
        made: Scan = honest(request)
        found = collectives.scan_module(ast.parse(source), "src/planted.py")
        return Scan([*made.collectives, *found], made.files + 1)

    return apply


for _name, (_summary, _source) in PLANTED.items():
    fault(
        f"rollout.collective_{_name}",
        surface=COLLECTIVES,
        caught_by=("rollout.no_rank_conditional_collective",),
        summary=_summary,
    )(_planted(_source))
