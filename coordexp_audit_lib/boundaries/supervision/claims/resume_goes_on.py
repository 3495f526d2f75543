"""A run that was stopped and goes on from its checkpoint logs the losses, and ends with the weights, of one without a
break.

A long run is stopped and resumed. Where the optimizer's state, the schedule or the order of samples is not taken up
again, what follows is another run: some samples come twice, others never, and the rate jumps, with nothing to see but
a kink in the loss.

Example: resumed after 2 of 8 steps, the third step logs another loss than the run without a break."""

from __future__ import annotations

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases.training import BREAK, of_repeated
from coordexp_audit_lib.boundaries.supervision.faults import sound_repeat
from coordexp_audit_lib.boundaries.supervision.predicates import running
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

resume_goes_on = artifact_claim(
    id="supervision.resume_goes_on",
    doc=__doc__,
    severity="P1",
    remedy="Save and load optimizer, scheduler and random states with the model, and skip what was trained on.",
    on={running.Repeated: running.repeats},
    asks=of_repeated(resume_after=BREAK),
)


spoil(resume_goes_on, "resumed_elsewhere", "after resuming another order is drawn", sound_repeat)(
    lambda seen: replace(seen, again=[2.0, 1.75, 1.25], state_again="b")
)
spoil(resume_goes_on, "rate_anew", "only the weights differ at the end", sound_repeat)(
    lambda seen: replace(seen, state_again="b")
)
