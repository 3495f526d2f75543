"""`Stage2Telemetry`: what a trainer emits with it is right by construction, on one rank and on two."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log, row_of
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import vocabulary
from coordexp_audit_lib.boundaries.metrics.reference.telemetry import Stage2Telemetry, State, merged
from coordexp_audit_lib.core.claim import Ledger, claims_on
from coordexp_audit_lib.core.errors import AuditError, InvariantViolation

boundaries.load(["metrics"])
WORDS = vocabulary()
PREDICATES = {c.id: c.predicates[Log] for c in claims_on(Log, "metrics")}


def begun(channel: str = "B") -> Stage2Telemetry:
    telemetry = Stage2Telemetry()
    telemetry.step_began(channel)
    return telemetry


def together(*ranks: Stage2Telemetry) -> list[dict[str, float | str]]:
    states = [rank.state() for rank in ranks]
    return [rank.finish(lambda _: states) for rank in ranks]


def test_counts_add_over_micro_steps_and_ranks() -> None:
    a, b = begun(), begun()
    a.count("x", 2)
    a.count("x", 3)
    b.count("x", 4)
    first, second = together(a, b)
    assert first == second
    assert first["x"] == 9


def test_gauges_are_averaged_where_they_are_present() -> None:
    a, b = begun(), begun()
    a.gauge("g", 1.0, weight=3)
    a.gauge("g", 2.0, weight=1)
    a.gauge("only here", 7.0)
    b.gauge("g", 4.0, weight=4)
    payload = together(a, b)[0]
    assert payload["g"] == pytest.approx((3 + 2 + 16) / 8)
    assert payload["only here"] == 7.0


def test_seconds_add_within_a_rank_and_the_slowest_rank_counts() -> None:
    a, b = begun(), begun()
    for spent in (1.0, 2.0):
        a.seconds(WORDS.generate, spent)
    b.seconds(WORDS.generate, 2.5)
    assert together(a, b)[0][WORDS.generate] == 3.0


def test_rates_are_of_the_sums_and_left_out_over_zero() -> None:
    a, b = begun(), begun()
    for rank, over, under in ((a, 1, 1), (b, 1, 9)):
        rank.count("over", over)
        rank.count("under", under)
        rank.count("none", 0)
        rank.rate("r", over="over", under="under")
        rank.rate("over nothing", over="over", under="none")
    payload = together(a, b)[0]
    assert payload["r"] == 0.2
    assert "over nothing" not in payload


def test_identities_are_exact_or_refused() -> None:
    telemetry = begun()
    telemetry.identity("rollout/seed_base", 2_000_000_011)
    telemetry.identity("rollout/seed_base", 2_000_000_011)
    with pytest.raises(InvariantViolation, match="identity_not_averaged"):
        telemetry.identity("rollout/seed_base", 2_000_000_012)
    other = begun()
    other.identity("rollout/seed_base", 5)
    with pytest.raises(InvariantViolation, match="on one rank"):
        together(telemetry, other)


def test_a_seed_beyond_float32_is_kept_to_the_last_digit() -> None:
    telemetry = begun()
    telemetry.identity("rollout/seed_base", 2_147_483_647)
    assert telemetry.finish()["rollout/seed_base"] == 2_147_483_647


@pytest.mark.parametrize("number", [-1, 0.5, True])
def test_what_is_no_count_is_refused(number: Any) -> None:
    with pytest.raises(InvariantViolation, match="counters_are_counts"):
        begun().count("x", number)


@pytest.mark.parametrize(("value", "weight"), [(float("nan"), 1.0), (float("inf"), 1.0), (1.0, 0.0), (1.0, -1.0)])
def test_what_is_not_finite_is_refused(value: float, weight: float) -> None:
    with pytest.raises(InvariantViolation, match="finite"):
        begun().gauge("x", value, weight)


def test_no_rollout_time_on_channel_a() -> None:
    with pytest.raises(InvariantViolation, match="only_when_executed"):
        begun("A").seconds("time/rollout_generate_s", 0.0)
    begun("B").seconds("time/rollout_generate_s", 0.0)


def test_one_name_has_one_kind() -> None:
    telemetry = begun()
    telemetry.count("x")
    with pytest.raises(AuditError, match="recorded as gauges and as counts"):
        telemetry.gauge("x", 1.0)


def test_steps_begin_and_end() -> None:
    telemetry = begun()
    with pytest.raises(AuditError, match="not finished"):
        telemetry.step_began("B")
    telemetry.finish()
    with pytest.raises(AuditError, match="no step has begun"):
        telemetry.count("x")
    with pytest.raises(AuditError, match="use A or B"):
        telemetry.step_began("C")


def test_the_ratio_goes_on_after_a_resume() -> None:
    telemetry = Stage2Telemetry()
    for channel in "ABBB":
        telemetry.step_began(channel)
        telemetry.finish()
    resumed = Stage2Telemetry()
    resumed.load_state_dict(telemetry.state_dict())
    resumed.step_began("A")
    assert resumed.finish()[WORDS.ratio] == 3 / 5


def test_what_it_emits_passes_every_claim_with_the_least_that_a_trainer_records() -> None:
    telemetry, rows = Stage2Telemetry(), []
    for step, channel in enumerate("ABBBABBB"):
        telemetry.step_began(channel)
        telemetry.seconds("time/forward_s", 1.0 + step % 2)
        if channel == "B":
            telemetry.identity("rollout/seed_base", 17 + step * 1_000_003)
            telemetry.seconds(WORDS.generate, 2.0 + step % 2)
            telemetry.count("rollout/gen_new_tokens_total", 100)
            telemetry.rate(WORDS.throughput, over="rollout/gen_new_tokens_total", under=WORDS.generate)
            telemetry.dropped("wrong_arity", step % 3)
        rows.append(row_of({"loss": 1.0, "step": step + 1, **telemetry.finish()}, step + 1, WORDS))
    made = Log("its log", rows, WORDS)
    assert {name: [p.message for p in check(made, Ledger())] for name, check in PREDICATES.items()} == {
        name: [] for name in PREDICATES
    }


def test_channels_must_agree_over_ranks() -> None:
    with pytest.raises(InvariantViolation, match="different channels"):
        merged([State("A"), State("B")])


RANK = """
import json, sys
import torch.distributed as dist
from coordexp_audit_lib.boundaries.metrics.reference.telemetry import Stage2Telemetry
rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
telemetry = Stage2Telemetry()
telemetry.step_began("B")
telemetry.identity("rollout/seed_base", 1000020)
telemetry.count("stage2/raw_rollouts", 3 + rank)
if rank:
    telemetry.gauge("coord_diag/acc_top5", 0.5)
print(json.dumps(telemetry.finish()))
dist.destroy_process_group()
"""


def test_two_real_gloo_ranks_agree(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RANK]
    ranks = [
        subprocess.Popen([*command, str(r), str(tmp_path / "store")], stdout=subprocess.PIPE, text=True) for r in (0, 1)
    ]
    try:
        first, second = (json.loads(p.communicate(timeout=100)[0]) for p in ranks)
    finally:
        for process in ranks:
            process.kill()
            process.wait()
    assert first == second
    assert (first["rollout/seed_base"], first["stage2/raw_rollouts"], first["coord_diag/acc_top5"]) == (1000020, 7, 0.5)
