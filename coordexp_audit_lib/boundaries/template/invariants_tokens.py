"""The claims about vocabulary and prompts."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.template import cases
from coordexp_audit_lib.boundaries.template import contract as c
from coordexp_audit_lib.boundaries.template import predicates as p
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit import tokenizer, variants

BOUNDARY = "template"
TOKENS_SPEC = "openspec/specs/coord-token-mode/spec.md"
ROLLOUT_SPEC = "openspec/specs/rollout-matching-sft/spec.md"
PROMPT_SPEC = "openspec/specs/dataset-prompt-variants/spec.md"
FLAWS = {
    "missing": "a coordinate token is missing",
    "unknown": "a coordinate token is missing and the unknown token answers for it",
    "split": "all coordinate tokens are listed, but text with them is split into bytes",
}
SERVERS = {
    "shifted": "all coordinate ids lower by one",
    "swapped": "two coordinate tokens swapped that no prompt mentions",
    "word": "two words swapped that no prompt mentions",
}


@invariant(
    "template.coord_tokens_atomic",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="The 1000 coordinate tokens have 1000 distinct ids and each stays one id in every context.",
    remedy="Add the coordinate tokens to the tokenizer as added tokens, and check before training that encoding each "
    "one gives exactly its own id.",
    spec=f"{TOKENS_SPEC}; src/coord_tokens/codec.py (get_coord_token_ids)",
)
def coord_tokens_atomic(ctx: Context) -> Iterator[Violation]:
    texts = cases.contexts()
    made = ctx.value(c.VOCABULARY, c.VocabularyRequest(cases.BASE_ROWS, [t for t, _ in texts]))
    ctx.judged(1 + len(texts))
    bins = [b for _, b in texts]
    for problem in p.coordinate_problems(made.coord_ids, list(zip(made.encoded, bins, strict=True))):
        yield Violation(problem.message, "the expanded vocabulary", problem.expected, problem.actual, problem.token)
    for kind in variants.SOUND:
        ctx.judged()
        answer = ctx.ask(c.COORD_CHECK, c.CoordCheckRequest(kind))
        if answer.refused or answer.value.distinct != tokenizer.COORD_BINS:
            yield Violation("a sound tokenizer is refused", kind, "accepted", answer.refusal, {"tokenizer": kind})
    for kind, at in (("missing", 0), ("missing", 999), ("unknown", 500), ("split", 0)):
        ctx.judged()
        if not ctx.ask(c.COORD_CHECK, c.CoordCheckRequest(kind, at)).refused:
            yield Violation(
                f"the check before training accepts a tokenizer in which {FLAWS[kind]}",
                kind,
                "refused",
                "accepted",
                {"tokenizer": kind, "bin": at},
            )


@invariant(
    "template.vocab_fits",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="The tokenizer is no longer than the model's embedding has rows; learner and rollout server agree on every "
    "id.",
    remedy="Resize the embedding after the vocabulary is expanded; compare a fingerprint of the whole vocabulary with "
    "the server's before the first rollout.",
    spec=f"{ROLLOUT_SPEC} (prompt prefix tokenization matches generation)",
)
def vocab_fits(ctx: Context) -> Iterator[Violation]:
    for rows in (cases.BASE_ROWS, tokenizer.COORD_0 - 1):
        made = ctx.value(c.VOCABULARY, c.VocabularyRequest(rows, []))
        ctx.judged()
        if made.length > made.rows or max(made.coord_ids) >= made.rows:
            yield Violation(
                "the expanded tokenizer has more ids than the model has rows",
                f"{rows} base rows",
                made.length,
                made.rows,
            )
    last = tokenizer.COORD_0 + tokenizer.COORD_BINS - 1
    for rows in (last, cases.BASE_ROWS, last + 1):
        ctx.judged()
        refused = ctx.ask(c.ROWS, c.RowsRequest(rows)).refused
        if refused != (last >= rows):
            said = "is refused" if refused else "is trained in silence"
            yield Violation(
                f"a model of {rows} rows {said}", f"ids up to {last}", last >= rows, refused, {"rows": rows}
            )
    ctx.judged()
    answer = ctx.ask(c.SERVER, c.ServerRequest("no"))
    if answer.refused:
        yield Violation("a server with the learner's own tokenizer is refused", "no", "accepted", answer.refusal)
    for differs, words in SERVERS.items():
        ctx.judged()
        if not ctx.ask(c.SERVER, c.ServerRequest(differs)).refused:
            yield Violation(
                f"a rollout is taken from a server whose tokenizer has {words}",
                differs,
                "refused",
                "accepted",
                {"server": differs},
            )


@invariant(
    "template.render_pinned",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="The prompt token ids of a fixed sample equal the pinned ids.",
    remedy="If the prompt was meant to change, pin it anew and say so in the run's notes: a checkpoint trained under "
    "the old prompt is not comparable. Otherwise undo the change of template, special tokens or system prompt.",
    spec=PROMPT_SPEC,
)
def render_pinned(ctx: Context) -> Iterator[Violation]:
    pinned = cases.pins("reference" if ctx.target.info().kind == "reference" else "coordexp")
    for request in cases.prompt_requests():
        ctx.judged()
        name = cases.setting(request)
        made = ctx.value(c.PROMPT, request)
        for problem in p.pinned_problems(made.tokens, pinned[name], name):
            case = {"setting": name, "token": problem.token}
            yield Violation(problem.message, name, problem.expected, problem.actual, case)
        if not made.system:
            yield Violation("the prompt has no system turn", name, "a system turn", "none", {"setting": name})


@invariant(
    "template.prompt_is_prefix",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="The ids used for generation are an exact prefix of the teacher-forced ids.",
    remedy="Send the server the very system prompt that the template renders for teacher forcing (the template's "
    "default system prompt), not a prompt that is chosen again on the way.",
    spec=f"{ROLLOUT_SPEC} (teacher-forced forward uses the exact prompt encoding of rollout generation)",
)
def prompt_is_prefix(ctx: Context) -> Iterator[Violation]:
    for request in cases.prompt_requests():
        for backend in c.BACKENDS:
            ctx.judged()
            name = f"{cases.setting(request)}, {backend}"
            asked = c.RolloutRequest(backend, request.ordering, request.field_order, request.variant)
            made = ctx.value(c.ROLLOUT, asked)
            for problem in p.prefix_problems(made.generated, made.taught, made.answer_at, name):
                case = {"setting": name, "token": problem.token}
                yield Violation(problem.message, name, problem.expected, problem.actual, case)
