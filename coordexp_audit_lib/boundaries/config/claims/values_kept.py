"""What a config sets, and the loader accepts, is in force as it was set: numbers and switches, and each loss weight
where it is tried with another value.

A value that is clamped, scaled or replaced by a default on its way is the quietest way to train something else: the
config is kept beside the run as evidence, and the run did not follow it. Range checks don't see it, for they ask what
is refused.

Example: `max(0.0, weight)` became `min(0.0, weight)`: every weight is accepted, and every weight is 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from coordexp_audit_lib.boundaries.config.cases import edits
from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.cases.variations import TRIED, weights_of
from coordexp_audit_lib.boundaries.config.surfaces import LOAD
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.nested import dotted, get, lookup, merge, nest

ABSENT: Any = object()


@claim(
    severity="P0",
    kind="B",
    per_config=True,
    remedy="Hand the value on as it is; refuse what is out of range instead of changing it.",
)
def values_kept(ctx: Context) -> Iterator[Problem]:
    bench = Bench(ctx)
    for path in edits.leaves(bench.chain.merged):
        value, loaded = (lookup(tree, path, ABSENT) for tree in (bench.chain.merged, bench.loaded.config))
        if not isinstance(value, (bool, int, float)) or not isinstance(loaded, (bool, int, float)):
            continue  # no number, or taken into another form
        ctx.judged()
        if not _is(value, loaded):
            yield _other(dotted(path), value, loaded)
    for name in weights_of(bench):
        answer = bench.load_with({name: TRIED})
        ctx.judged()
        if answer.content is not None and not _is(TRIED, effective := get(answer.content.config, name)):
            yield _other(name, TRIED, effective)


def _is(value: float, loaded: Any) -> bool:
    return value == loaded and isinstance(value, bool) == isinstance(loaded, bool)


def _other(path: str, value: Any, loaded: Any) -> Problem:
    return Problem(
        f"{path} is {loaded!r} in the loaded config, and not what was set", path, value, loaded, {path: value}
    )


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
