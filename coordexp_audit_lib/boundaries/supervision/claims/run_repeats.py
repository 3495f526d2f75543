"""A run that is started again with the same seed logs the same losses and ends with the same weights.

Two runs are compared to learn what a setting changes. Where a run differs from itself, by an order that is drawn from
the clock, a sampler that goes on where the last one stopped, a dropout that no seed reaches, every such comparison
holds that difference too, and nobody can repeat what a paper reports.

Example: the second of two runs with `seed: 42` in one process logs other losses from its first step on."""

from __future__ import annotations

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases.training import of_repeated
from coordexp_audit_lib.boundaries.supervision.faults import sound_repeat
from coordexp_audit_lib.boundaries.supervision.predicates import running
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

run_repeats = artifact_claim(
    id="supervision.run_repeats",
    doc=__doc__,
    severity="P1",
    remedy="Seed everything before the model is made and again before training; keep no random state between runs.",
    on={running.Repeated: running.repeats},
    asks=of_repeated(repeat=1),
)


spoil(run_repeats, "losses_part", "the second run draws another order", sound_repeat)(
    lambda seen: replace(seen, again=[2.0, 1.75, 1.25], state_again="b")
)
spoil(run_repeats, "weights_part", "only the weights differ at the end", sound_repeat)(
    lambda seen: replace(seen, state_again="b")
)
