"""The claims of the rollout boundary about requests, responses, chunks, seeds and servers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.rollout import cases, predicates
from coordexp_audit_lib.boundaries.rollout.contract import (
    DISPATCH,
    PARSE,
    PAYLOAD,
    REACH,
    ROUTES_SERVED,
    ROUTES_USED,
    SERVER,
    TIMEOUTS,
    DispatchRequest,
    ParseRequest,
    PayloadRequest,
    RankRun,
    ReachRequest,
    RoutesServedRequest,
    ServerRequest,
    TimeoutsRequest,
    Topology,
    Trouble,
)
from coordexp_audit_lib.boundaries.rollout.predicates import Problem
from coordexp_audit_lib.boundaries.rollout.routes import RoutesRequest
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit.rollout_stub import MISDEEDS

SPEC = "openspec/specs/rollout-matching-sft/spec.md"
STAGE2_SPEC = "openspec/specs/stage2-ab-training/spec.md"
NEEDED = (("GET", "/health/"), ("POST", "/infer/"), ("GET", "/get_world_size/"), ("POST", "/init_communicator/"))
INFER_SECONDS = 0.5
REACH_SECONDS = 0.25
TROUBLES: tuple[Trouble, ...] = ("closed", "/health/", "/get_world_size/")


def violations(problems: Iterable[Problem], subject: str, counterexample: Any) -> Iterator[Violation]:
    """Problems of one case, with the input that shows them."""
    for p in problems:
        yield Violation(
            f"{subject}: {p.message}" if subject else p.message, subject, p.expected, p.actual, counterexample
        )


@invariant(
    "rollout.response_schema",
    boundary="rollout",
    severity="P0",
    kind="B",
    claim="`prompt_token_ids` and the choice's `token_ids` are required, typed int; anything missing, empty or "
    "mistyped is an error that names the field.",
    remedy="Check type, emptiness and every element before use; put the field's path into the error; coerce nothing.",
    spec=f"{SPEC} (Server mode produces token ids suitable for strict alignment)",
)
def response_schema(ctx: Context) -> Iterator[Violation]:
    every = list(cases.items())
    outcomes = ctx.value(PARSE, ParseRequest([c.item for c in every])).outcomes
    for case, outcome in zip(every, outcomes, strict=True):
        ctx.judged()
        yield from violations(predicates.response_problems(case, outcome), "", case.label)


@invariant(
    "rollout.request_schema",
    boundary="rollout",
    severity="P0",
    kind="B",
    claim="`return_details` is true; the payload survives JSON unchanged (no tuples, no tensors); trailing assistant "
    "turns are stripped; images by path or data URL.",
    remedy="Build the payload of JSON values only, cut the conversation after its last user turn, refuse a sample "
    "without one, and refuse image objects or encode them as data URLs.",
    spec=f"{SPEC} (Rollout generation supports vLLM backends)",
)
def request_schema(ctx: Context) -> Iterator[Violation]:
    for talk in cases.talks():
        answer = ctx.ask(PAYLOAD, PayloadRequest(talk.sample))
        ctx.judged()
        if answer.refusal is None:
            problems = list(predicates.payload_problems(talk, answer.value))
        elif talk.fits:
            problems = [Problem("a sample that can be posted is refused", "a payload", answer.refusal.message)]
        elif not answer.refusal.message.strip():
            problems = [Problem("a sample is refused without a reason", "a message", answer.refusal.type)]
        else:
            problems = []
        yield from violations(problems, talk.label, {"turns": [role for role, _ in talk.sample.turns]})


@invariant(
    "rollout.chunking",
    boundary="rollout",
    severity="P0",
    kind="B",
    claim="Contiguous, order-preserving, capped per rank and server; zero requests send nothing; the outputs come back "
    "in request order.",
    remedy="Give every rank an unbroken stretch of the servers' slots and fill it in request order; write each output "
    "at its request's index.",
    spec=f"{SPEC} (Multi-server request distribution; vLLM server mode derives per-rank request chunking)",
)
def chunking(ctx: Context) -> Iterator[Violation]:
    topologies = [*cases.small_topologies(), *cases.drawn_topologies(ctx.rng("topologies"), 60)]
    sent = 0
    for case, runs in _dispatched(ctx, DispatchRequest(topologies)):
        ctx.judged()
        sent += sum(len(c.requests) for r in runs for c in r.calls)
        yield from violations(predicates.dispatch_problems(case, runs), "", _named(case))
    ctx.fact("requests sent to stand-in servers", sent)


def _dispatched(ctx: Context, request: DispatchRequest) -> Iterator[tuple[Topology, list[RankRun]]]:
    yield from zip(request.cases, ctx.value(DISPATCH, request).runs, strict=True)


def _named(case: Topology) -> dict[str, Any]:
    return {f: getattr(case, f) for f in case.__struct_fields__}


@invariant(
    "rollout.seeds_nonzero",
    boundary="rollout",
    severity="P1",
    kind="B",
    claim="Per-request seeds are non-negative int32, non-zero, distinct, the same on rerun.",
    remedy="Derive each request's seed from the base and its index in the whole step, by a map into 1 … 2^31-1 that "
    "gives two indices one seed nowhere, and hand the index on through every level of chunks.",
    spec=f"{STAGE2_SPEC} (rollout_seed_base; per-request seeds); {SPEC} (Determinism, server mode)",
)
def seeds_nonzero(ctx: Context) -> Iterator[Violation]:
    """A request's seed is its call's seed plus its position in the call, as ms-swift's engine counts."""
    for request in cases.seed_requests():
        again = ctx.value(DISPATCH, msgspec.structs.replace(request, repeat=1)).runs
        for (case, runs), second in zip(_dispatched(ctx, request), again, strict=True):
            ctx.judged()
            shown = {"training_seed": request.seed, "global_step": request.global_step, **_named(case)}
            what = "one Channel-B step" if request.step == "train" else "one rollout"
            for run in runs:
                problems = list(predicates.seed_problems(run.calls))
                if run.error:
                    problems = [Problem("the rollout is refused", "calls with seeds", run.error)]
                yield from violations(problems, what, shown)
            if runs != second:
                yield from violations([Problem("a rerun sends other seeds", "equal calls", "different")], what, shown)


@invariant(
    "rollout.endpoints",
    boundary="rollout",
    severity="P1",
    kind="S",
    claim="The routes the launcher needs exist: `/health/`, `/infer/`, `/get_world_size/`, `/init_communicator/`.",
    remedy="Pin the ms-swift release whose server declares these routes, or follow the new names.",
    spec=f"{SPEC} (server endpoints); swift/llm/infer/rollout.py",
)
def endpoints(ctx: Context) -> Iterator[Violation]:
    """Routes are read from the installed server's source; it is not imported."""
    served = ctx.value(ROUTES_SERVED, RoutesServedRequest())
    for method, route in NEEDED:
        ctx.judged()
        if (method, route) not in served.routes:
            message = f"{served.package} {served.version} declares no {method} {route}"
            yield Violation(message, route, [method, route], served.routes, where=Where(served.package, 0, route))
    known = {route for _, route in served.routes}
    named = ctx.value(ROUTES_USED, RoutesRequest()).used
    for use in named:
        ctx.judged()
        if use.route not in known:
            message = f"{use.path} names {use.route}, which {served.package} {served.version} does not declare"
            yield Violation(message, use.route, sorted(known), use.route, where=Where(use.path, use.line))
    ctx.fact("places in the tree that name a route", len(named))


@invariant(
    "rollout.timeouts",
    boundary="rollout",
    severity="P1",
    kind="B",
    claim="`infer_timeout_s` null or ≤ 0 means none; `timeout_s` bounds the reachability wait.",
    remedy="Parse both keys in one place, refuse what is no number by the key's name, and give every request made "
    "while connecting a timeout.",
    spec=f"{SPEC} (Common server fields)",
)
def timeouts(ctx: Context) -> Iterator[Violation]:
    pairs = cases.timeout_values()
    outcomes = ctx.value(TIMEOUTS, TimeoutsRequest(pairs)).outcomes
    for pair, outcome in zip(pairs, outcomes, strict=True):
        ctx.judged()
        yield from violations(predicates.timeout_problems(pair, outcome), "", msgspec.to_builtins(pair))
    for trouble in TROUBLES:
        request = ReachRequest(trouble, REACH_SECONDS)
        reached = ctx.value(REACH, request)
        ctx.judged()
        what = "nothing listens" if trouble == "closed" else f"{trouble} is silent"
        if not reached.bounded:
            yield from violations(
                [Problem("the wait is not bounded", f"about {REACH_SECONDS} seconds", "longer")], what, trouble
            )
        if not reached.error or not reached.message.strip():
            yield from violations([Problem("connecting does not fail", "an error", reached.error)], what, trouble)


@invariant(
    "rollout.server_truth",
    boundary="rollout",
    severity="P0",
    kind="B",
    claim="Against a local stub server that speaks the protocol: a 500, a hang, a cut body, wrong length, swapped "
    "order, a missing field each give a named error; nothing is retried into a duplicate.",
    remedy="Bound every read, check status, JSON, length and fields; send a `uuid` with each request and have a "
    "rollout scheduler on the server echo it, or send one request a call, so that another order is noticed.",
    spec=f"{SPEC} (Rollout generation supports vLLM backends; actionable errors)",
)
def server_truth(ctx: Context) -> Iterator[Violation]:
    for request in server_requests():
        served = ctx.value(SERVER, request)
        ctx.judged()
        subject = request.misdeed + (", prompts of the same tokens" if request.alike else "")
        yield from violations(predicates.server_problems(request, served), subject, msgspec.to_builtins(request))


def server_requests() -> list[ServerRequest]:
    """Each misdeed on three requests; a swapped answer also where prompts do not tell requests apart."""
    every = [ServerRequest(m, 3, INFER_SECONDS) for m in MISDEEDS]
    return [*every, ServerRequest("swapped", 3, INFER_SECONDS, alike=True)]


# The claims about ranks are declared after those about servers.
from coordexp_audit_lib.boundaries.rollout import rank_invariants  # noqa: E402, F401
