"""`infer_timeout_s` null or ≤ 0 means none; `timeout_s` bounds the reachability wait.

A timeout of 0 that is taken for no time at all fails every rollout, and the step falls back to what it does without
one; a wait without an end holds all ranks of a run at a server that will never answer, and its GPUs with them.

Example: `infer_timeout_s: 0` posts without a read timeout; a `/health/` that is mute ends the wait after
`timeout_s`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import asdict, replace

from coordexp_audit_lib.boundaries.rollout import cases, predicates
from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P1",
    kind="B",
    remedy="Parse both keys in one place, refuse what is no number by the key's name, and give every request made "
    "while connecting a timeout.",
)
def timeouts(ctx: Context) -> Iterator[Problem]:
    if ctx.answers(s.TIMEOUTS):
        pairs = cases.timeout_values()
        outcomes = ctx.value(s.TIMEOUTS, s.TimeoutsRequest(pairs)).outcomes
        for pair, outcome in zip(pairs, outcomes, strict=True):
            ctx.judged()
            yield from predicates.told(predicates.timeout_problems(pair, outcome), "", asdict(pair))
    else:
        ctx.left_out("the values of both keys", "not in this tree")
    if not ctx.answers(s.REACH):
        ctx.left_out("connecting to a server that is mute", "not in this tree")
        return
    for trouble in cases.TROUBLES:
        reached = ctx.value(s.REACH, s.ReachRequest(trouble, cases.REACH_SECONDS))
        ctx.judged()
        what = "nothing listens" if trouble == "closed" else f"{trouble} is silent"
        yield from predicates.told(predicates.reach_problems(reached, cases.REACH_SECONDS), what, trouble)


fault(timeouts, "zero_is_zero", s.TIMEOUTS, "an infer_timeout_s of 0 is a timeout of 0 seconds")(
    lambda request, honest: s.TimeoutsRead(
        [
            replace(o, infer_timeout_s=0.0, posted=0.0) if p.infer_timeout_s == 0 else o
            for p, o in zip(request.values, honest(request).outcomes, strict=True)
        ]
    )
)
fault(timeouts, "waits_for_ever", s.REACH, "a silent server is waited for without end")(
    lambda request, honest: honest(request) if request.trouble == "closed" else s.Reached("", "", False)
)
