"""The reference's answers to the questions of the template boundary."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import Any

from coordexp_audit_lib.boundaries.template import contract as c
from coordexp_audit_lib.boundaries.template.chat import FIXED, UNREADABLE, Template, answer_at, coord, prompts
from coordexp_audit_lib.boundaries.template.predicates import rows_problems, vocabulary_fingerprint, vocabulary_problems
from coordexp_audit_lib.boundaries.template.trace import trace
from coordexp_audit_lib.core.evidence import digest
from coordexp_audit_lib.core.surface import Refuse, answers
from coordexp_audit_lib.kit import chat, tokenizer, variants

LIMIT_TOKENS = 12_000
MODES: dict[str, dict[str, Any]] = {
    "packing_off": {"packing": False, "padding_free": False},
    "packing_on": {"packing": True, "padding_free": True},
    "train": {"mode": "train"},
}


@lru_cache(maxsize=8)
def variant(kind: str, at: int) -> Any:
    return variants.build(kind, at, tokenizer, tokenizer.qwen())


def coord_ids(made: Any) -> list[int]:
    """Ids of bins 0 to 999; each token must be listed, have an id of its own, and be produced as that one id."""
    ids = []
    for k in range(tokenizer.COORD_BINS):
        found = made.token_to_id(coord(k))
        produced = made.encode(coord(k), add_special_tokens=False).ids
        if found is None or produced != [found]:
            raise Refuse(f"{coord(k)} is not one token of its own (ids {produced[:9]}): expand the vocabulary")
        ids.append(found)
    if len(set(ids)) != len(ids):
        raise Refuse("coordinate tokens share ids: expand the vocabulary")
    return ids


@answers(c.VOCABULARY)
def vocabulary(request: c.VocabularyRequest) -> c.Vocabulary:
    made = variant("special", 0)
    length = made.get_vocab_size()
    encoded = [made.encode(t, add_special_tokens=False).ids for t in request.texts]
    return c.Vocabulary(length, max(request.rows, length), coord_ids(made), encoded)


@answers(c.COORD_CHECK)
def coord_check(request: c.CoordCheckRequest) -> c.CoordCheck:
    ids = coord_ids(variant(request.kind, request.at))
    return c.CoordCheck(ids[0], ids[-1], len(set(ids)))


@answers(c.ROWS)
def rows_check(request: c.RowsRequest) -> c.Accepted:
    last = tokenizer.COORD_0 + tokenizer.COORD_BINS - 1
    for problem in rows_problems(last, request.rows):
        raise Refuse(f"{problem.message}: resize its embedding")
    return c.Accepted(True)


@lru_cache(maxsize=1)
def _by_id() -> tuple[str, ...]:
    listed: dict[str, int] = tokenizer.qwen().get_vocab(with_added_tokens=True)
    return tuple(sorted(listed, key=lambda token: listed[token]))


def _server_tokens(differs: str) -> tuple[str, ...]:
    """The server's tokens in the order of their ids."""
    tokens = list(_by_id())
    if differs == "shifted":
        tokens.remove("<|coord_*|>")
    elif differs != "no":
        pair = ("<|coord_701|>", "<|coord_703|>") if differs == "swapped" else ("Ġfish", "Ġriver")
        a, b = (tokens.index(t) for t in pair)
        tokens[a], tokens[b] = tokens[b], tokens[a]
    return tuple(tokens)


@answers(c.SERVER)
def server_check(request: c.ServerRequest) -> c.Accepted:
    ours, theirs = vocabulary_fingerprint(_by_id()), vocabulary_fingerprint(_server_tokens(request.differs))
    for problem in vocabulary_problems(ours, theirs, "the server's"):
        raise Refuse(f"{problem.message}: start both from one checkpoint")
    return c.Accepted(True)


@answers(c.PROMPT)
def prompt(request: c.PromptRequest) -> c.Prompt:
    system, user = prompts(request.ordering, request.field_order, request.variant)
    ids = Template(system).encode(FIXED, user, taught=False).input_ids
    return c.Prompt(trace(ids), system=True)


@answers(c.ROLLOUT)
def rollout_prompt(request: c.RolloutRequest) -> c.Rollout:
    system, user = prompts(request.ordering, request.field_order, request.variant)
    template = Template(system)
    generated = template.encode(FIXED, user, taught=False).input_ids
    whole = template.encode(FIXED, user, request.field_order)
    return c.Rollout(trace(generated), trace(whole.input_ids[: len(generated)]), answer_at(whole.labels))


@answers(c.ENCODE)
def encode(request: c.EncodeRequest) -> c.EncodeResponse:
    template = Template(request.system)
    alone = [template.encode(r, request.user, request.field_order) for r in request.records]
    longest = max(len(e.input_ids) for e in alone)
    return c.EncodeResponse(
        alone,
        [e.input_ids + [tokenizer.ENDOFTEXT] * (longest - len(e.input_ids)) for e in alone],
        [e.labels + [chat.IGNORE_INDEX] * (longest - len(e.labels)) for e in alone],
        tokenizer.ENDOFTEXT,
    )


@answers(c.SETTINGS)
def settings(request: c.SettingsRequest) -> c.Settings:
    return c.Settings(LIMIT_TOKENS, "raise")


@answers(c.LIMIT)
def limit(request: c.LimitRequest) -> c.Limit:
    record = c.Record([("object", [k % 1000, (k + 1) % 1000, 999, 999]) for k in range(request.objects)])
    whole = Template("Locate.").encode(record, "Every object.")
    made = Template("Locate.", request.max_length).encode(record, "Every object.")
    taught = [y for y in made.labels if y != chat.IGNORE_INDEX]
    whole_answer = sum(y != chat.IGNORE_INDEX for y in whole.labels)
    ended = tokenizer.IM_END in taught
    return c.Limit(len(made.input_ids), len(taught), ended, len(whole.input_ids), whole_answer)


@answers(c.STATE)
def state(request: c.StateRequest) -> c.State:
    return walk(Template("Locate."), request, restores=True)


def walk(template: Template, request: c.StateRequest, restores: bool) -> c.State:
    """Encode one sample after the other; a template that does not restore its state is for a fault to show."""
    before, told = template.state(), []
    for step in request.steps:
        ids, raised = "", ""
        system = template.system if step.system is None else step.system
        try:
            if restores:
                with template.changed(system=system):
                    ids = _encoded(template, step.fails)
            else:
                template.system = system
                ids = _encoded(template, step.fails)
        except FileNotFoundError as error:
            raised = type(error).__name__
        told.append(c.Told(template.state(), ids, raised))
    return c.State(before, told)


def _encoded(template: Template, fails: bool) -> str:
    if fails:
        raise FileNotFoundError(UNREADABLE)
    return digest(template.encode(FIXED, "Every object.").input_ids)


@answers(c.SWITCH)
def switch(request: c.SwitchRequest) -> c.Switch:
    template = Template("Locate.")
    template.packing = template.padding_free = request.packing
    template.mode = request.mode
    before = flags(template)
    inside: list[dict[str, str]] = []
    with suppress(FileNotFoundError):
        _enter(template, request, inside)
    return c.Switch(before, inside[0], flags(template))


def _enter(template: Template, request: c.SwitchRequest, inside: list[dict[str, str]], depth: int = 0) -> None:
    if depth < len(request.names):
        with template.changed(**MODES[request.names[depth]]):
            _enter(template, request, inside, depth + 1)
        return
    inside.append(flags(template))
    if request.fails:
        raise FileNotFoundError(UNREADABLE)


def flags(template: Template) -> dict[str, str]:
    """The settings that the trainer's temporary states touch."""
    return {n: str(getattr(template, n)) for n in ("packing", "padding_free", "mode")}
