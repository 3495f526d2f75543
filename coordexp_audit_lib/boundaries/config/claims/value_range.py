"""b_ratio is in [0,1], n_softctx_iter at least 1, the effective drop_invalid_struct_ce_multiplier in [1,4],
object_field_order one of two, loss weights finite and not negative; NaN, infinities, bools for numbers, fractions for
ints and numeric texts are refused, not coerced.

A negative weight pushes the model away from the annotation; a NaN weight passes every comparison and makes the loss NaN
some steps later; `True` for a weight is 1.0.

Example: `stage2_ab.schedule.b_ratio: 1.5` must be refused; clamped in silence, every step is a Channel-B step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.cases.variations import BadValue, bad_values
from coordexp_audit_lib.boundaries.config.faults import overlooked
from coordexp_audit_lib.boundaries.config.predicates.rules import Resolved, by_keys
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.nested import get


@claim(
    severity="P1",
    kind="B",
    per_config=True,
    remedy="Check the type before converting: refuse bools, texts and non-finite numbers, and do not clamp in silence.",
)
def value_range(ctx: Context) -> Iterator[Problem]:
    bench = Bench(ctx)
    tried: dict[str, set[str]] = {}
    accepted: dict[str, list[tuple[BadValue, Any]]] = {}
    for bad in bad_values(bench):
        tried.setdefault(bad.why, set()).add(bad.path)
        answer = bench.load_with({bad.path: bad.value})
        ctx.judged()
        if not bad.tolerated(answer):
            accepted.setdefault(bad.why, []).append((bad, get(answer.value.config, bad.path)))
    paths = {why: {bad.path for bad, _ in found} for why, found in accepted.items()}
    counts = {why: f"{len(there)} of {len(tried[why])} keys" for why, there in paths.items()}
    ctx.fact("values accepted that should be refused", counts)
    yield from (_accepts(why, found, counts[why]) for why, found in accepted.items())


value_range.on(Resolved, by_keys("config.value_range"))


def _accepts(why: str, found: list[tuple[BadValue, Any]], count: str) -> Problem:
    """One problem for each way of being bad, not for each key: the same coercion in twenty keys hides no other."""
    loaded: dict[str, dict[str, Any]] = {}
    for bad, effective in found:
        loaded.setdefault(bad.path, {})[f"loaded from {bad.value!r}"] = effective
    first = found[0][0]
    text = f"A value that is {why} is accepted for {count}, the first is {first.path}."
    return Problem(text, why, "refused", loaded, {first.path: first.value})


overlooked(
    value_range,
    nan_accepted=(r"found nan", "NaN passes comparisons and is accepted"),
    text_coerced=(r"found '[\d.]+'", "numeric texts are converted"),
    b_ratio_unbounded=(r"b_ratio: .*found (1\.5|-0\.1)", "b_ratio may exceed 1"),
    bool_coerced=(r"found True", "True counts as 1"),
)
