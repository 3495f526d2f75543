"""The tokenizer is no longer than the model's embedding has rows; learner and rollout server agree on every id.

An id beyond the last row is an index error on a good day; on a GPU, or where a label is clamped, it is trained as
another token. Where the server's ids differ from the learner's, the rollout's ids mean other tokens to the learner: it
is trained on an answer that nobody gave.

Example: the published checkpoint has 151,936 rows, the expanded tokenizer 152,670 ids: without a resize the last 734
coordinates have no row."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.template import cases, predicates
from coordexp_audit_lib.boundaries.template import surfaces as s
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.finding import Violation

SERVERS = {
    "shifted": "all coordinate ids lower by one",
    "swapped": "two coordinate tokens swapped that no prompt mentions",
    "word": "two words swapped that no prompt mentions",
}


@claim(
    severity="P1",
    kind="B",
    remedy="Resize the embedding after the vocabulary is expanded; compare a fingerprint of the whole vocabulary with "
    "the server's before the first rollout.",
)
def vocab_fits(ctx: Context) -> Iterator[Violation]:
    yield from cases.judged_parts(
        ctx,
        (s.VOCABULARY, "the expansion of the vocabulary", _expanded),
        (s.ROWS, "ids beyond the model's rows", _rows),
        (s.SERVER, "a server with another vocabulary", _server),
    )


vocab_fits.on(predicates.Tokens, predicates.fits)


def _expanded(ctx: Context) -> Iterator[Violation]:
    for rows in (ctx.contract["template.base_rows"], (cases.profile(ctx).first_coordinate or 0) - 1):
        made, where = ctx.value(s.VOCABULARY, s.VocabularyRequest(rows, [])), f"{rows} base rows"
        ctx.judged()
        if not made.coord_ids:
            yield Violation("the expanded tokenizer has no coordinate token", where, cases.profile(ctx).coordinates, 0)
        elif made.length > made.rows or max(made.coord_ids) >= made.rows:
            message = "the expanded tokenizer has more ids than the model has rows"
            yield Violation(message, where, made.length, made.rows)


def _rows(ctx: Context) -> Iterator[Violation]:
    profile = cases.profile(ctx)
    last = (profile.first_coordinate or 0) + profile.coordinates - 1
    for rows in (last, ctx.contract["template.base_rows"], last + 1):
        ctx.judged()
        refused = ctx.ask(s.ROWS, s.RowsRequest(rows)).refused
        if refused != (last >= rows):
            message = f"a model of {rows} rows {'is refused' if refused else 'is trained in silence'}"
            yield Violation(message, f"ids up to {last}", last >= rows, refused, {"rows": rows})


def _server(ctx: Context) -> Iterator[Violation]:
    ctx.judged(1 + len(SERVERS))
    answer = ctx.ask(s.SERVER, s.ServerRequest("no"))
    if answer.refused:
        yield Violation("a server with the learner's own tokenizer is refused", "no", "accepted", answer.refusal)
    for differs, words in SERVERS.items():
        if not ctx.ask(s.SERVER, s.ServerRequest(differs)).refused:
            message = f"a rollout is taken from a server whose tokenizer has {words}"
            yield Violation(message, differs, "refused", "accepted", {"server": differs})


fault(vocab_fits, "embedding_not_resized", s.VOCABULARY, "the vocabulary is expanded and the model's embedding is not")(
    lambda request, honest: replace(honest(request), rows=request.rows)
)
fault(vocab_fits, "rows_unchecked", s.ROWS, "ids beyond the model's rows are trained as the last row")(
    lambda request, honest: s.Accepted(True)
)
fault(vocab_fits, "server_unchecked", s.SERVER, "learner and server compare the ids of the prompt only")(
    lambda request, honest: s.Accepted(True) if request.differs in ("swapped", "word") else honest(request)
)
