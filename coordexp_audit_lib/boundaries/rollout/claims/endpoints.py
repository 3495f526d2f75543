"""The routes the launcher needs exist: `/health/`, `/infer/`, `/get_world_size/`, `/init_communicator/`.

A route that was renamed shows first in the middle of a run: the launcher waits for a server that is healthy under
another name, or weights are no longer pushed and the rollouts are those of an old policy, which the objective does not
account for. Routes are read from the installed server's source; it is not imported.

Example: a release that calls `/get_world_size/` `/world_size/` is found before a GPU is taken."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.source.routes import RoutesRequest


@claim(
    severity="P1",
    kind="S",
    remedy="Pin the ms-swift release whose server declares these routes, or follow the new names.",
)
def endpoints(ctx: Context) -> Iterator[Problem]:
    served = ctx.value(s.ROUTES_SERVED, s.RoutesServedRequest())
    for method, route in ctx.contract["rollout.routes_needed"]:
        ctx.judged()
        if (method, route) not in served.routes:
            message = f"{served.package} {served.version} declares no {method} {route}"
            where = Where(served.package, 0, route)
            yield Problem(message, route, [method, route], served.routes, where=where)
    if not ctx.answers(s.ROUTES_USED):
        ctx.left_out("routes that the tree names", "not in this tree")
        return
    known = sorted({route for _, route in served.routes})
    named = ctx.value(s.ROUTES_USED, RoutesRequest(ctx.contract["rollout.route_roots"])).used
    for use in named:
        ctx.judged()
        if use.route not in known:
            message = f"{use.path} names {use.route}, which {served.package} {served.version} does not declare"
            yield Problem(message, use.route, known, use.route, where=Where(use.path, use.line))
    if not named:
        ctx.left_out("routes that the tree names", "none is named in its source")
    ctx.fact("places in the tree that name a route", len(named))


fault(endpoints, "route_renamed", s.ROUTES_SERVED, "the server's release has another name for /get_world_size/")(
    answered(routes=lambda made: sorted((m, p.replace("/get_world", "/world")) for m, p in made.routes))
)
