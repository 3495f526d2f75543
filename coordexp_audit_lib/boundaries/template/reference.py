"""The reference's answers, and the small template that gives them: records become conversations become tokens, within a
limit, under a system prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

from coordexp_audit_lib.boundaries.template import surfaces as s
from coordexp_audit_lib.boundaries.template.predicates import rows_problems, vocabulary_fingerprint, vocabulary_problems
from coordexp_audit_lib.core.evidence import digest
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.surface import Refuse, answers
from coordexp_audit_lib.kit import chat, coordjson, tokenizer, variants
from coordexp_audit_lib.kit.boxes import token
from coordexp_audit_lib.kit.profile import named
from coordexp_audit_lib.kit.prompt_trace import trace

PROFILE = named(pipeline().contract()["template.profile"])
LIMIT_TOKENS = 12_000
MODES: dict[str, dict[str, Any]] = {
    "packing_off": {"packing": False, "padding_free": False},
    "packing_on": {"packing": True, "padding_free": True},
    "train": {"mode": "train"},
}
FIXED = s.Record([("cup", [12, 34, 256, 480]), ("t-shirt.", [300, 310, 640, 999])])
UNREADABLE = "no such picture"


def prompts(ordering: str, field_order: str, variant: str) -> tuple[str, str]:
    """System and user prompt for these settings."""
    first, second = ("desc", "one geometry") if field_order == "desc_first" else ("one geometry", "desc")
    order = "from top to bottom, then from left to right" if ordering == "sorted" else "in any order"
    names = " Use the class names of COCO only." if variant != "default" else ""
    written = f"{first} before {second}, coordinates as <|coord_0|> to <|coord_999|>"
    return (
        f"You list objects as CoordJSON: {written}.{names}",
        f"List every object, {order}, {first} before {second}.{names}",
    )


def answer(record: s.Record, field_order: str) -> str:
    """The assistant's CoordJSON text."""
    order: coordjson.Order = "desc_first" if field_order == "desc_first" else "geometry_first"
    return coordjson.container(*(coordjson.record(desc, "bbox_2d", box, order) for desc, box in record.objects))


class Template:
    """A chat template with settings that a caller may change for a while.

    Args:
        system: the system prompt; empty for no system turn. max_length: in tokens. strategy: beyond it.
    """

    def __init__(self, system: str, max_length: int | None = None, strategy: str = "raise") -> None:
        self.system, self.max_length, self.strategy = system, max_length, strategy
        self.mode, self.packing, self.padding_free = "train", False, False

    @contextmanager
    def changed(self, **settings: Any) -> Iterator[None]:
        """These settings for as long as the block lasts, whatever happens in it."""
        before = {name: getattr(self, name) for name in settings}
        vars(self).update(settings)
        try:
            yield
        finally:
            vars(self).update(before)

    def encode(self, record: s.Record, user: str, field_order: str = "desc_first", whole: bool = True) -> s.Encoded:
        """One record as tokens; without the assistant's answer, but with its header, where it is not `whole`.

        Raises:
            Refuse: the record is longer than the limit. What is supervised is never cut.
        """
        patch = PROFILE.patch_size or 1
        grids = [[1, h // patch, w // patch] for w, h in record.pictures]
        turns = [("system", self.system)] if self.system else []
        turns.append(("user", chat.SLOT * len(grids) + user))
        turns.append(("assistant", answer(record, field_order) if whole else ""))
        ids, labels = chat.render(turns, grids)
        if not whole:
            ids, labels = ids[:-2], [PROFILE.ignore_index] * (len(ids) - 2)  # the turn's end is still to be written
        if self.max_length is not None and len(ids) > self.max_length:
            message = f"the sample has {len(ids)} tokens, above the limit of {self.max_length}"
            raise Refuse(f"{message}: filter it out or raise global_max_length", "MaxLengthError")
        return s.Encoded(ids, labels, grids)

    def state(self) -> dict[str, str]:
        """Every setting as text, prompts by digest."""
        told = {n: str(getattr(self, n)) for n in ("max_length", "strategy", "mode", "packing", "padding_free")}
        return {**told, "system": digest(self.system)}


def answer_at(labels: Sequence[int]) -> int:
    """Where the supervised part begins; the length if there is none."""
    return next((i for i, y in enumerate(labels) if y != PROFILE.ignore_index), len(labels))


@lru_cache(maxsize=8)
def variant(kind: str, at: int) -> Any:
    return variants.build(kind, at, tokenizer, tokenizer.qwen())


def coord_ids(made: Any) -> list[int]:
    """Ids of bins 0 to 999; each token must be listed, have an id of its own, and be produced as that one id."""
    ids = []
    for k in range(PROFILE.coordinates):
        found = made.token_to_id(token(k))
        produced = made.encode(token(k), add_special_tokens=False).ids
        if found is None or produced != [found]:
            raise Refuse(f"{token(k)} is not one token of its own (ids {produced[:9]}): expand the vocabulary")
        ids.append(found)
    if len(set(ids)) != len(ids):
        raise Refuse("coordinate tokens share ids: expand the vocabulary")
    return ids


@answers(s.VOCABULARY)
def vocabulary(request: s.VocabularyRequest) -> s.Vocabulary:
    made = variant("special", 0)
    length = made.get_vocab_size()
    encoded = [made.encode(t, add_special_tokens=False).ids for t in request.texts]
    return s.Vocabulary(length, max(request.rows, length), coord_ids(made), encoded)


@answers(s.COORD_CHECK)
def coord_check(request: s.CoordCheckRequest) -> s.CoordCheck:
    ids = coord_ids(variant(request.kind, request.at))
    return s.CoordCheck(ids[0], ids[-1], len(set(ids)))


@answers(s.ROWS)
def rows_check(request: s.RowsRequest) -> s.Accepted:
    last = (PROFILE.first_coordinate or 0) + PROFILE.coordinates - 1
    for problem in rows_problems(last, request.rows):
        raise Refuse(f"{problem.message}: resize its embedding")
    return s.Accepted(True)


@lru_cache(maxsize=1)
def _by_id() -> tuple[str, ...]:
    listed: dict[str, int] = tokenizer.qwen().get_vocab(with_added_tokens=True)
    return tuple(sorted(listed, key=listed.__getitem__))


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


@answers(s.SERVER)
def server_check(request: s.ServerRequest) -> s.Accepted:
    ours, theirs = vocabulary_fingerprint(_by_id()), vocabulary_fingerprint(_server_tokens(request.differs))
    for problem in vocabulary_problems(ours, theirs, "the server's"):
        raise Refuse(f"{problem.message}: start both from one checkpoint")
    return s.Accepted(True)


@answers(s.PROMPT)
def prompt(request: s.PromptRequest) -> s.Prompt:
    system, user = prompts(request.ordering, request.field_order, request.variant)
    ids = Template(system).encode(FIXED, user, whole=False).input_ids
    return s.Prompt(trace(ids), system=True)


@answers(s.ROLLOUT)
def rollout_prompt(request: s.RolloutRequest) -> s.Rollout:
    system, user = prompts(request.ordering, request.field_order, request.variant)
    template = Template(system)
    generated = template.encode(FIXED, user, whole=False).input_ids
    whole = template.encode(FIXED, user, request.field_order)
    return s.Rollout(trace(generated), trace(whole.input_ids[: len(generated)]), answer_at(whole.labels))


@answers(s.ENCODE)
def encode(request: s.EncodeRequest) -> s.EncodeResponse:
    template = Template(request.system)
    for record in request.records:
        for desc, _ in record.objects:
            spelled = next((sign for sign in tokenizer.CONTROL if sign in desc), None)
            if spelled:
                raise Refuse(f"desc {desc!r} spells the control token {spelled}: take it out of the data")
    unpacked = [template.encode(r, request.user, request.field_order) for r in request.records]
    longest, pad = max(len(e.input_ids) for e in unpacked), PROFILE.pad or 0
    return s.EncodeResponse(
        unpacked,
        [e.input_ids + [pad] * (longest - len(e.input_ids)) for e in unpacked],
        [e.labels + [PROFILE.ignore_index] * (longest - len(e.labels)) for e in unpacked],
        pad,
    )


@answers(s.SETTINGS)
def settings(request: s.SettingsRequest) -> s.Settings:
    return s.Settings(LIMIT_TOKENS, "raise")


@answers(s.LIMIT)
def limit(request: s.LimitRequest) -> s.Limit:
    """What fits is encoded whole; what does not is refused."""
    record = s.Record([("object", [k % 1000, (k + 1) % 1000, 999, 999]) for k in range(request.objects)])
    made = Template("Locate.", request.max_length).encode(record, "Every object.")
    length, answer = len(made.input_ids), [y for y in made.labels if y != PROFILE.ignore_index]
    return s.Limit(length, len(answer), PROFILE.turn_end in answer, length, len(answer))


@answers(s.STATE)
def state(request: s.StateRequest) -> s.State:
    return walk(Template("Locate."), request, restores=True)


def walk(template: Template, request: s.StateRequest, restores: bool) -> s.State:
    """Encode one sample after the other; a template that does not restore its state is for a fault to show."""
    before, told = template.state(), []
    for step in request.steps:
        ids, raised = "", ""
        system = template.system if step.system is None else step.system
        if not restores:
            template.system = system
        try:
            with template.changed(system=system):
                ids = _encoded(template, step.fails)
        except FileNotFoundError as error:
            raised = type(error).__name__
        told.append(s.Told(template.state(), ids, raised))
    return s.State(before, told)


def _encoded(template: Template, fails: bool) -> str:
    if fails:
        raise FileNotFoundError(UNREADABLE)
    return digest(template.encode(FIXED, "Every object.").input_ids)


@answers(s.SWITCH)
def switch(request: s.SwitchRequest) -> s.Switch:
    template = Template("Locate.")
    template.packing = template.padding_free = request.packing
    template.mode = request.mode
    before = flags(template)
    inside: list[dict[str, str]] = []
    with suppress(FileNotFoundError):
        _enter(template, request, inside)
    return s.Switch(before, inside[0], flags(template))


def _enter(template: Template, request: s.SwitchRequest, inside: list[dict[str, str]], depth: int = 0) -> None:
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
