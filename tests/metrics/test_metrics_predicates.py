"""The predicates on small logs: rows in, broken claims out. One table per claim; and what is no break."""

from __future__ import annotations

import math
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log, row_of
from coordexp_audit_lib.boundaries.metrics.predicates.series import Interval, shares
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import vocabulary
from coordexp_audit_lib.core.claim import Ledger, claims_on
from coordexp_audit_lib.core.problem import Undecided
from coordexp_audit_lib.kit.schedule import is_b_step

boundaries.load(["metrics"])
WORDS = vocabulary()
PREDICATES = {c.id: c.predicates[Log] for c in claims_on(Log, "metrics")}
RATIO, A, B = (WORDS.ratio, {WORDS.channel_a: 1.0, WORDS.channel_b: 0.0}, {WORDS.channel_a: 0.0, WORDS.channel_b: 1.0})
DROP, REASON = WORDS.dropped, WORDS.reason
ROLLED_OUT = [WORDS.invalid, WORDS.valid, DROP, WORDS.generate, WORDS.throughput]
MATCHES = {"rollout/matched_for_supervision": 1.0, "rollout/valid_pred_objects": 1.0, "rollout/gt_objects": 3.0}
CUT = {"rollout/parse_truncated": 1.0, "train/samples_total": 2.0, "stage2/raw_rollouts": 4.0}


def log(*records: dict[str, Any], first: int = 1) -> Log:
    numbered = enumerate(records, first)
    return Log("a log", [row_of({"loss": 1.0, "step": n, **r}, n, WORDS) for n, r in numbered], WORDS)


def subjects(claim: str, made: Log) -> list[str]:
    return [p.subject for p in PREDICATES[f"metrics.{claim}"](made, Ledger())]


def channels(letters: str, ratios: list[float] | None = None) -> Log:
    ratios = shares(letters) if ratios is None else ratios
    return log(*({**(B if c == "B" else A), RATIO: r} for c, r in zip(letters, ratios, strict=True)))


@pytest.mark.parametrize(
    ("key", "role"),
    [
        ("rollout/seed_base", "identity"),
        ("rollout/hf_seeded_global", "gauge"),
        ("snapshot/rollout/seed_base", "repeat"),
        ("snapshot/time/rollout_generate_s", "repeat"),
        ("time/rollout_total_time", "timing"),
        ("dup/raw/max_desc_count", "counter"),
        ("dup/raw/duplicate_like_max_cluster_size", "gauge"),
        ("stage2_ab/channel_b/strict_drop/reason/anything at all", "counter"),
        ("stage2_ab/channel_b/closure_supervision/N_drop", "counter"),
        ("stage2_ab/channel_b/_prompt_tok_mismatch_den", "counter"),
        ("rollout/fn", "counter"),
        ("rollout/fn_per_sample", "gauge"),
        ("rollout/gen_new_tokens_total", "counter"),
        ("rollout/gen_new_tokens_mean", "gauge"),
        ("packing/post_rollout_segments", "gauge"),
        ("loss/rmp_branch_total", "gauge"),
        ("train/samples_per_micro", "gauge"),
        ("eval/runtime/coco_counter_empty_pred", "counter"),
        ("eval/runtime/config_pred_score_version", "identity"),
    ],
)
def test_roles_by_name(key: str, role: str) -> None:
    assert WORDS.role(key) == role


@pytest.mark.parametrize(
    ("letters", "ratios", "broken"),
    [
        ("ABBBABBB", None, []),
        ("AAAB", None, []),
        ("B", None, []),
        ("BBBBBBBB", None, []),
        ("ABBB", [0.0, 0.5, 0.5, 0.75], [RATIO]),
        ("ABBB", [0.0, 0.5, 2 / 3, math.nan], [RATIO]),
        ("BBBA", None, [WORDS.channel_b]),  # three B first: floor(4b) = 3 needs b ≥ 3/4, floor(3b) = 3 needs b ≥ 1
        ("ABABBB", None, [WORDS.channel_b]),
    ],
)
def test_ratio_and_schedule(letters: str, ratios: list[float] | None, broken: list[str]) -> None:
    assert subjects("b_ratio_consistent", channels(letters, ratios)) == broken


@pytest.mark.parametrize("b", [0.05, 0.1, 1 / 3, 0.29, 0.57, 0.7, 0.75, 0.85, 0.999, 1.0])
def test_every_schedule_is_recognised_as_one(b: float) -> None:
    letters = "".join("B" if is_b_step(s, b) else "A" for s in range(1000))
    assert subjects("b_ratio_consistent", channels(letters)) == []
    possible = Interval()
    assert all(possible.narrow(n, letters[:n].count("B")) for n in range(1, 1001))
    assert float(possible.low) <= b + 1e-9


def test_a_log_of_every_tenth_step_is_judged_by_its_ratios() -> None:
    def every_tenth(ratio: float) -> Log:
        rows = [{**B, RATIO: 0.7, "step": 10}, {**B, RATIO: 0.7, "step": 20}, {**B, RATIO: ratio, "step": 30}]
        return log(*rows)

    assert subjects("b_ratio_consistent", every_tenth(0.7)) == []
    assert subjects("b_ratio_consistent", every_tenth(0.71)) == [RATIO]
    assert subjects("b_ratio_consistent", every_tenth(0.9)) == [WORDS.channel_b]


def test_a_log_that_joins_runs_or_has_no_steps_is_undecided() -> None:
    with pytest.raises(Undecided, match="joins several runs"):
        subjects("b_ratio_consistent", log({**A, RATIO: 0.0, "step": 1}, {**A, RATIO: 0.0, "step": 1}))
    with pytest.raises(Undecided, match="does not say its step"):
        subjects("b_ratio_consistent", log({**A, RATIO: 0.0, "step": None}))
    with pytest.raises(Undecided, match="Stage-2"):
        subjects("required_keys", log({"base_ce/loss": 1.0}))


@pytest.mark.parametrize(
    ("row", "broken"),
    [
        ({**A}, [RATIO]),
        ({**A, RATIO: 0.0}, []),
        ({**B, RATIO: 1.0}, ROLLED_OUT),
        ({"stage2/raw_rollouts": 4.0}, [RATIO, *ROLLED_OUT]),
    ],
)
def test_required_keys(row: dict[str, float], broken: list[str]) -> None:
    assert subjects("required_keys", log(row)) == broken


@pytest.mark.parametrize(
    ("extra", "broken"),
    [
        ({"time/rollout_generate_s": 0.0}, ["time/rollout_generate_s"]),
        ({"time/rollout_generate_s": 3.0}, ["time/rollout_generate_s"]),
        ({"rollout/f1": 0.0}, ["rollout/f1"]),
        ({"dup/raw/saturation_rate": 0.0}, ["dup/raw/saturation_rate"]),
        ({"snapshot/time/rollout_generate_s": 3.0, "snapshot/rollout/f1": 0.0}, []),
        ({"time/post_rollout_pack_s": 0.0, "stage2/channel_b": 0.0, "loss/coord_ce": 0.0}, []),
    ],
)
def test_no_trace_of_a_rollout_on_a_step_without(extra: dict[str, float], broken: list[str]) -> None:
    assert subjects("only_when_executed", log({**A, **extra})) == broken
    assert subjects("only_when_executed", log({**B, **extra, "stage2/channel_b": 1.0})) == []


@pytest.mark.parametrize(
    ("value", "broken"),
    [(0.0, 0), (3.0, 0), (3.0000001, 0), (-1.0, 1), (2.5, 1), (0.0104, 1), (1e17, 0), (math.nan, 0)],
)
def test_counters(value: float, broken: int) -> None:
    assert len(subjects("counters_are_counts", log({**B, "stage2/raw_rollouts": value}))) == broken
    assert subjects("counters_are_counts", log({**B, "snapshot/stage2/raw_rollouts": value})) == []


@pytest.mark.parametrize(
    ("row", "broken"),
    [
        ({DROP: 0.0}, []),
        ({DROP: 3.0, f"{REASON}a": 1.0, f"{REASON}b": 2.0}, []),
        ({DROP: 3.0, f"{REASON}a": 1.0}, [DROP]),
        ({DROP: 0.0, f"{REASON}a": 1.0}, [DROP]),
        ({"x/y_rate": 0.5, "x/y_rate_num": 1.0, "x/y_rate_den": 2.0}, []),
        ({"x/y_rate": 0.6, "x/y_rate_num": 1.0, "x/y_rate_den": 2.0}, ["x/y_rate"]),
        ({"x/y_rate": 0.6, "x/_y_num": 1.0, "x/_y_den": 2.0}, ["x/y_rate"]),
        ({"x/y_rate": 0.6, "x/y_rate_num": 0.0, "x/y_rate_den": 0.0}, []),  # 0/0 says nothing
        ({"x/y_rate": 0.6}, []),
        ({"rollout/f1": 0.5, **MATCHES}, []),
        ({"rollout/f1": 0.4, **MATCHES}, ["rollout/f1"]),
        ({"rollout/parse_truncated_rate": 0.25, **CUT}, []),  # over the rollouts
        ({"rollout/parse_truncated_rate": 0.5, **CUT}, []),  # over the samples
        ({"rollout/parse_truncated_rate": 0.3, **CUT}, ["rollout/parse_truncated_rate"]),
        ({"rollout/anchor/parse_truncated_rate": 0.3, "rollout/anchor/parse_truncated": 1.0, **CUT}, []),
        ({"eval/x/recall": 0.5, "eval/x/matched": 1.0, "eval/x/gt_objects_total": 4.0}, ["eval/x/recall"]),
    ],
)
def test_sums_and_rates(row: dict[str, float], broken: list[str]) -> None:
    found = [subjects(claim, log({**B, **row})) for claim in ("reasons_add_up", "rates_divide")]
    assert found[0] + found[1] == broken


def seeds(*values: float) -> Log:
    return log(*({**B, "rollout/seed_base": v} for v in values))


def test_seeds_are_exact_and_keep_their_distance() -> None:
    true = [17 + s * 1_000_003 for s in range(6)]
    assert subjects("identity_not_averaged", seeds(*true)) == []
    assert subjects("identity_not_averaged", seeds(*true[:5], true[5] / 4)) == ["rollout/seed_base"]
    assert subjects("identity_not_averaged", seeds(*(2.0 * s for s in true))) == ["rollout/seed_base"] * 5
    wrapped = [(2**31 - 2_000_000 + s * 1_000_003) % 2**31 for s in range(6)]
    assert subjects("identity_not_averaged", seeds(*wrapped)) == []


@pytest.mark.parametrize(
    ("values", "broken"),
    [
        ([86.0, 170.0, 254.0, 339.0], True),
        ([0.0, 131.0, 269.0, 406.0, 406.0], True),
        ([86.0, 85.0, 254.0, 339.0], False),
        ([86.0, 170.0, 254.0], False),  # three values decide nothing
        ([1.0, 1.01, 1.02, 1.03, 1.05], False),  # slower every step, but no total
        ([0.0, 0.0, 0.0, 0.0], False),
    ],
)
def test_running_totals(values: list[float], broken: bool) -> None:
    made = log(*({**A, "time/x_s": v, "time/pad_s": float(n % 2)} for n, v in enumerate(values)))
    if len(values) < 4:
        with pytest.raises(Undecided):
            subjects("per_step_not_cumulative", made)
        return
    assert subjects("per_step_not_cumulative", made) == (["time/x_s"] if broken else [])
    named = log(*({**A, "time/x_s_cumulative": v, "time/pad_s": 1.0} for v in values))
    assert subjects("per_step_not_cumulative", named) == []


@pytest.mark.parametrize(
    ("extra", "broken"),
    [
        ({"x": math.nan}, ["x"]),
        ({"x": -math.inf}, ["x"]),
        ({"x": None}, ["x"]),
        ({"loss": "0.5"}, ["loss"]),
        ({"x": 10**400}, ["x"]),
        ({"note": "some text"}, []),
        ({"elapsed_time": "1m 3s", "percentage": "50%"}, []),
    ],
)
def test_every_metric_is_a_finite_number(extra: dict[str, Any], broken: list[str]) -> None:
    assert subjects("finite", log({**A}, {**A, **extra})) == broken


@pytest.mark.parametrize(
    ("extra", "broken", "left"),
    [
        ({"loss": "nan"}, ["loss"] * 2, []),
        ({"x": "inf"}, ["x"] * 2, []),
        ({**A, "x": "inf", "y": "1.0", "z": None}, ["x", "y", "z"] * 2, []),
        ({"loss": [1]}, ["loss"] * 2, []),
        ({"a": "text", "b": True, "c": {}, "d": [1.0, None]}, [], []),
        ({"a": {"b": [1.0, math.nan]}}, ["a"] * 2, []),
        ({"a": [0.0] * 20_000}, [], ["a: it is a value of more than 10000 entries, and a number in no row"]),
        ({"x": None, "y": None}, [], ["x: it is a null, and a number in no row, and 1 more such keys"]),
        ({"x": "1.0"}, [], ["x: it is a number written as text, and a number in no row"]),
        ({"elapsed_time": "1m 3s", "percentage": "50%", "memory(GiB)": "1.0"}, [], []),
    ],
)
def test_what_is_a_number_in_no_row(extra: dict[str, Any], broken: list[str], left: list[str]) -> None:
    ledger = Ledger()
    found = PREDICATES["metrics.finite"](log(extra, extra), ledger)
    assert ([p.subject for p in found], ledger.unjudged) == (broken, left)


@pytest.mark.parametrize(
    "rows",
    [
        [{}, {}],  # the step alone identifies nothing
        [{"rollout/seed_base": 2_000_040}],
        [{"rollout/seed_base": 17.0, "step": None}, {"rollout/seed_base": 1_000_020.0, "step": None}],
        [{"rollout/seed_base": 17.0}, {"rollout/seed_base": 1_000_020.0, "data/crc32": 7}],
    ],
)
def test_an_identity_that_may_be_a_sum_is_not_judged(rows: list[dict[str, Any]]) -> None:
    ledger = Ledger()
    assert list(PREDICATES["metrics.identity_not_averaged"](log(*rows), ledger)) == []
    assert ledger.unjudged


def test_seeds_at_two_steps_are_judged() -> None:
    ledger = Ledger()
    assert list(PREDICATES["metrics.identity_not_averaged"](seeds(17, 1_000_020), ledger)) == []
    assert (ledger.unjudged, ledger.checked >= 2) == ([], True)


def test_keys_of_one_channel_stay() -> None:
    assert subjects("schema_stable", log({**A}, {**B, "x": 1.0}, {**A}, {**B, "x": 1.0})) == []
    assert subjects("schema_stable", log({**B, "x": 1.0}, {**B, "x": 1.0}, {**B, "y": 1.0})) == ["x", "y"]
    assert subjects("schema_stable", log({**B}, {**B, "snapshot/x": 1.0})) == []
    with pytest.raises(Undecided):
        subjects("schema_stable", log({**A}, {**B}))
