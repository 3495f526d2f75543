"""What a config sets, and the loader accepts, is in force as it was set: numbers and switches, and each loss weight
where it is tried with another value; upstream's arguments have it too, and a length that is set once for all is each
of them that is not set by itself.

A value that is clamped, scaled or replaced by a default on its way is the quietest way to train something else: the
config is kept beside the run as evidence, and the run did not follow it. Range checks don't see it, for they ask what
is refused.

Example: `max(0.0, weight)` became `min(0.0, weight)`: every weight is accepted, and every weight is 0. With
`global_max_length: 12000` the template's and the model's length are 12000, where the config sets no other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from coordexp_audit_lib.boundaries.config.cases import edits
from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.cases.variations import TRIED, weights_of
from coordexp_audit_lib.boundaries.config.predicates import kept
from coordexp_audit_lib.boundaries.config.surfaces import LOAD, Loaded
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.nested import dotted, get, lookup, merge, nest

ODD = 0.7310586  # of a share or a rate: what is left is given by no rounding and no default


@claim(
    severity="P0",
    kind="B",
    per_config=True,
    remedy="Hand the value on as it is; refuse what is out of range instead of changing it.",
)
def values_kept(ctx: Context) -> Iterator[Problem]:
    bench = Bench(ctx)
    bench.must_load()
    told: set[str] = set()
    for values in ({}, *_odd(bench), *_lengths(bench)):
        answer = bench.load_with(values, depth="arguments")
        if answer.content is None:
            continue  # a rule between keys refuses it; what is loaded of it can't be judged
        wanted = functools.reduce(lambda made, one: merge(made, nest(*one)), values.items(), bench.chain.merged)
        for p in _judged(ctx, wanted, answer.content):
            if p.subject not in told:
                told.add(p.subject)
                yield p
    for name in weights_of(bench):
        answer = bench.load_with({name: TRIED})
        ctx.judged()
        if (
            answer.content is not None
            and name not in told
            and not _is(TRIED, found := get(answer.content.config, name))
        ):
            yield kept.other(name, TRIED, found, kept.LOADED)


def _judged(ctx: Context, wanted: dict[str, Any], loaded: Loaded) -> Iterator[Problem]:
    yield from kept.values_kept(kept.Kept(wanted, loaded.config, kept.LOADED), ctx)
    if loaded.arguments is None:
        ctx.left_out("upstream's arguments", "the target does not tell them")
        return
    # A later section that names the same argument wins; what is derived from the effective batch is another claim's.
    flat = {k: v for s in ctx.contract["config.arguments"]["sections"] for k, v in (wanted.get(s) or {}).items()}
    batch = ctx.contract["config.batch"]
    if get(wanted, batch["effective"]) is not None:
        flat.pop(batch["accumulation"].rpartition(".")[2], None)
    lengths = ctx.contract["config.lengths"]
    if (longest := get(wanted, lengths["longest"])) is not None:
        flat = {lengths[name].rpartition(".")[2]: longest for name in ("own", "model")} | flat
    yield from kept.values_kept(kept.Kept(flat, loaded.arguments, "upstream's arguments"), ctx)


def _odd(bench: Bench) -> Iterator[dict[str, Any]]:
    """Every share and rate at an odd value: all at once, or, where that is refused, one by one."""
    leaves = {p: lookup(bench.chain.merged, p) for p in edits.leaves(bench.chain.merged)}
    odd = {dotted(p): v * ODD for p, v in leaves.items() if isinstance(v, float) and 0 < v < 1}
    if odd and bench.load_with(odd, depth="arguments").content is not None:
        yield odd
    else:
        yield from ({key: value} for key, value in odd.items())


def _lengths(bench: Bench) -> Iterator[dict[str, Any]]:
    """Half of the longest sample's length, which the rollout server's context then holds; and lengths of their own."""
    keys = bench.ctx.contract["config.lengths"]
    longest = bench.get(keys["longest"])
    if isinstance(longest, int):
        yield {keys["longest"]: longest // 2 + 1}
        yield {keys["own"]: longest // 2 - 1, keys["model"]: longest // 2 - 2}


def _is(value: float, loaded: Any) -> bool:
    return value == loaded and isinstance(value, bool) == isinstance(loaded, bool)


def _becomes(path: str, made: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    """The loaded config with another value, where it has one."""

    def config(answer: Any) -> dict[str, Any]:
        value = get(answer.config, path)
        return answer.config if value is None else merge(answer.config, nest(path, made(value)))

    return config


fault(values_kept, "weights_to_zero", LOAD, "a loss weight comes out as 0, whatever was set")(
    answered(config=_becomes("stage2_ab.coord_gate_weight", lambda value: min(0.0, value)))
)
fault(values_kept, "share_rounded", LOAD, "the share of Channel-B steps is rounded to tenths")(
    answered(config=_becomes("stage2_ab.schedule.b_ratio", lambda value: round(value, 1)))
)
fault(values_kept, "rate_halved", LOAD, "the learning rate is halved on the way")(
    answered(config=_becomes("training.learning_rate", lambda value: value / 2))
)
fault(values_kept, "packing_left_on", LOAD, "a switch that is off comes out on")(
    answered(config=_becomes("training.eval_packing", lambda value: True))
)
fault(values_kept, "share_off", LOAD, "the share of Channel-B is a ten-thousandth more")(
    answered(config=_becomes("stage2_ab.schedule.b_ratio", lambda value: value + 1e-4))
)


def _given(name: str, made: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any] | None]:
    """Upstream's arguments with another value of one."""
    return lambda answer: answer.arguments and {**answer.arguments, name: made(answer.arguments[name])}


fault(values_kept, "longer_for_upstream", LOAD, "upstream's template accepts a thousand tokens more")(
    answered(arguments=_given("max_length", lambda value: value + 1000))
)
fault(values_kept, "rate_rounded", LOAD, "upstream gets a learning rate that is a hundredth more")(
    answered(arguments=_given("learning_rate", lambda value: value * 1.01))
)
