"""A known-bad pipeline for every claim of this boundary: each breaks one surface of the reference a little."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.template import contract as c
from coordexp_audit_lib.boundaries.template import reference
from coordexp_audit_lib.boundaries.template.chat import FIXED, Template, answer_at, prompts
from coordexp_audit_lib.boundaries.template.trace import trace
from coordexp_audit_lib.core.claim import fault
from coordexp_audit_lib.core.surface import Refuse
from coordexp_audit_lib.kit import chat, tokenizer

Honest = Callable[[Any], Any]


def changed(struct: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(struct, **fields)


# ---- vocabulary ----------------------------------------------------------------------------------------------------


@fault(
    "template.token_split",
    surface=c.VOCABULARY,
    caught_by=("template.coord_tokens_atomic",),
    summary="one coordinate token is listed but was not added, so that text with it is split into its letters",
)
def token_split(request: Any, honest: Honest) -> Any:
    made = reference.variant("missing", 500)
    return changed(honest(request), encoded=[made.encode(t, add_special_tokens=False).ids for t in request.texts])


@fault(
    "template.shared_id",
    surface=c.VOCABULARY,
    caught_by=("template.coord_tokens_atomic",),
    summary="two coordinate tokens share an id",
)
def shared_id(request: Any, honest: Honest) -> Any:
    made = honest(request)
    return changed(made, coord_ids=[*made.coord_ids[:-1], made.coord_ids[-2]])


@fault(
    "template.check_looks_ids_up_only",
    surface=c.COORD_CHECK,
    caught_by=("template.coord_tokens_atomic",),
    summary="the check before training looks ids up and never encodes",
)
def looks_ids_up_only(request: Any, honest: Honest) -> Any:
    if request.kind in ("unknown", "split"):
        return c.CoordCheck(tokenizer.COORD_0, tokenizer.COORD_0 + 999, 1000)
    return honest(request)


@fault(
    "template.sound_tokenizer_refused",
    surface=c.COORD_CHECK,
    caught_by=("template.coord_tokens_atomic",),
    summary="coordinate tokens that were added as special tokens are refused",
)
def sound_tokenizer_refused(request: Any, honest: Honest) -> Any:
    if request.kind == "special":
        raise Refuse("coordinate tokens must not be special")
    return honest(request)


@fault(
    "template.embedding_not_resized",
    surface=c.VOCABULARY,
    caught_by=("template.vocab_fits",),
    summary="the vocabulary is expanded and the model's embedding is not",
)
def embedding_not_resized(request: Any, honest: Honest) -> Any:
    return changed(honest(request), rows=request.rows)


@fault(
    "template.rows_unchecked",
    surface=c.ROWS,
    caught_by=("template.vocab_fits",),
    summary="ids beyond the model's rows are trained as the last row",
)
def rows_unchecked(request: Any, honest: Honest) -> Any:
    return c.Accepted(True)


@fault(
    "template.server_unchecked",
    surface=c.SERVER,
    caught_by=("template.vocab_fits",),
    summary="learner and server compare the ids of the prompt only",
)
def server_unchecked(request: Any, honest: Honest) -> Any:
    return c.Accepted(True) if request.differs in ("swapped", "word") else honest(request)


# ---- prompts -------------------------------------------------------------------------------------------------------


def prompt_of(request: Any, system: str, user: str) -> Any:
    return c.Prompt(trace(Template(system).encode(FIXED, user, taught=False).input_ids), bool(system))


@fault(
    "template.system_prompt_changed",
    surface=c.PROMPT,
    caught_by=("template.render_pinned",),
    summary="one word of one variant's system prompt is another",
)
def system_prompt_changed(request: Any, honest: Honest) -> Any:
    system, user = prompts(request.ordering, request.field_order, request.variant)
    return prompt_of(request, system.replace("class names", "categories"), user)


@fault(
    "template.system_turn_dropped",
    surface=c.PROMPT,
    caught_by=("template.render_pinned",),
    summary="the system turn is not rendered",
)
def system_turn_dropped(request: Any, honest: Honest) -> Any:
    return prompt_of(request, "", prompts(request.ordering, request.field_order, request.variant)[1])


@fault(
    "template.special_token_split",
    surface=c.PROMPT,
    caught_by=("template.render_pinned",),
    summary="<|im_end|> is no added token and is split into its letters",
)
def special_token_split(request: Any, honest: Honest) -> Any:
    system, user = prompts(request.ordering, request.field_order, request.variant)
    letters = tokenizer.encode("<|im")[:1] + tokenizer.encode("|>")
    ids = Template(system).encode(FIXED, user, taught=False).input_ids
    split = [piece for t in ids for piece in (letters if t == tokenizer.IM_END else [t])]
    return changed(honest(request), tokens=trace(split))


@fault(
    "template.newline_after_role_dropped",
    surface=c.PROMPT,
    caught_by=("template.render_pinned",),
    summary="the template has no newline after the assistant's role",
)
def newline_after_role_dropped(request: Any, honest: Honest) -> Any:
    system, user = prompts(request.ordering, request.field_order, request.variant)
    return changed(honest(request), tokens=trace(Template(system).encode(FIXED, user, taught=False).input_ids[:-1]))


@fault(
    "template.server_prompt_default",
    surface=c.ROLLOUT,
    caught_by=("template.prompt_is_prefix",),
    summary="the server is sent the default system prompt whatever the settings are",
)
def server_prompt_default(request: Any, honest: Honest) -> Any:
    if request.backend != "vllm":
        return honest(request)
    system, _ = prompts("sorted", "desc_first", "default")
    _, user = prompts(request.ordering, request.field_order, request.variant)
    generated = Template(system).encode(FIXED, user, taught=False).input_ids
    whole = Template(prompts(request.ordering, request.field_order, request.variant)[0])
    taught = whole.encode(FIXED, user, request.field_order)
    return c.Rollout(trace(generated), trace(taught.input_ids[: len(generated)]), answer_at(taught.labels))


@fault(
    "template.answer_in_prompt",
    surface=c.ROLLOUT,
    caught_by=("template.prompt_is_prefix",),
    summary="the assistant's turn is not stripped before generation",
)
def answer_in_prompt(request: Any, honest: Honest) -> Any:
    system, user = prompts(request.ordering, request.field_order, request.variant)
    whole = Template(system).encode(FIXED, user, request.field_order)
    return c.Rollout(trace(whole.input_ids), trace(whole.input_ids), answer_at(whole.labels))


# ---- labels and images ---------------------------------------------------------------------------------------------


def each(made: Any, change: Callable[[Any], Any]) -> Any:
    return changed(made, alone=[change(e) for e in made.alone])


@fault(
    "template.labels_shifted",
    surface=c.ENCODE,
    caught_by=("template.labels_cover_assistant",),
    summary="labels are shifted by one before the model shifts them",
)
def labels_shifted(request: Any, honest: Honest) -> Any:
    return each(honest(request), lambda e: changed(e, labels=[*e.labels[1:], chat.IGNORE_INDEX]))


@fault(
    "template.header_supervised",
    surface=c.ENCODE,
    caught_by=("template.labels_cover_assistant",),
    summary="the last token of the assistant's header is supervised",
)
def header_supervised(request: Any, honest: Honest) -> Any:
    def one_early(e: Any) -> Any:
        at = answer_at(e.labels) - 1
        return changed(e, labels=[*e.labels[:at], e.input_ids[at], *e.labels[at + 1 :]])

    return each(honest(request), one_early)


@fault(
    "template.end_not_supervised",
    surface=c.ENCODE,
    caught_by=("template.labels_cover_assistant",),
    summary="the <|im_end|> of the assistant's turn is masked",
)
def end_not_supervised(request: Any, honest: Honest) -> Any:
    masked = {tokenizer.IM_END: chat.IGNORE_INDEX}
    return each(honest(request), lambda e: changed(e, labels=[masked.get(y, y) for y in e.labels]))


@fault(
    "template.end_twice",
    surface=c.ENCODE,
    caught_by=("template.labels_cover_assistant",),
    summary="the assistant's text brings its own <|im_end|> and the template adds another",
)
def end_twice(request: Any, honest: Honest) -> Any:
    def doubled(e: Any) -> Any:
        return changed(
            e,
            input_ids=[*e.input_ids[:-1], tokenizer.IM_END, e.input_ids[-1]],
            labels=[*e.labels[:-1], tokenizer.IM_END, e.labels[-1]],
        )

    return each(honest(request), doubled)


@fault(
    "template.pads_supervised",
    surface=c.ENCODE,
    caught_by=("template.labels_cover_assistant",),
    summary="labels are padded with the pad token's id",
)
def pads_supervised(request: Any, honest: Honest) -> Any:
    made = honest(request)
    rows = [[*alone.labels, *row[len(alone.labels) :]] for alone, row in zip(made.alone, made.padded_ids, strict=True)]
    return changed(made, padded_labels=rows)


@fault(
    "template.one_pad_short",
    surface=c.ENCODE,
    caught_by=("template.image_tokens_match_grid",),
    summary="an image has one placeholder less than its grid has cells",
)
def one_pad_short(request: Any, honest: Honest) -> Any:
    def shorter(e: Any) -> Any:
        at = e.input_ids.index(tokenizer.IMAGE_PAD)
        return changed(e, input_ids=e.input_ids[:at] + e.input_ids[at + 1 :], labels=e.labels[:at] + e.labels[at + 1 :])

    return each(honest(request), shorter)


@fault(
    "template.grids_reversed",
    surface=c.ENCODE,
    caught_by=("template.image_tokens_match_grid",),
    summary="the grids of a sample's images stand in reverse order",
)
def grids_reversed(request: Any, honest: Honest) -> Any:
    return each(honest(request), lambda e: changed(e, grid=e.grid[::-1]))


# ---- length and state ----------------------------------------------------------------------------------------------


def cut(request: Any, honest: Honest) -> Any:
    """The answer of a pipeline that cuts at the limit."""
    whole = honest(changed(request, max_length=10_000_000))
    length = min(request.max_length, whole.whole_length)
    lost = whole.whole_length - length
    return changed(whole, length=length, answer=whole.whole_answer - lost, ended=lost < 2)


@fault(
    "template.raise_cuts",
    surface=c.LIMIT,
    caught_by=("template.no_truncation",),
    summary="a sample above the limit is cut although the strategy is to raise",
)
def raise_cuts(request: Any, honest: Honest) -> Any:
    return cut(request, honest)


@fault(
    "template.limit_off_by_one",
    surface=c.LIMIT,
    caught_by=("template.no_truncation",),
    summary="a sample that is exactly as long as the limit is refused",
)
def limit_off_by_one(request: Any, honest: Honest) -> Any:
    return honest(changed(request, max_length=request.max_length - 1))


@fault(
    "template.system_prompt_leaks",
    surface=c.STATE,
    caught_by=("template.state_restored",),
    summary="a sample's own system prompt stays for the next sample",
)
def system_prompt_leaks(request: Any, honest: Honest) -> Any:
    return reference.walk(Template("Locate."), request, restores=False)


@fault(
    "template.leaks_after_exception",
    surface=c.STATE,
    caught_by=("template.state_restored",),
    summary="a sample's own system prompt stays only if its encode raises",
)
def leaks_after_exception(request: Any, honest: Honest) -> Any:
    made = honest(request)
    failed, told = False, []
    for step in made.steps:
        failed |= bool(step.raised)
        told.append(changed(step, state={**step.state, "system": "leaked"}) if failed else step)
    return changed(made, steps=told)


@fault(
    "template.packing_stays_off",
    surface=c.SWITCH,
    caught_by=("template.state_restored",),
    summary="packing stays off when an exception leaves the block that turned it off",
)
def packing_stays_off(request: Any, honest: Honest) -> Any:
    made = honest(request)
    return changed(made, after=made.inside) if request.fails else made
