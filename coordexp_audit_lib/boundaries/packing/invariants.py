"""The claims of the packing boundary about plans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.packing import cases, plans
from coordexp_audit_lib.boundaries.packing.contract import Problem
from coordexp_audit_lib.boundaries.packing.surfaces import DRAIN, PLAN, STREAM, DrainRequest, PlanRequest
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.surface import Surface

SPEC = "openspec/specs/packing-dataset/spec.md"
ROLLOUT_SPEC = "openspec/specs/rollout-matching-sft/spec.md"
NAMES = {PLAN.name: "static packing", STREAM.name: "dynamic packing", DRAIN.name: "post-rollout packing"}
MAKERS: tuple[tuple[Surface[Any, Any], Any], ...] = (
    (PLAN, cases.plan_requests),
    (STREAM, cases.stream_requests),
    (DRAIN, cases.drain_requests),
)


def asked(ctx: Context) -> Iterator[tuple[Surface[Any, Any], Any, Any]]:
    """Every (surface, request, answer) of the packers that this target has; the ones it lacks are noted."""
    known = ctx.target.bindings()
    there = [q.name for q, _ in MAKERS if q.name in known and known[q.name].status in ("bound", "moved")]
    if not there:
        raise SurfaceUnbound("the target has no packer at all", where=PLAN.name)
    for question, make in MAKERS:
        if question.name not in there:
            ctx.fact("not in this tree", NAMES[question.name])
            continue
        for request in make(ctx.rng("plans")):
            yield question, request, ctx.ask(question, request)


def violation(question: Surface[Any, Any], request: Any, problem: Problem) -> Violation:
    """A problem of a plan, with the request that shows it."""
    fields = {f: getattr(request, f) for f in request.__struct_fields__ if f != "repeat"}
    if len(fields["lengths"]) > 40:
        fields["lengths"] = f"{len(fields['lengths'])} realistic lengths"
    return Violation(
        f"{NAMES[question.name]}: {problem.message}",
        subject=NAMES[question.name],
        expected=problem.expected,
        actual=problem.actual,
        counterexample=fields,
    )


@invariant(
    "packing.capacity",
    boundary="packing",
    severity="P0",
    kind="B",
    claim="Each pack's length is at most packing_length; no sample is split; an over-long one is refused or emitted "
    "alone, as configured, and counted.",
    remedy="Bound every pack by the sum of its samples' lengths, and count what is emitted alone or skipped.",
    spec=f"{SPEC} (Oversized sample handling); {ROLLOUT_SPEC} (Safety requirements)",
)
def capacity(ctx: Context) -> Iterator[Violation]:
    for question, request, answer in asked(ctx):
        ctx.judged()
        if answer.refused:
            if max(request.lengths) <= request.packing_length and not getattr(request, "drop_last", False):
                yield violation(
                    question, request, Problem("samples that fit are refused", None, "packs", answer.refusal.message)
                )
            continue
        allow = getattr(request, "allow_single_long", False)
        found = list(plans.within_capacity(request.lengths, answer.value.packs, request.packing_length, allow))
        if question is not DRAIN:
            made, length = answer.value, request.packing_length
            counts = (made.single_long, made.skipped_long)
            found += plans.long_accounted(request.lengths, made.packs, length, allowed=allow, counts=counts)
        for problem in found:
            yield violation(question, request, problem)
    yield from _over_long_segments(ctx)


def _over_long_segments(ctx: Context) -> Iterator[Violation]:
    """A rollout segment that fits no pack is refused when it is buffered, wherever it stands."""
    if ctx.target.bindings()[DRAIN.name].status not in ("bound", "moved"):
        return
    for lengths in ([11], [3, 11], [10, 2, 11, 4]):
        ctx.judged()
        request = DrainRequest(lengths, 10)
        answer = ctx.ask(DRAIN, request)
        if not answer.refused:
            problem = Problem(
                "a segment longer than packing_length is not refused", None, "refusal", answer.value.packs
            )
            yield violation(DRAIN, request, problem)


@invariant(
    "packing.each_once",
    boundary="packing",
    severity="P0",
    kind="B",
    claim="Every sample appears once, or is in the drop count.",
    remedy="Count the samples of every dropped pack and report the number beside the plan; drop at most the last pack.",
    spec=f"{SPEC} (Bin-packing with carry-over buffer)",
)
def each_once(ctx: Context) -> Iterator[Violation]:
    for question, request, answer in asked(ctx):
        ctx.judged()
        if answer.refused:  # loud, so nothing is lost in silence
            continue
        skipped, dropped = (getattr(answer.value, n, 0) for n in ("skipped_long", "dropped"))
        for problem in plans.each_once(len(request.lengths), answer.value.packs, skipped, dropped):
            yield violation(question, request, problem)
    _note_drops(ctx)


def _note_drops(ctx: Context) -> None:
    """How much `drop_last` drops where several packs are underfilled: three samples of 60 at a capacity of 100."""
    if ctx.target.bindings()[PLAN.name].status in ("bound", "moved"):
        kept, cut = (ctx.ask(PLAN, PlanRequest([60, 60, 60, 90, 5], 100, drop_last=d)) for d in (False, True))
        if kept.content and cut.content:
            gone = len(kept.content.packs) - len(cut.content.packs)
            ctx.fact(
                "packs that drop_last drops of lengths 60, 60, 60, 90, 5 at 100", f"{gone} of {len(kept.content.packs)}"
            )


@invariant(
    "packing.stable_order",
    boundary="packing",
    severity="P1",
    kind="B",
    claim="Samples keep dataset order inside a pack; the same input gives the same plan, byte for byte.",
    remedy="Sort each pack by dataset index after every carry-over, and break ties by index.",
    spec=f"{ROLLOUT_SPEC} (Selection requirements)",
)
def stable_order(ctx: Context) -> Iterator[Violation]:
    for question, request, answer in asked(ctx):
        ctx.judged()
        again = ctx.ask(question, _repeated(request))
        if again != answer:
            yield violation(
                question, request, Problem("the same input gives another plan", None, "equal plans", "different")
            )
        if not answer.refused:
            for problem in plans.in_order(answer.value.packs):
                yield violation(question, request, problem)


def _repeated(request: Any) -> Any:
    fields = {f: getattr(request, f) for f in request.__struct_fields__}
    return type(request)(**{**fields, "repeat": 1})


@invariant(
    "packing.ddp_aligned",
    boundary="packing",
    severity="P0",
    kind="B",
    claim="Every rank gets the same number of packs, and the union of the ranks is the plan.",
    remedy="Repeat packs cyclically until the plan is a multiple of the ranks, or refuse with both numbers.",
    spec="src/datasets/wrappers/packed_caption.py (_align_pack_plan_for_ddp); openspec/specs/packing-dataset/spec.md",
)
def ddp_aligned(ctx: Context) -> Iterator[Violation]:
    """Packs from 1 to 13, one sample each, on 1 to 8 ranks, with and without dataloader_drop_last; then a real plan."""
    plain = [([90] * packs, 100) for packs in (1, 3, 5, 8, 13)]
    real = (cases.realistic_lengths(ctx.rng("ddp"), 60), cases.GLOBAL_MAX_LENGTH)
    for lengths, length in [*plain, real]:
        for world in range(1, 9):
            for drop_last in (False, True):
                request = PlanRequest(lengths, length, world_size=world, dataloader_drop_last=drop_last)
                answer = ctx.ask(PLAN, request)
                ctx.judged()
                if answer.refusal:
                    if problem := _refusal_unfit(answer.refusal.type, answer.refusal.message, drop_last):
                        yield violation(PLAN, request, problem)
                    continue
                for problem in plans.ranks_aligned(answer.value, world, drop_last):
                    yield violation(PLAN, request, problem)


def _refusal_unfit(kind: str, message: str, drop_last: bool) -> Problem | None:
    """Fewer packs than ranks may be refused, on purpose; an accident of indexing is no refusal."""
    if kind in ("ValueError", "RuntimeError", "Refuse"):
        return None
    how = "cut" if drop_last else "filled up"
    text = f"a plan with fewer packs than ranks can't be {how}: it ends in {kind} ({message})"
    return Problem(text, None, "packs for every rank, or a refusal that says why", kind)


# The claims about batches are declared after those about plans, then those that a real model or a config judges.
from coordexp_audit_lib.boundaries.packing import selection_invariant  # noqa: E402, F401, I001
from coordexp_audit_lib.boundaries.packing import batch_invariants, isolation_invariants, evaluation_invariants  # noqa: E402, F401
