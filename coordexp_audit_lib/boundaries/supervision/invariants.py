"""The claims of boundary 07 on Channel-B's targets; the others stand beside it and are declared by import, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from coordexp_audit_lib.boundaries.supervision import inputs, invariants_parts, invariants_schedule, judge
from coordexp_audit_lib.boundaries.supervision.asking import over
from coordexp_audit_lib.boundaries.supervision.contract import (
    CHANNEL_A,
    CHANNEL_B,
    ROLES,
    RolesRequest,
    Sample,
    SegmentB,
)
from coordexp_audit_lib.boundaries.supervision.inputs import Case
from coordexp_audit_lib.boundaries.supervision.reading import APPENDED, MATCHED, Reading, read
from coordexp_audit_lib.boundaries.supervision.roles import DESC, STRUCTURE, is_coordinate, layout, shown, text_of
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.finding import Violation

__all__ = ["invariants_parts"]
BOUNDARY = "supervision"
SPEC = "openspec/specs/stage2-ab-training/spec.md"


def slopes(case: Case) -> bool:
    """Whether the gradient tells the target bin: SmoothL1 is the only geometry term."""
    return case.request.ciou_weight == 0 and not case.request.all_terms


@invariant(
    "supervision.token_roles_partition",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Every assistant token has exactly one role (structure, desc, coordinate, closure); a BPE token that "
    "straddles two roles is found, listed, and treated by one stated rule, and masks agree with gradients "
    "token by token.",
    remedy="Give a straddling token one role in both places where roles are derived: matched prefix and appended tail.",
    spec=f"{SPEC}: CE masking follows matched/FP/FN policy",
)
def token_roles_partition(ctx: Context) -> Iterator[Violation]:
    rules: dict[str, list[str]] = {}

    def judged(case: Case, segment: SegmentB, reading: Reading, sample: Sample) -> Iterable[judge.Problem]:
        for p, token in enumerate(reading.view.tokens):
            if DESC in token.roles and STRUCTURE in token.roles and len(token.objects) == 1:
                treated = judge.treatment(segment, reading, p, case.request.desc_ce_weight)
                rule = judge.rule_of(token, reading.fates[token.objects[0]], treated)
                if rule is not None:
                    rules.setdefault(rule, []).append(f"{case.name}: {judge.place(segment, p)}")
        return judge.masks_agree(segment, case.request.all_terms)

    yield from over(ctx, inputs.taught(), judged)
    ctx.fact("rule for tokens that cover desc and structure", sorted(rules))
    if len(rules) > 1:
        examples = {rule: places[0] for rule, places in sorted(rules.items())}
        yield Violation("tokens that cover desc and structure are treated by more than one rule", "rule", 1, examples)
    yield from _claimed_roles(ctx)


def _claimed_roles(ctx: Context) -> Iterator[Violation]:
    """The pipeline's own lists of desc and coordinate tokens: disjoint, and complete for what lies within one role."""
    texts = [("generated", inputs.rollout(inputs.ODD))]
    texts += [t for i, t in enumerate(inputs.real_texts()) if i % 4 == 0]
    for (name, ids), roles in zip(texts, ctx.value(ROLES, RolesRequest([i for _, i in texts])).texts, strict=True):
        tokens = layout(ids, "desc_first").tokens
        ctx.judged(len(tokens))
        coordinates = [p for p, t in enumerate(ids) if is_coordinate(t)]
        if sorted(roles.coordinate) != coordinates:
            yield Violation("the coordinate tokens are not those of the text", name, coordinates, roles.coordinate)
        both = sorted(set(roles.desc) & set(roles.coordinate))
        if both:
            yield Violation("a token is desc and coordinate at once", name, [], both)
        wrong = [p for p, t in enumerate(tokens) if (p in roles.desc) != (DESC in t.roles) and not t.straddles]
        if wrong:
            what = [f"{p}: {shown(ids[p])!r}" for p in wrong[:5]]
            yield Violation("a token that lies within one role got another", name, "desc only within desc", what)


@invariant(
    "supervision.coord_out_of_ce",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Coordinate tokens never enter cross-entropy, in either channel.",
    remedy="Mask the labels of the thousand coordinate ids in both channels.",
    spec=f"{SPEC}: Coord tokens MUST NOT contribute to CE",
)
def coord_out_of_ce(ctx: Context) -> Iterator[Violation]:
    yield from over(
        ctx,
        inputs.taught(),
        lambda case, segment, reading, _: judge.coordinates_out(segment, reading, case.request.all_terms),
    )
    yield from invariants_schedule.channel_a_coordinates(ctx)


@invariant(
    "supervision.fp_neutral",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="The tokens of an object that no ground truth matches have zero weight in every term, and zero gradient.",
    remedy="Leave out every token that covers a byte of an unmatched object, also one that reaches into its neighbour.",
    spec=f"{SPEC}: FP structure/desc/coord tokens are all masked",
)
def fp_neutral(ctx: Context) -> Iterator[Violation]:
    yield from over(ctx, inputs.taught(), lambda case, segment, reading, _: judge.neutral(segment, reading))


@invariant(
    "supervision.matched_struct_only",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="A matched object's structure is supervised, its desc masked; its geometry is pulled to the matched "
    "ground truth.",
    remedy="Supervise the record's tokens without those of the desc, and give each slot the ground truth's bin.",
    spec=f"{SPEC}: matched structure tokens are supervised while matched desc tokens are masked",
)
def matched_struct_only(ctx: Context) -> Iterator[Violation]:
    yield from over(
        ctx,
        inputs.taught(),
        lambda case, segment, reading, sample: judge.matched(segment, reading, sample.gt, slopes(case)),
    )
    yield from _overlap(ctx, MATCHED)


def _overlap(ctx: Context, fate: str) -> Iterator[Violation]:
    """Ask one case without and with the overlap loss: SmoothL1 alone tells the bins, but would hide a lost CIoU."""
    case = inputs.taught()[0]
    plain = ctx.value(CHANNEL_B, case.request).segments[0]
    raised = msgspec.structs.replace(case.request, ciou_weight=1.0)
    yield from over(
        ctx,
        [Case("with CIoU", raised)],
        lambda _, segment, reading, __: judge.overlapped(plain, segment, reading, fate),
    )


@invariant(
    "supervision.fn_injected",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Every ground truth is in the target exactly once (matched or appended); appended structure, desc and "
    "geometry are supervised; the whole target parses in strict mode; field order follows the config.",
    remedy="Append what was not matched, in the config's field order, behind a prefix that holds valid records only.",
    spec=f"{SPEC}: FN append is mandatory",
)
def fn_injected(ctx: Context) -> Iterator[Violation]:
    def judged(case: Case, segment: SegmentB, reading: Reading, sample: Sample) -> Iterator[judge.Problem]:
        yield from _sound(case, segment, reading, sample)
        yield from judge.appended(segment, reading, sample.gt, slopes(case), case.request.desc_ce_weight)

    yield from over(ctx, inputs.taught(), judged)
    yield from _overlap(ctx, APPENDED)
    yield from over(ctx, [Case("300 ground truths", inputs.crowd()), *inputs.with_invalid_records()], _sound)
    cut = [
        Case(f"cut after {len(ids)} tokens", inputs.one(inputs.GT, ids, backward=False)) for ids in inputs.truncations()
    ]
    yield from over(ctx, cut, _sound)
    nothing = ctx.ask(CHANNEL_B, inputs.one([], inputs.rollout([inputs.CAT]), backward=False))
    ctx.fact("a sample without ground truth", "refused" if nothing.refused else "trained")


def _sound(case: Case, segment: SegmentB, reading: Reading, sample: Sample) -> Iterator[judge.Problem]:
    yield from judge.complete(segment, reading, sample.gt)
    body = reading.view.text.partition(b"<|im_end|>")[0]
    end = reading.view.container.closed if reading.view.container else None
    body = reading.view.text[:end] if end is not None else body
    yield from judge.parses(body, case.request.order)


@invariant(
    "supervision.append_tokenization",
    boundary=BOUNDARY,
    severity="P1",
    kind="B",
    claim="The tokens at the append point are those of the canonical tokenization of the same text; a difference is a "
    "named finding, not silence.",
    remedy="Tokenize the last kept token's text together with the appended text, or report the difference in training.",
    spec=f"{SPEC}: FN append",
)
def append_tokenization(ctx: Context) -> Iterator[Violation]:
    for case in inputs.taught():
        found = ctx.ask(CHANNEL_B, case.request)
        for segment, sample in zip(found.content.segments if found.content else [], case.request.samples, strict=False):
            ctx.judged()
            seam = read(segment, sample, case.request.order).seam
            ours, canonical = judge.around(segment.ids, seam), judge.around(judge.canonical(segment.ids), seam)
            if ours != canonical:
                yield Violation(
                    "the tokens at the append point are not those of the canonical tokenization",
                    case.name,
                    [shown(t) for t in canonical],
                    [shown(t) for t in ours],
                    text_of(segment.ids).decode("utf-8", "replace")[max(0, seam - 20) : seam + 20],
                )


@invariant(
    "supervision.multiplier_scope",
    boundary=BOUNDARY,
    severity="P1",
    kind="B",
    claim="drop_invalid_struct_ce_multiplier touches structure tokens only, and only when something was dropped.",
    remedy="Multiply the weights of structure tokens; leave out desc, coordinates and the closure.",
    spec=f"{SPEC}: Structure-token CE weights exclude coord tokens, desc value tokens and the closure",
)
def multiplier_scope(ctx: Context) -> Iterator[Violation]:
    for case in inputs.drops():
        plain = ctx.value(CHANNEL_B, inputs.with_multiplier(case, 1.0)).segments[0]
        raised = ctx.value(CHANNEL_B, inputs.with_multiplier(case, 2.0)).segments[0]
        reading = read(plain, case.request.samples[0], case.request.order)
        for p, factor in judge.factors(plain, raised, reading):
            ctx.judged()
            token = reading.view.tokens[p]
            if abs(factor - 1) > 0.01 and (plain.dropped == 0 or judge.untouched(token)):
                why = "" if plain.dropped else " although nothing was dropped"
                asked = {"multiplier": 2.0, "dropped": plain.dropped}
                message = f"the multiplier reaches a {token.role} token{why}"
                place = f"{case.name}: {judge.place(plain, p)}"
                # Weights are set where the loss is computed, which is what answers for Channel-A.
                yield Violation(message, place, 1.0, round(factor, 2), asked, ctx.where(CHANNEL_A))
