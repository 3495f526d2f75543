"""The claims of boundary 07 on schedule and seeds, and on Channel-A's soft self-context loop."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor

from coordexp_audit_lib.boundaries.supervision import inputs
from coordexp_audit_lib.boundaries.supervision.contract import (
    CHANNEL_A,
    CHANNEL_B,
    HELPER_KEYS,
    REQUEST_SEEDS,
    ROLLOUT_SEED,
    SCHEDULE,
    ChannelA,
    ChannelARequest,
    RequestSeedsRequest,
    ScheduleRequest,
    SeedRequest,
)
from coordexp_audit_lib.boundaries.supervision.roles import is_coordinate
from coordexp_audit_lib.boundaries.supervision.schedule import blocks_of
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.finding import Violation

BOUNDARY = "supervision"
SPEC = "openspec/specs/stage2-ab-training/spec.md"
STEPS = 1_000_000
SHARES = ((0.0, 50_000), (1.0, 50_000), (0.85, STEPS), (1 / 3, 200_000), (0.05, 50_000), (0.5, 50_000))


@invariant(
    "supervision.schedule",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Step s runs Channel-B exactly when floor((s+1)b) > floor(s b): over a million steps, across resume, for b "
    "at 0, 1 and between.",
    remedy="Derive the channel from the step alone, by the two floors.",
    spec=f"{SPEC}: schedule.b_ratio",
)
def schedule(ctx: Context) -> Iterator[Violation]:
    for b, steps in SHARES:
        request = ScheduleRequest(b, [0, 1, steps // 3, steps // 2 + 7, steps])
        answer = ctx.value(SCHEDULE, request)
        wanted = blocks_of(b, 0, steps, request.block)
        ctx.judged(steps)
        if answer.b_steps != floor(steps * b):
            yield Violation("the number of Channel-B steps is off", f"b = {b:.4g}", floor(steps * b), answer.b_steps)
        bad = next((i for i, (x, y) in enumerate(zip(answer.blocks, wanted, strict=False)) if x != y), None)
        if bad is not None or len(answer.blocks) != len(wanted):
            start = (bad or 0) * request.block
            detail = ctx.value(SCHEDULE, ScheduleRequest(b, [start, start + request.block], detail=True)).positions
            right = [s for s in range(start, start + request.block) if floor((s + 1) * b) > floor(s * b)]
            first = min(set(detail) ^ set(right), default=start)
            yield Violation(
                "a step runs the wrong channel",
                f"b = {b:.4g}, step {first}",
                "B" if first in right else "A",
                "B" if first in detail else "A",
                {"b": b, "step": first},
            )


@invariant(
    "supervision.rollout_seed",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="The seed base is (training seed + step * 1000003) & 0x7FFFFFFF (1 where that is 0, which would mean no "
    "seed); per-request seeds derive from it and the request index.",
    remedy="Pass the index of a call's first request on to the server call, so that each call's seed is base + index.",
    spec=f"{SPEC}: Channel-B rollout seeding is deterministic and logged",
)
def rollout_seed(ctx: Context) -> Iterator[Violation]:
    rng = ctx.rng()
    pairs = [(0, 0), (17, 0), (0, 1), (123, 7), (2**31 - 1, 1), (42, 10**6)]
    pairs += [(rng.randrange(2**31), rng.randrange(10**6)) for _ in range(40)]
    for seed, step in pairs:
        ctx.judged()
        base, wanted = ctx.value(ROLLOUT_SEED, SeedRequest(seed, step)).base, (seed + step * 1_000_003) & 0x7FFFFFFF
        if base != wanted and not (wanted == 0 and base == 1):
            yield Violation("the seed base is not the one of the formula", f"seed {seed}, step {step}", wanted, base)
    for samples, chunk in ((3, 4), (6, 2), (5, 1)):
        base = ctx.value(ROLLOUT_SEED, SeedRequest(17, 5)).base
        calls = ctx.value(REQUEST_SEEDS, RequestSeedsRequest(17, 5, samples, chunk)).calls
        starts = [sum(n for n, _ in calls[:i]) for i in range(len(calls))]
        wanted_seeds = [(base + s) & 0x7FFFFFFF or 1 for s in starts]
        ctx.judged(len(calls))
        if [s for _, s in calls] != wanted_seeds:
            yield Violation(
                "the seeds of a step's server calls do not follow the request index",
                f"{samples} requests, {chunk} a call",
                [s - base for s in wanted_seeds],
                [s - base for _, s in calls],
            )


def _passes(ctx: Context) -> Iterator[tuple[str, ChannelARequest, ChannelA]]:
    for name, request in inputs.channel_a():
        yield name, request, ctx.value(CHANNEL_A, request)


def channel_a_coordinates(ctx: Context) -> Iterator[Violation]:
    """In Channel-A no row that predicts a coordinate has a gradient on ordinary columns (judged by coord_out_of_ce)."""
    for name, _, answer in _passes(ctx):
        before = {p - 1 for p in answer.slots}
        for n, one in enumerate(answer.passes):
            ctx.judged(len(before))
            reached = sorted(before & set(one.text_rows))
            if reached:
                yield Violation("cross-entropy reaches a coordinate slot", f"{name}, forward {n}", [], reached[:5])


@invariant(
    "supervision.softctx_forwards",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Channel-A runs exactly n_softctx_iter forwards, updates coordinate-slot embeddings only (all other rows "
    "bitwise equal) from the logits at p-1, and passes exactly one of ids and embeddings, without cache.",
    remedy="Rebuild the embeddings from the ids in every iteration and scatter the expectation into the slots only.",
    spec=f"{SPEC}: Channel-A performs iterative soft self-context",
)
def softctx_forwards(ctx: Context) -> Iterator[Violation]:
    for name, request in inputs.channel_a():
        found = ctx.ask(CHANNEL_A, request)
        if found.content is None:
            ctx.judged()
            what = f"{found.refusal.type}: {found.refusal.message[:200]}" if found.refusal else ""
            yield Violation("a step of Channel-A is refused", name, "a loss", what)
            continue
        answer = found.content
        if len(answer.passes) != request.n_iter:
            yield Violation("the number of forwards is wrong", name, request.n_iter, len(answer.passes))
        for n, one in enumerate(answer.passes):
            ctx.judged()
            where = f"{name}, forward {n}"
            if one.ids == one.embeds:
                yield Violation("not exactly one of ids and embeddings", where, "one", [one.ids, one.embeds])
            if one.use_cache or one.past:
                yield Violation("a forward uses the cache", where, False, True)
            wanted = answer.slots if n else []
            if one.changed != wanted:
                yield Violation("other rows than the coordinate slots changed", where, wanted[:8], one.changed[:8])
            if n and (one.update_error is None or one.update_error > 1e-4):
                actual = [one.update_error, one.update_error_unshifted]
                yield Violation("the slots are not the expectation under the logits at p-1", where, "< 0.0001", actual)


@invariant(
    "supervision.ce_from_first_forward",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Text cross-entropy uses the first forward's logits; geometry the last's.",
    remedy="Keep the first forward's logits for cross-entropy and take geometry from the last.",
    spec=f"{SPEC}: Token CE anchor at A1",
)
def ce_from_first_forward(ctx: Context) -> Iterator[Violation]:
    for name, _request, answer in _passes(ctx):
        last = len(answer.passes) - 1
        for n, one in enumerate(answer.passes):
            ctx.judged()
            if n > 0 and one.text_rows:
                yield Violation("cross-entropy reaches a later forward", f"{name}, forward {n}", 0, len(one.text_rows))
            if n == last and one.slots_reached != len(answer.slots):
                where = f"{name}, last forward"
                yield Violation(
                    "geometry does not reach every slot of the last forward",
                    where,
                    len(answer.slots),
                    one.slots_reached,
                )
        taught = _taught_rows(answer)
        if answer.passes[0].tracked and answer.passes[0].text_rows != taught:
            missing = sorted(set(taught) ^ set(answer.passes[0].text_rows))[:5]
            yield Violation("cross-entropy does not reach the first forward's text tokens", name, taught[:5], missing)


def _taught_rows(answer: ChannelA) -> list[int]:
    """The rows that predict the assistant's tokens that are no coordinates."""
    return sorted(
        s.row * answer.length + s.start + s.prompt_len + p - 1
        for s in answer.segments
        for p, t in enumerate(s.ids)
        if not is_coordinate(t)
    )


@invariant(
    "supervision.softctx_gradient",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="`unroll` carries gradient through every iteration; `em_detach` detaches the soft embeddings and still gives "
    "cross-entropy a gradient.",
    remedy="Run the first forward with gradients in both modes, and detach the expectation in `em_detach` only.",
    spec=f"{SPEC}: Gradient semantics",
)
def softctx_gradient(ctx: Context) -> Iterator[Violation]:
    for name, request, answer in _passes(ctx):
        ctx.judged(len(answer.passes))
        if not any(p.text_rows for p in answer.passes):
            what = "cross-entropy has no gradient" + (
                "" if answer.passes[0].tracked else ": the first forward is not tracked"
            )
            yield Violation(what, name, "> 0", answer.passes[0].text_grad)
        # What follows a segment's last slot is no slot, so that its embedding need not be reached, and with each
        # iteration further back one more slot need not be.
        for n, one in enumerate(answer.passes[:-1]):
            least = len(answer.slots) - len(answer.segments) * (len(answer.passes) - 1 - n)
            if request.grad_mode == "unroll" and one.slots_reached < least:
                yield Violation(
                    "no gradient flows back through the iteration", f"{name}, forward {n}", least, one.slots_reached
                )
            if request.grad_mode == "em_detach" and one.slots_reached:
                yield Violation("a detached embedding carries gradient", f"{name}, forward {n}", 0, one.slots_reached)


@invariant(
    "supervision.no_helper_kwargs",
    boundary=BOUNDARY,
    severity="P1",
    kind="B",
    claim="No helper key (labels, loss_scale, text_position_ids, channel, …) reaches the model's forward.",
    remedy="Pass the model an allowlist of its own arguments.",
    spec=f"{SPEC}: compute_loss",
)
def no_helper_kwargs(ctx: Context) -> Iterator[Violation]:
    for case in inputs.taught():
        answer = ctx.ask(CHANNEL_B, case.request)
        if answer.content is not None:
            ctx.judged()
            leaked = sorted(set(answer.content.kwargs) & set(HELPER_KEYS))
            if leaked:
                yield Violation("helper keys reach the model's forward", case.name, [], leaked)
    for name, _, passes in _passes(ctx):
        for one in passes.passes:
            ctx.judged()
            leaked = sorted(set(one.kwargs) & set(HELPER_KEYS))
            if leaked:
                yield Violation("helper keys reach the model's forward", name, [], leaked)
