"""Labels are −100 on every prompt token and pad; the first supervised token is the first of the assistant turn; the
turn ends with one <|im_end|>.

The labels are the objective. A supervised prompt token trains the model to write questions, a masked one of the answer
is never learned, labels that are shifted twice train the token after next, and without its end token an answer never
stops.

Example: in `…assistant\\n{"objects": …}<|im_end|>\\n` supervision begins at `{` and includes `<|im_end|>`; whether the
newline is supervised is left to the template. A desc that spells `<|im_end|>` should be refused: that is advice."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.template import cases, predicates
from coordexp_audit_lib.boundaries.template import surfaces as s
from coordexp_audit_lib.boundaries.template.artifact import BatchSamples
from coordexp_audit_lib.boundaries.template.faults import each
from coordexp_audit_lib.boundaries.template.predicates import batches
from coordexp_audit_lib.boundaries.template.reference import PROFILE, answer_at
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, answered, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.surface import Refuse
from coordexp_audit_lib.kit import tokenizer


@claim(
    severity="P0",
    kind="B",
    remedy="Take the labels from the template's own encode, unshifted, and pad them with −100.",
    spec=(
        Citation("huggingface/transformers", "src/transformers/loss/loss_utils.py", "ForCausalLMLoss", "v4.57.6"),
        Citation("modelscope/ms-swift", "swift/llm/template/base.py", "Template._encode_context_list", "v3.10.3"),
    ),
)
def labels_cover_assistant(ctx: Context) -> Iterator[Violation]:
    profile, header = cases.profile(ctx), tokenizer.encode("<|im_start|>assistant\n")
    ignored = profile.ignore_index
    supervised = pads = 0
    ends: int | None = None  # of turns, in a record that spells none
    roles = () if ctx.target.declaration() is None else cases.role_requests(ctx.contract)
    for name, request in (*cases.encode_requests(ctx.contract), *roles):
        answer = ctx.offered(name, s.ENCODE, request)
        if answer is None:
            continue
        made = answer.value
        count = len(request.records)
        if not len(made.unpacked) == len(made.padded_ids) == len(made.padded_labels) == count:
            yield Violation("a record was lost", name, count, len(made.unpacked), {"case": name})
            continue
        if ends is None and made.unpacked:
            ends = sum(token == profile.turn_end for token in made.unpacked[0].input_ids)
        rows = zip(made.unpacked, made.padded_ids, made.padded_labels, strict=True)
        for number, (sample, ids, labels) in enumerate(rows):
            ctx.judged(2)
            supervised += sum(y != ignored for y in sample.labels)
            pads += len(ids) - len(sample.input_ids)
            found = [*predicates.label_problems(sample.input_ids, sample.labels, profile, header)]
            found += predicates.pad_problems(ids, labels, sample.input_ids, made.pad, ignored)
            yield from (p.violation(name, {"case": name, "record": number}) for p in found)
    yield from _control(ctx, header, ends)
    if not pads:
        ctx.not_there("labels of pads", "no row was padded")
    ctx.fact("supervised tokens", supervised)
    if asked := ctx.contract.get("template.labels_asked_of"):
        ctx.fact("asked of", asked)


def _control(ctx: Context, header: list[int], ends: int | None) -> Iterator[Violation]:
    """A desc that spells a control token ends the turn in the middle of the answer, or opens an image there.

    ends: how many ends of turns a record has that spells none; None where that is not known."""
    profile = cases.profile(ctx)
    for sign, request in cases.control_requests(ctx.contract):
        answer = ctx.offered(sign, s.ENCODE, request)
        ctx.judged(answer is not None)
        if answer is None or answer.content is None:
            continue
        sample = answer.content.unpacked[0]
        found = [*predicates.label_problems(sample.input_ids, sample.labels, profile, header)]
        found += predicates.grid_problems(sample.input_ids, sample.grid, profile, request.records[0].pictures)
        found += predicates.rest_problems(sample.input_ids, ends, profile, header)
        if found:
            message = f"a desc that spells {sign} is encoded as the control token: {found[0].message}"
            case = {"desc": request.records[0].objects[0][0]}
            yield Violation(message, sign, "refused, or text", "the token", case, authority="practice", severity="P2")


labels_cover_assistant.on(BatchSamples, batches.supervised_rightly)


def _early(e: s.Encoded) -> s.Encoded:
    at = answer_at(e.labels) - 1
    return replace(e, labels=[*e.labels[:at], e.input_ids[at], *e.labels[at + 1 :]])


def _doubled(e: s.Encoded) -> s.Encoded:
    end = PROFILE.turn_end or 0
    return replace(e, input_ids=[*e.input_ids[:-1], end, e.input_ids[-1]], labels=[*e.labels[:-1], end, e.labels[-1]])


fault(labels_cover_assistant, "labels_shifted", s.ENCODE, "labels are shifted by one before the model shifts them")(
    each(lambda e: replace(e, labels=[*e.labels[1:], PROFILE.ignore_index]))
)
fault(labels_cover_assistant, "header_supervised", s.ENCODE, "the last token of the assistant's header is supervised")(
    each(_early)
)
fault(labels_cover_assistant, "end_not_supervised", s.ENCODE, "the <|im_end|> of the assistant's turn is masked")(
    each(lambda e: replace(e, labels=[PROFILE.ignore_index if y == PROFILE.turn_end else y for y in e.labels]))
)
_TWICE = "the assistant's text brings its own <|im_end|> and the template adds another"
fault(labels_cover_assistant, "end_twice", s.ENCODE, _TWICE)(each(_doubled))


def _padded(made: s.EncodeResponse) -> list[list[int]]:
    return [[*e.labels, *row[len(e.labels) :]] for e, row in zip(made.unpacked, made.padded_ids, strict=True)]


fault(labels_cover_assistant, "pads_supervised", s.ENCODE, "labels are padded with the pad token's id")(
    answered(padded_labels=_padded)
)


@fault(labels_cover_assistant, "control_token_in_desc", s.ENCODE, "a desc that spells <|im_end|> ends the turn there")
def control_token_in_desc(request: s.EncodeRequest, honest: Honest) -> s.EncodeResponse:
    try:
        made: s.EncodeResponse = honest(request)
    except Refuse:  # the same without the sign, and the sign's token in the middle of the answer
        made = honest(
            replace(request, records=[replace(r, objects=[("sign", r.objects[0][1])]) for r in request.records])
        )
        return replace(made, unpacked=[_ended_early(e) for e in made.unpacked])
    return made


def _ended_early(e: s.Encoded) -> s.Encoded:
    at, end = answer_at(e.labels) + 4, PROFILE.turn_end or 0
    ids, labels = ([*values[:at], end, *values[at:]] for values in (e.input_ids, e.labels))
    return replace(e, input_ids=ids, labels=labels)
