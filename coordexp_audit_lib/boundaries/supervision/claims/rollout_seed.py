"""The seed base is (training seed + step * 1000003) & 0x7FFFFFFF (1 where that is 0, which would mean no seed);
per-request seeds derive from it and the request index.

Rollouts are training data. Where their seeds do not follow the rule, the data of a step can't be made again; where
every call gets the same seed, equal prompts get equal rollouts, and the batch is smaller than it looks.

Example: with training seed 123, step 7 has the base 7000144, and its third request the seed 7000146."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.supervision import surfaces as s
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.schedule import STRIDE, request_seed, seed_base


@claim(
    severity="P1",
    root="rollout.seeds_nonzero",
    kind="B",
    remedy="Pass the index of a call's first request on to the server call, so that each call's seed is base + index.",
)
def rollout_seed(ctx: Context) -> Iterator[Problem]:
    rng = ctx.rng()
    pairs = [(0, 0), (17, 0), (0, 1), (123, 7), (2**31 - 1, 1), (42, 10**6)]
    pairs += [(rng.randrange(2**31), rng.randrange(10**6)) for _ in range(40)]
    for seed, step in pairs:
        ctx.judged()
        base, wanted = ctx.value(s.ROLLOUT_SEED, s.SeedRequest(seed, step)).base, seed_base(seed, step)
        if base not in (wanted, request_seed(wanted)):
            yield Problem("the seed base is not the one of the formula", f"seed {seed}, step {step}", wanted, base)
    for samples, chunk in ((3, 4), (6, 2), (5, 1)):
        yield from _of_calls(ctx, samples, chunk)


def _of_calls(ctx: Context, samples: int, chunk: int) -> Iterator[Problem]:
    base = ctx.value(s.ROLLOUT_SEED, s.SeedRequest(17, 5)).base
    calls = ctx.value(s.REQUEST_SEEDS, s.RequestSeedsRequest(17, 5, samples, chunk)).calls
    subject, views = f"{samples} requests, {chunk} a call", int(ctx.contract.get("supervision.views", 1))
    ctx.judged(len(calls))
    asked = sum(n for n, _ in calls)
    if asked != samples * views:
        yield Problem("a step's server calls do not ask for each rollout once", subject, samples * views, asked)
    # The views of a chunk follow each other; only one of them is sampled, so that they may share its index.
    starts = [sum(n for n, _ in calls[: i - i % views : views]) for i in range(len(calls))]
    wanted = [request_seed(base, start) for start in starts]
    sent = [seed for _, seed in calls]
    if sent != wanted:
        message = "the seeds of a step's server calls do not follow the request index"
        yield Problem(message, subject, [seed - base for seed in wanted], [seed - base for seed in sent])


fault(rollout_seed, "seed_without_mask", s.ROLLOUT_SEED, "The seed base is not brought into 31 bits.")(
    lambda request, honest: s.Seed(request.seed + request.step * STRIDE)
)
fault(rollout_seed, "one_seed_for_all", s.REQUEST_SEEDS, "Every server call of a step gets the seed base itself.")(
    answered(calls=lambda seeds: [(count, seeds.calls[0][1]) for count, _ in seeds.calls])
)
