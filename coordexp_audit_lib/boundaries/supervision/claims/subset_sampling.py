"""Which objects are given and which are asked for is drawn from seed, epoch and sample alone, as often each way as the
mixture says, with even chances for every object.

The objective is a mean over such draws. If some object is asked for more often than another, the model learns the order
of the annotation; if every sample or every epoch is divided alike, the mean is over far fewer draws than the log says;
and if the draw hangs on more than seed, epoch and sample, no rerun repeats it.

Example: of 6 objects 3 are candidates "chosen evenly", and the last one always is among them: it is scored twice as
often as the others."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.predicates import subsets
from coordexp_audit_lib.boundaries.supervision.surfaces.continuation import SUBSETS, Subset, SubsetRequest, Subsets
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, asked, fault
from coordexp_audit_lib.core.finding import Violation

MIXTURE = {"empty_prefix": 0.3, "random_subset": 0.45, "leave_one_out": 0.2, "full_prefix": 0.05}
DRAWS = 1500


@claim(
    severity="P1", kind="B", remedy="Seed one generator by seed, epoch and sample, and choose from it without favour."
)
def subset_sampling(ctx: Context) -> Iterator[Violation]:
    cases = [(f"{n} objects, {k or 'all'} scored", n, k) for n, k in ((6, 0), (6, 3), (2, 0), (1, 0), (0, 0))]
    for name, objects, candidates in cases:
        request = SubsetRequest(objects, MIXTURE, candidates, seed=17, samples=DRAWS, epochs=2)
        first, later = ctx.value(SUBSETS, request).drawn
        found = [*subsets.sound(request, [*first, *later], ctx)]
        if objects > 1:
            again = ctx.value(SUBSETS, replace(request, samples=40, epochs=1)).drawn[0]
            found += subsets.seeded(first[:40], again, later[:40], ctx)
            found += subsets.even(request, [*first, *later], ctx)
        if objects:
            found += subsets.mixed(request, [*first, *later], ctx)
        for p in found:
            yield p.violation(name, {"objects": objects, "scored": candidates, "draws": 2 * DRAWS})


fault(subset_sampling, "epochs_alike", SUBSETS, "the epoch is no part of the seed")(
    lambda request, honest: Subsets([honest(request).drawn[0]] * request.epochs)
)
fault(subset_sampling, "samples_alike", SUBSETS, "the sample is no part of the seed")(
    lambda request, honest: Subsets([[drawn[0]] * len(drawn) for drawn in honest(request).drawn])
)
fault(subset_sampling, "mixture_ignored", SUBSETS, "every way to divide is drawn equally often")(
    asked(mixture=lambda request: dict.fromkeys(request.mixture, 0.25))
)


@fault(subset_sampling, "last_always", SUBSETS, "the last of the remaining objects is always a candidate")
def last_always(request: SubsetRequest, honest: Honest) -> Subsets:
    def favoured(one: Subset) -> Subset:
        if not one.remaining or max(one.remaining) in one.candidates:
            return one
        return replace(one, candidates=[*one.candidates[1:], max(one.remaining)])

    return Subsets([[favoured(one) for one in drawn] for drawn in honest(request).drawn])
