"""Every number and switch that a config states is loaded as it is stated, and reaches upstream's arguments so; a length
that it states once for all reaches each of them.

A learning rate, a share of steps or a weight that the loader alters on its way is another experiment than the one that
the config, the manifest and the paper's table tell of; nothing that is logged shows it.

Example: `stage2_ab.schedule.b_ratio: 0.85` that is loaded as 0.8501 runs ten more Channel-B steps in 10^5; with
`global_max_length: 12000` the template's and the model's length are 12000, where the config states no other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.config.cases import edits
from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.predicates import kept
from coordexp_audit_lib.boundaries.config.surfaces import LOAD, Loaded, LoadRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.nested import dotted, get, lookup, merge, nest

ODD = 0.7310586  # of a share or a rate: what is left is given by no rounding and no default


@claim(
    severity="P1",
    kind="B",
    per_config=True,
    remedy="Hand on what the config states, and refuse what cannot be taken as it is.",
)
def values_kept(ctx: Context) -> Iterator[Problem]:
    bench = Bench(ctx)
    bench.must_load()
    told: set[str] = set()
    for values in ({}, *_odd(bench), *_lengths(bench)):
        answer = bench.load_with(values, depth="arguments")
        if answer.content is None:
            continue  # a rule between keys refuses it; what is loaded of it can't be judged
        stated = functools.reduce(lambda made, kv: merge(made, nest(*kv)), values.items(), bench.chain.merged)
        for p in _judged(ctx, stated, answer.content):
            if p.subject not in told:
                told.add(p.subject)
                yield p


def _judged(ctx: Context, stated: dict[str, Any], loaded: Loaded) -> Iterator[Problem]:
    yield from kept.values_kept(kept.Kept(stated, loaded.config, "the loaded config"), ctx)
    if loaded.arguments is None:
        ctx.left_out("upstream's arguments", "the target does not tell them")
        return
    # A later section that names the same argument wins; what is derived from the effective batch is another claim's.
    flat = {k: v for s in ctx.contract["config.arguments"]["sections"] for k, v in (stated.get(s) or {}).items()}
    batch = ctx.contract["config.batch"]
    if get(stated, batch["effective"]) is not None:
        flat.pop(batch["accumulation"].rpartition(".")[2], None)
    lengths = ctx.contract["config.lengths"]
    if (longest := get(stated, lengths["longest"])) is not None:
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


def _altered(key: str, change: Callable[[Any], Any], *, arguments: bool = False) -> Callable[..., Any]:
    """A loader that alters a value; `arguments`: only on the way to upstream."""

    def apply(request: LoadRequest, honest: Honest) -> Any:
        made: Loaded = honest(request)
        if arguments:
            given = made.arguments or {}
            return replace(made, arguments={**given, **({key: change(given[key])} if key in given else {})})
        value = get(made.config, key)
        return made if value is None else replace(made, config=merge(made.config, nest(key, change(value))))

    return apply


for _name, _words, _apply in (
    (
        "share_off",
        "the share of Channel-B is a ten-thousandth more",
        _altered("stage2_ab.schedule.b_ratio", lambda v: v + 1e-4),
    ),
    (
        "share_rounded_at_load",
        "the share of Channel-B is kept to two digits",
        _altered("stage2_ab.schedule.b_ratio", lambda v: round(v, 2)),
    ),
    (
        "longer_for_upstream",
        "upstream's template accepts a thousand tokens more",
        _altered("max_length", lambda v: v + 1000, arguments=True),
    ),
    (
        "rate_rounded",
        "upstream gets the learning rate to one digit",
        _altered("learning_rate", lambda v: float(f"{v:.0e}"), arguments=True),
    ),
):
    fault(values_kept, _name, LOAD, _words)(_apply)
