"""The 1000 coordinate tokens have 1000 distinct ids and each stays one id in every context.

The coordinate losses read one position a coordinate, by id. A token that falls apart into letters has no such position:
the box is trained as text, or its positions are counted wrong from there on. Two bins with one id are one bin to the
model, and its error is measured against the other.

Example: `<|coord_5|>` is one id in `[<|coord_5|>, ` and behind `}`; as `<`, `|`, `coord` … it is six."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.template import cases, predicates, reference
from coordexp_audit_lib.boundaries.template import surfaces as s
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, answered, asked, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.surface import Refuse
from coordexp_audit_lib.kit import variants

FLAWS = {
    "missing": "a coordinate token is missing",
    "unknown": "a coordinate token is missing and the unknown token answers for it",
    "split": "all coordinate tokens are listed, but text with them is split into bytes",
}


@claim(
    severity="P1",
    kind="B",
    remedy="Add the coordinate tokens to the tokenizer as added tokens, and check before training that encoding each "
    "one gives exactly its own id.",
)
def coord_tokens_atomic(ctx: Context) -> Iterator[Violation]:
    listed, check = (s.VOCABULARY, "the expanded vocabulary", _vocabulary), "the check before training"
    yield from cases.judged_parts(ctx, listed, (s.COORD_CHECK, check, _check))


coord_tokens_atomic.on(predicates.Tokens, predicates.atomic)


def _vocabulary(ctx: Context) -> Iterator[Violation]:
    texts, where = cases.contexts(), "the expanded vocabulary"
    rows = ctx.contract["template.base_rows"]
    made = ctx.value(s.VOCABULARY, s.VocabularyRequest(rows, [t for t, _ in texts]))
    ctx.judged(1 + len(texts))
    if len(made.encoded) != len(texts):
        yield Violation("a text was lost", where, len(texts), len(made.encoded))
        return
    encoded = [(ids, bins) for ids, (_, bins) in zip(made.encoded, texts, strict=True)]
    for p in predicates.coordinate_problems(made.coord_ids, encoded):
        yield Violation(p.message, where, p.expected, p.actual, p.token)


def _check(ctx: Context) -> Iterator[Violation]:
    bins = cases.profile(ctx).coordinates
    for kind in variants.SOUND:
        ctx.judged()
        answer = ctx.ask(s.COORD_CHECK, s.CoordCheckRequest(kind))
        if answer.refused or answer.value.distinct != bins:
            yield Violation("a sound tokenizer is refused", kind, "accepted", answer.refusal, {"tokenizer": kind})
    for kind, at in (("missing", 0), ("missing", bins - 1), ("unknown", bins // 2), ("split", 0)):
        ctx.judged()
        if not ctx.ask(s.COORD_CHECK, s.CoordCheckRequest(kind, at)).refused:
            message = f"the check before training accepts a tokenizer in which {FLAWS[kind]}"
            yield Violation(message, kind, "refused", "accepted", {"tokenizer": kind, "bin": at})


_SPLIT = "one coordinate token is listed but was not added, so that text with it is split into its letters"
_LOOKS_UP = "the check before training looks ids up and never encodes"
_SPECIAL = "coordinate tokens that were added as special tokens are refused"


@fault(coord_tokens_atomic, "token_split", s.VOCABULARY, _SPLIT)
def token_split(request: s.VocabularyRequest, honest: Honest) -> Any:
    split = reference.variant("missing", 500)
    return replace(honest(request), encoded=[split.encode(t, add_special_tokens=False).ids for t in request.texts])


@fault(coord_tokens_atomic, "sound_tokenizer_refused", s.COORD_CHECK, _SPECIAL)
def sound_tokenizer_refused(request: s.CoordCheckRequest, honest: Honest) -> Any:
    if request.kind == "special":
        raise Refuse("coordinate tokens must not be special")
    return honest(request)


fault(coord_tokens_atomic, "check_looks_ids_up_only", s.COORD_CHECK, _LOOKS_UP)(
    asked(kind=lambda request: variants.SOUND[0] if request.kind in ("unknown", "split") else request.kind)
)

fault(coord_tokens_atomic, "shared_id", s.VOCABULARY, "two coordinate tokens share an id")(
    answered(coord_ids=lambda made: [*made.coord_ids[:-1], made.coord_ids[-2]])
)
