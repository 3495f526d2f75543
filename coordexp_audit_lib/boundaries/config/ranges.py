"""Claims about single values: what is out of range, not finite or of another type is refused, not bent into shape."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.config.bench import Bench
from coordexp_audit_lib.boundaries.config.chain import dotted, leaves, lookup, steps
from coordexp_audit_lib.boundaries.config.contract import Loaded, finite_number
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.surface import Answer

B_RATIO = "stage2_ab.schedule.b_ratio"
SOFTCTX = "stage2_ab.n_softctx_iter"
MULTIPLIER = "stage2_ab.channel_b.drop_invalid_struct_ce_multiplier"
FIELD_ORDER = "custom.object_field_order"
WEIGHT_SECTIONS = ("stage2_ab", "custom", "rollout_matching")

NOT_A_NUMBER: tuple[tuple[Any, str], ...] = (
    (math.nan, "NaN"),
    (math.inf, "an infinity"),
    (-math.inf, "an infinity"),
    (True, "a bool"),
)


class BadValue(msgspec.Struct, frozen=True):
    """A value that a config must not get away with. clamped: bringing it into [1, 4] is as good as refusing it."""

    path: str
    value: Any
    why: str
    clamped: bool = False


def bad_values(path: str, out_of_range: tuple[Any, ...], why: str, text: str = "2") -> list[BadValue]:
    """The values outside a number's range, and those that are no number. text: reads like a number in range."""
    no_numbers = (*NOT_A_NUMBER, (text, "a text"))
    return [BadValue(path, v, why) for v in out_of_range] + [BadValue(path, v, w) for v, w in no_numbers]


def weights_of(bench: Bench) -> list[str]:
    """The loss weights that the target's typed config has and that a config may set."""
    paths = [dotted(p) for p in leaves(bench.loaded.config) if p[0] in WEIGHT_SECTIONS]
    named = [p for p in paths if p.endswith("_weight")]
    return [p for p in named if not bench.load_with({p: 0.5}).refused]


def cases(bench: Bench) -> Iterator[BadValue]:
    """Every bad value for the ranged keys that this config has."""
    if bench.get("stage2_ab") is not None:
        yield from bad_values(B_RATIO, (-0.1, 1.5), "outside [0, 1]", text="0.5")
        yield from bad_values(SOFTCTX, (0, -1), "less than 1")
        yield BadValue(SOFTCTX, 2.5, "a fraction for an int")
        yield from bad_values(MULTIPLIER, (), "")
        yield from (BadValue(MULTIPLIER, v, "outside [1, 4]", clamped=True) for v in (0.5, 4.5, -1.0))
    for value in ("random", "desc_last", 1, True, ["desc_first"]):
        yield BadValue(FIELD_ORDER, value, "neither desc_first nor geometry_first")
    for path in weights_of(bench):
        signed = "entropy" in path  # a regulariser: its sign says whether entropy is raised or lowered
        yield from bad_values(path, () if signed else (-0.5,), "a negative loss weight")


def tolerated(bad: BadValue, answer: Answer[Loaded]) -> bool:
    """Whether the answer to a bad value is right: refused, or (for the multiplier) brought into its range."""
    if answer.content is None:
        return True
    effective = lookup(answer.content.config, steps(bad.path))
    return bad.clamped and finite_number(effective) and 1 <= effective <= 4


@invariant(
    "config.value_range",
    boundary="config",
    severity="P0",
    kind="B",
    per_config=True,
    claim="b_ratio is in [0,1], n_softctx_iter at least 1, the effective drop_invalid_struct_ce_multiplier in [1,4], "
    "object_field_order one of two, loss weights finite and not negative; NaN, infinities, bools for numbers, "
    "fractions for ints and numeric texts are refused, not coerced.",
    remedy="Check the type before converting: refuse bools, texts and non-finite numbers, and do not clamp in silence.",
    spec="stage2-ab-training: semantic and value constraints remain enforced after shape validation",
)
def value_range(ctx: Context) -> Iterator[Violation]:
    bench = Bench(ctx)
    tried: dict[str, set[str]] = {}
    accepted: dict[str, list[tuple[BadValue, Any]]] = {}
    for bad in cases(bench):
        tried.setdefault(bad.why, set()).add(bad.path)
        answer = bench.load_with({bad.path: bad.value})
        ctx.judged()
        if not tolerated(bad, answer):
            effective = lookup(answer.value.config, steps(bad.path))
            accepted.setdefault(bad.why, []).append((bad, effective))
    counts = {
        why: f"{len({bad.path for bad, _ in found})} of {len(tried[why])} keys" for why, found in accepted.items()
    }
    ctx.fact("values accepted that should be refused", counts)
    yield from (_accepts(why, found, counts[why]) for why, found in accepted.items())


def _accepts(why: str, found: list[tuple[BadValue, Any]], count: str) -> Violation:
    """One violation for each way of being bad, not for each key: the same coercion in twenty keys hides no other."""
    loaded: dict[str, dict[str, Any]] = {}
    for bad, effective in found:
        loaded.setdefault(bad.path, {})[f"loaded from {bad.value!r}"] = effective
    first = found[0][0]
    return Violation(
        f"A value that is {why} is accepted for {count}, the first is {first.path}.",
        subject=why,
        expected="refused",
        actual=loaded,
        counterexample={first.path: first.value},
    )


COORD_SWITCHES = ("custom.coord_tokens.enabled", "custom.coord_tokens.skip_bbox_norm")
OFF = (False, 0, "false", "no")


@invariant(
    "config.coord_mode_mandatory",
    boundary="config",
    severity="P0",
    kind="B",
    per_config=True,
    claim="coord_tokens.enabled and coord_tokens.skip_bbox_norm must be true.",
    remedy="Refuse a config that turns either off: coordinates would be trained as digits, or normalized twice.",
    spec="coord-token-mode",
)
def coord_mode_mandatory(ctx: Context) -> Iterator[Violation]:
    bench = Bench(ctx)
    for path in COORD_SWITCHES:
        for value in OFF:
            answer = bench.load_with({path: value})
            ctx.judged()
            if not answer.refused:
                yield Violation(
                    f"{path}: {value!r} is accepted.",
                    subject=path,
                    expected="refused",
                    actual=lookup(answer.value.config, steps(path)),
                    counterexample={path: value},
                )
