"""Against a local stub server that speaks the protocol: a 500, a hang, a cut body, wrong length, swapped order, a
missing field each give a named error; nothing is retried into a duplicate. Of a failed connection it should say whose.

A failure that is swallowed becomes an empty rollout, and the step then trains every object as missed. Answers in
another order are matched with other pictures. A request that is sent again while the server is still at work on it
takes the place of another one, and is drawn with the same seed.

Example: outputs in reverse order are noticed by the `uuid` that each answer echoes, also where prompts are alike."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import asdict, replace

from coordexp_audit_lib.boundaries.rollout import cases, predicates
from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P0",
    kind="B",
    remedy="Bound every read, check status, JSON, length and fields; send a `uuid` with each request and have a "
    "rollout scheduler on the server echo it, or send one request a call, so that another order is noticed.",
)
def server_truth(ctx: Context) -> Iterator[Problem]:
    for request in cases.server_requests():
        served = ctx.value(s.SERVER, request)
        subject = request.misdeed + (", prompts of the same tokens" if request.alike else "")
        ctx.judged()
        if not served.posts:
            ctx.left_out(subject, "no request reached the server")
        yield from predicates.told(predicates.server_problems(request, served), subject, asdict(request))


fault(
    server_truth,
    "sent_again",
    s.SERVER,
    "a request is sent again after a timeout, though the server may be at work on it",
)(
    lambda request, honest: replace(
        made := honest(request), posts=made.posts * 2 if request.misdeed == "hang" else made.posts
    )
)


@fault(server_truth, "order_trusted", s.SERVER, "answers are taken to stand in request order")
def order_trusted(request: s.ServerRequest, honest: Honest) -> s.Served:
    made: s.Served = honest(request)
    if request.misdeed != "swapped":
        return made
    return replace(made, error="", message="", outputs=list(range(request.requests))[::-1])


@fault(server_truth, "failure_is_empty", s.SERVER, "of a server that answers 500 the rollouts are empty")
def failure_is_empty(request: s.ServerRequest, honest: Honest) -> s.Served:
    made: s.Served = honest(request)
    return replace(made, error="", message="", outputs=[]) if request.misdeed == "status_500" else made


@fault(server_truth, "cut_body_read", s.SERVER, "of a body that was cut, what came is taken")
def cut_body_read(request: s.ServerRequest, honest: Honest) -> s.Served:
    made: s.Served = honest(request)
    return replace(made, error="", message="", outputs=[0]) if request.misdeed == "cut_body" else made
