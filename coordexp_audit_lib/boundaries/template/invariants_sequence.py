"""The claims about labels, images, length and state."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.template import cases
from coordexp_audit_lib.boundaries.template import contract as c
from coordexp_audit_lib.boundaries.template import predicates as p
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.finding import Violation

BOUNDARY = "template"
STATE_SPEC = "openspec/specs/silent-failure-policy/spec.md (temporary mutable state is restored)"
SETTLED = 1_000_000
TOKENS_PER_OBJECT = 20  # fewer than any object takes


@invariant(
    "template.labels_cover_assistant",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Labels are −100 on every prompt token and pad; the first supervised token is the first of the assistant "
    "turn; the turn ends with one <|im_end|>.",
    remedy="Take the labels from the template's own encode, unshifted, and pad them with −100.",
    spec="openspec/specs/training-pipeline-audit/spec.md; ms-swift qwen3_vl template",
)
def labels_cover_assistant(ctx: Context) -> Iterator[Violation]:
    supervised = 0
    for name, request in cases.encode_requests():
        made = ctx.value(c.ENCODE, request)
        if len(made.alone) != len(request.records) or len(made.padded_ids) != len(request.records):
            yield Violation("a record was lost", name, len(request.records), len(made.alone), {"case": name})
            continue
        for number, sample in enumerate(made.alone):
            ctx.judged(2)
            case = {"case": name, "record": number}
            supervised += sum(y != -100 for y in sample.labels)
            row = (made.padded_ids[number], made.padded_labels[number])
            found = [*p.label_problems(sample.input_ids, sample.labels)]
            found += p.pad_problems(*row, sample.input_ids, made.pad)
            for problem in found:
                yield _violation(problem, name, case)
    ctx.fact("supervised tokens", supervised)


@invariant(
    "template.image_tokens_match_grid",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Image placeholders equal the grid t·h·w / merge² for every image, in order.",
    remedy="Expand each image's placeholder from the grid that the image processor gave for that very image.",
    spec="openspec/specs/training-pipeline-audit/spec.md; ms-swift qwen3_vl template",
)
def image_tokens_match_grid(ctx: Context) -> Iterator[Violation]:
    for name, request in cases.encode_requests():
        made = ctx.value(c.ENCODE, request)
        for number, (record, sample) in enumerate(zip(request.records, made.alone, strict=True)):
            ctx.judged(len(record.pictures))
            for problem in p.grid_problems(sample.input_ids, sample.grid, record.pictures):
                yield _violation(problem, name, {"case": name, "record": number, "pictures": list(record.pictures)})


def _violation(problem: p.Problem, name: str, case: dict[str, object]) -> Violation:
    text = problem.message if problem.token is None else f"{problem.message} (token {problem.token})"
    return Violation(text, name, problem.expected, problem.actual, {**case, "token": problem.token})


@invariant(
    "template.no_truncation",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    per_config=True,
    claim="A sample longer than the limit is an error under truncation_strategy raise; none is cut inside the "
    "assistant turn.",
    remedy="Set template.truncation_strategy to raise, and filter samples above global_max_length out before training.",
    spec="openspec/specs/stage2-ab-training/spec.md; openspec/specs/packing-dataset/spec.md (oversized samples)",
)
def no_truncation(ctx: Context) -> Iterator[Violation]:
    settings = ctx.value(c.SETTINGS, c.SettingsRequest(ctx.target.config_path(ctx.config)))
    ctx.fact("truncation_strategy", settings.strategy)
    ctx.fact("limit in tokens", settings.max_length)
    whole = ctx.value(c.LIMIT, c.LimitRequest(8, SETTLED, "raise")).whole_length
    for limit in (whole, whole + 1):
        yield from _whole(ctx, c.LimitRequest(8, limit, settings.strategy))
    for limit in (whole - 1, whole - 60):
        yield from _beyond(ctx, c.LimitRequest(8, limit, "raise"))
    if settings.max_length is not None:
        beyond = settings.max_length // TOKENS_PER_OBJECT
        yield from _beyond(ctx, c.LimitRequest(beyond, settings.max_length, settings.strategy))


def _whole(ctx: Context, request: c.LimitRequest) -> Iterator[Violation]:
    """A sample that fits is encoded whole."""
    ctx.judged()
    answer = ctx.ask(c.LIMIT, request)
    if answer.refused:
        yield Violation("a sample that fits the limit is refused", _name(request), "encoded", answer.refusal, request)
    elif answer.value.length != answer.value.whole_length or not answer.value.ended:
        yield Violation("a sample that fits the limit is cut", _name(request), None, answer.value.length, request)


def _beyond(ctx: Context, request: c.LimitRequest) -> Iterator[Violation]:
    """A sample above the limit is an error under `raise`, and never cut inside its answer."""
    ctx.judged()
    answer = ctx.ask(c.LIMIT, request)
    if answer.refused:
        return
    made, case = answer.value, {"objects": request.objects, "limit": request.max_length, "strategy": request.strategy}
    if made.answer < made.whole_answer or not made.ended:
        lost = made.whole_answer - made.answer
        yield Violation(
            f"under truncation_strategy {request.strategy} a sample of {made.whole_length} tokens is cut to "
            f"{made.length} inside the assistant turn: {lost} supervised tokens are lost without an error",
            _name(request),
            {"answer": made.whole_answer, "ended": True},
            {"answer": made.answer, "ended": made.ended},
            case,
        )
    elif request.strategy == "raise":
        yield Violation("a sample above the limit is encoded", _name(request), "an error", made.length, case)


def _name(request: c.LimitRequest) -> str:
    return f"limit {request.max_length}, {request.strategy}"


@invariant(
    "template.state_restored",
    boundary=BOUNDARY,
    severity="P1",
    kind="B",
    claim="A per-sample system prompt does not leak to the next sample, also after an exception.",
    remedy="Restore the template's settings in a finally block around the encode.",
    spec=STATE_SPEC,
)
def state_restored(ctx: Context) -> Iterator[Violation]:
    yield from _encodes(ctx)
    for request in cases.switch_requests():
        ctx.judged()
        made = ctx.value(c.SWITCH, request)
        if made.before != made.after:
            how = "after an exception" if request.fails else "afterwards"
            yield Violation(
                f"a temporary template state is still on {how}",
                " in ".join(request.names[::-1]),
                made.before,
                made.after,
                request,
            )


def _encodes(ctx: Context) -> Iterator[Violation]:
    applied = False
    for steps in cases.state_walks():
        made = ctx.value(c.STATE, c.StateRequest(steps))
        first: dict[str | None, str] = {}
        for number, (step, told) in enumerate(zip(steps, made.steps, strict=True)):
            ctx.judged()
            case = {"steps": steps[: number + 1]}
            after = "a sample that failed" if step.fails else "a sample"
            left = sorted(k for k in made.before if told.state.get(k) != made.before[k])
            if left:
                message = f"{after} with a system prompt of its own leaves the template changed: {', '.join(left)}"
                yield Violation(message, f"step {number}", made.before[left[0]], told.state.get(left[0]), case)
            if step.fails and not told.raised:
                yield Violation(
                    "a sample with an unreadable image raises nothing", f"step {number}", "an error", "", case
                )
            if not step.fails and first.setdefault(step.system, told.ids) != told.ids:
                message = "the same sample is encoded differently after one with a system prompt of its own"
                yield Violation(message, f"step {number}", first[step.system], told.ids, case)
        applied |= len(set(first.values())) > 1
    ctx.fact("a sample's own system prompt changes its tokens", applied)
