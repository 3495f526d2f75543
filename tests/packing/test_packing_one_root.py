"""One thing that is wrong in a pack is told once, and as heavy as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.packing import surfaces as s
from coordexp_audit_lib.boundaries.packing.claims.positions_restart import mrope_runs_on
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.fault import Fault, Honest
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import audit
from coordexp_audit_lib.core.surface import Refuse
from coordexp_audit_lib.targets.reference import ReferenceTarget

boundaries.load(["packing"])
OF_BATCHES = ("cu_seqlens", "each_once", "fields_aligned", "no_cross_boundary_label", "positions_restart")
OF_MODELS = ("segments_isolated", "loss_equivalent")


def found(surface: Any, apply: Callable[[Any, Honest], Any], names: tuple[str, ...]) -> dict[str, Finding]:
    target = ReferenceTarget(Fault("broken", surface, (), "", apply))
    chosen = [c for c in claims("packing") if c.id.partition(".")[2] in names]
    return {f.invariant.partition(".")[2]: f for f in audit(target, chosen, [])}


def test_a_pack_that_is_lost_is_one_finding() -> None:
    def loses(request: s.BatchRequest, honest: Honest) -> s.BatchResponse:
        return s.BatchResponse(honest(request).batches[:-1])

    told = found(s.BATCH, loses, OF_BATCHES)
    assert [n for n, f in told.items() if f.status == "violated"] == ["each_once"]
    assert "are in no pack" in told["each_once"].violations[0].message


def test_mrope_rows_that_run_on_over_samples_that_are_kept_apart_are_advice() -> None:
    told = found(s.BATCH, mrope_runs_on, ("positions_restart",))["positions_restart"]
    assert (told.status, told.severity) == ("violated", "P2")
    assert "by effect it is harmless" in told.violations[0].message


@pytest.mark.model
def test_a_pack_that_is_lost_before_the_model_is_no_fault_of_isolation_or_loss() -> None:
    def loses(request: s.ForwardRequest, honest: Honest) -> s.Forward:
        made = honest(request)
        return msgspec.structs.replace(made, packs=made.packs[:-1])

    assert {f.status for f in found(s.FORWARD, loses, OF_MODELS).values()} <= {"held", "unbound"}


def test_bounds_that_no_kernel_could_take_are_what_isolation_tells() -> None:
    why = "cu_seqlens bound 1 segments of up to 130 tokens, and max_seqlen is 70"

    def one_segment(request: s.ForwardRequest, honest: Honest) -> s.Forward:
        raise Refuse(why, "Misbounded")

    told = found(s.FORWARD, one_segment, OF_MODELS)
    assert (told["segments_isolated"].status, told["segments_isolated"].severity) == ("violated", "P0")
    assert why in told["segments_isolated"].violations[0].message
    assert told["loss_equivalent"].status == "unbound"
    assert "packing.segments_isolated" in told["loss_equivalent"].note
