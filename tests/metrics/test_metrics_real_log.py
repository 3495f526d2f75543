"""A real Stage-2 run of eight steps (A B B B A B B B, b_ratio 0.75, seed 17): what is wrong in it, worked out by hand.

- rollout/seed_base at step s should be 17 + (s-1)·1000003; logged is that times 5/96 (6/96 at step 7): averaged with
  micro-steps that had none.
- time/sft_total_time and time/rollout_total_time grow from step to step; the latter stands in the A steps 1 and 5 too.
- rollout/matched_for_supervision_count is 18 times (19 at step 6) the matches: once for each micro-step. The rate
  beside it is over the matches themselves, so it is the count that is named.
- the explorer's object and pair counts are fractions where the anchor's are whole; dup/raw/max_desc_count is 0.08.
- the bucket missing_desc stands in the B steps 4 and 7 only, where it is not 0.
Everything else that the claims are about is right: ratio and schedule, the required keys, the buckets' sums, 1,528
finite values, the other rates.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.metrics.artifact.run import audit_log, read_log
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import vocabulary
from coordexp_audit_lib.core.claim import Ledger, claims_on
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.sheet import EXAMPLES
from coordexp_audit_lib.report.sources import PACKAGE

boundaries.load(["metrics"])
PREDICATES = {c.id: c.predicates[Log] for c in claims_on(Log, "metrics")}

REAL = PACKAGE / "resources" / "stage2_logging.jsonl"
B_STEPS = (2, 3, 4, 6, 7, 8)
EXPLORER = "rollout/explorer/"
SEEDS = [52084.375, 104167.864583, 156251.354167, 260418.333333, 375002.1875, 364585.3125]


@pytest.fixture(scope="module")
def log() -> Log:
    return read_log(REAL, vocabulary())


def problems(log: Log, claim: str) -> list[Problem]:
    return list(PREDICATES[f"metrics.{claim}"](log, Ledger()))


def at(found: list[Problem]) -> set[tuple[str, int | None]]:
    return {(p.subject, step) for p in found for step in p.counterexample["steps"]}


EXPECTED = {
    "required_keys": set(),
    "only_when_executed": {("time/rollout_total_time", 1), ("time/rollout_total_time", 5)},
    "b_ratio_consistent": set(),
    "counters_are_counts": {
        (key, step)
        for key in (f"{EXPLORER}pred_objects", f"{EXPLORER}valid_pred_objects", "dup/raw/max_desc_count")
        for step in B_STEPS
    }
    | {(f"{EXPLORER}near_iou90_any", step) for step in (2, 7, 8)},
    "reasons_add_up": set(),
    "rates_divide": {("rollout/matched_for_supervision_count", step) for step in B_STEPS},
    "identity_not_averaged": {("rollout/seed_base", step) for step in B_STEPS},
    "per_step_not_cumulative": {
        (key, step) for key in ("time/sft_total_time", "time/rollout_total_time") for step in range(1, 9)
    },
    "finite": set(),
    "step_once": set(),
    "schema_stable": {
        ("stage2_ab/channel_b/strict_drop/reason/missing_desc", step) for step in B_STEPS if step not in (4, 7)
    },
}


@pytest.mark.parametrize("claim", EXPECTED)
def test_what_is_wrong_is_found_and_no_more(log: Log, claim: str) -> None:
    assert at(problems(log, claim)) == EXPECTED[claim]


def test_every_claim_that_a_log_can_decide_is_expected_here() -> None:
    assert {f"metrics.{c}" for c in EXPECTED} == set(PREDICATES)


def test_the_seeds_were_diluted_as_worked_out_by_hand(log: Log) -> None:
    found = {p.counterexample["steps"][0]: p.actual for p in problems(log, "identity_not_averaged")}
    assert [found[s] for s in B_STEPS] == pytest.approx(SEEDS)
    share = {s: (6 if s == 7 else 5) / 96 for s in B_STEPS}
    assert [found[s] for s in B_STEPS] == pytest.approx([(17 + (s - 1) * 1_000_003) * share[s] for s in B_STEPS])


def test_the_matches_were_counted_once_a_micro_step(log: Log) -> None:
    for row in log.train:
        if row.channel == "B":
            once = row.values["rollout/matched_for_supervision"]
            assert row.values["rollout/matched_for_supervision_count"] == once * row.values["train/micro_steps"]


def test_the_channels_and_kinds_of_rows(log: Log) -> None:
    assert "".join(r.channel for r in log.train) == "ABBBABBB"
    assert Counter(r.kind for r in log.rows) == {"train": 8, "eval": 1, "summary": 1}


def test_findings_name_the_file_the_line_and_how_much_was_judged() -> None:
    findings = {f.invariant: f for f in audit_log(REAL)}
    assert [i for i, f in findings.items() if f.status == "held"] == [
        "metrics.b_ratio_consistent",
        "metrics.finite",
        "metrics.reasons_add_up",
        "metrics.required_keys",
        "metrics.step_once",
    ]
    assert all(f.status in ("held", "violated") for f in findings.values())
    assert findings["metrics.finite"].checked == sum(
        isinstance(v, (int, float)) for line in REAL.read_text().splitlines() for v in json.loads(line).values()
    )
    counters = findings["metrics.counters_are_counts"]
    assert counters.violation_count == 21
    assert len(counters.violations) == EXAMPLES
    seeds = findings["metrics.identity_not_averaged"]
    assert {v.where.line for v in seeds.violations if v.where} <= set(B_STEPS)
    assert seeds.evidence[0].path == REAL.name
    assert len(seeds.evidence[0].digest) == 16


def test_two_audits_say_the_same(tmp_path: Path) -> None:
    def said(path: Path) -> list[tuple[object, ...]]:
        return [(f.invariant, f.status, f.checked, f.violations, f.evidence) for f in audit_log(path)]

    assert said(REAL) == said(REAL)
