"""The questions of the template boundary, with their input and output.

Prompts of a target are told as a `Trace`, never as text or ids: enough to compare and to find the first token that
differs, too little to read the prompt back.
"""

from __future__ import annotations

import msgspec

from coordexp_audit_lib.core.surface import surface
from coordexp_audit_lib.kit.prompt_trace import Trace


class VocabularyRequest(msgspec.Struct, frozen=True):
    """Expand a base vocabulary by the coordinate tokens as the pipeline does it, and encode texts.

    rows: embedding rows of the base model before the expansion.
    """

    rows: int
    texts: list[str]


class Vocabulary(msgspec.Struct, frozen=True):
    """length: of the tokenizer. rows: of the embedding afterwards. coord_ids: of bins 0 to 999, as the pipeline looks
    them up. encoded: the ids of each text."""

    length: int
    rows: int
    coord_ids: list[int]
    encoded: list[list[int]]


class CoordCheckRequest(msgspec.Struct, frozen=True):
    """Check a tokenizer of `kit.variants` for its coordinate tokens, as the pipeline does before it trains."""

    kind: str
    at: int = 0


class CoordCheck(msgspec.Struct, frozen=True):
    """first, last: ids of bins 0 and 999; distinct: how many of the 1000 differ."""

    first: int
    last: int
    distinct: int


class RowsRequest(msgspec.Struct, frozen=True):
    """Train one step's coordinate loss on logits of `rows` entries, with coordinate ids as in the real vocabulary."""

    rows: int


class ServerRequest(msgspec.Struct, frozen=True):
    """Take a rollout from a server whose tokenizer differs. A refusal is the pipeline's alarm.

    differs: `no` (same tokenizer), `shifted` (all coordinate ids lower by one, as without the wildcard token),
    `swapped` (the ids of two bins that no prompt mentions), `word` (the ids of two words that no prompt mentions).
    """

    differs: str


class Accepted(msgspec.Struct, frozen=True):
    accepted: bool


class PromptRequest(msgspec.Struct, frozen=True):
    """Render the fixed sample (one 64 x 64 picture, two objects) with the pipeline's own dense prompts.

    ordering, field_order, variant: of objects, of an object's fields, and of the prompt, by the pipeline's names.
    """

    ordering: str
    field_order: str
    variant: str


class Prompt(msgspec.Struct, frozen=True):
    """The tokens before the assistant's first. system: whether the system turn is among them."""

    tokens: Trace
    system: bool


class RolloutRequest(msgspec.Struct, frozen=True):
    """Build the prompt for generation and the teacher-forced sequence of one sample, under the same prompts.

    backend: who generates, by the pipeline's name. A server gets messages, and renders them by the same template
    without the learner's settings.
    """

    backend: str
    ordering: str
    field_order: str
    variant: str


class Rollout(msgspec.Struct, frozen=True):
    """generated: the prompt that is generated from. teacher_forced: of the teacher-forced ids, as many.
    answer_at: where the supervised part of the teacher-forced ids begins (0-based)."""

    generated: Trace
    teacher_forced: Trace
    answer_at: int


class Record(msgspec.Struct, frozen=True):
    """A dataset record to make: objects with `desc` and `bbox_2d` bins, and pictures (width, height) in pixels."""

    objects: list[tuple[str, list[int]]]
    pictures: tuple[tuple[int, int], ...] = ((64, 64),)


class EncodeRequest(msgspec.Struct, frozen=True):
    """Encode records for training under prompts of our own, each by itself and collated into one padded batch."""

    records: list[Record]
    system: str
    user: str
    field_order: str


class Encoded(msgspec.Struct, frozen=True):
    """One record, unpacked: ids [n], unshifted labels [n] (the ignore index where not supervised), grid [images, 3] in
    patches."""

    input_ids: list[int]
    labels: list[int]
    grid: list[list[int]]


class EncodeResponse(msgspec.Struct, frozen=True):
    """unpacked: each record by itself. padded_ids, padded_labels: [records, longest]. pad: the id that fills up."""

    unpacked: list[Encoded]
    padded_ids: list[list[int]]
    padded_labels: list[list[int]]
    pad: int


class SettingsRequest(msgspec.Struct, frozen=True):
    """What a config makes of the template's length limit."""

    config: str


class Settings(msgspec.Struct, frozen=True):
    """max_length: the limit in tokens, null if none. strategy: what happens beyond (`raise`, `right`, `left`)."""

    max_length: int | None
    strategy: str


class LimitRequest(msgspec.Struct, frozen=True):
    """Encode a record of `objects` objects through the dataset, with the template's limit set to `max_length`."""

    objects: int
    max_length: int
    strategy: str


class Limit(msgspec.Struct, frozen=True):
    """Lengths in tokens with the limit, and without. answer: supervised tokens. ended: the last turn's `<|im_end|>` is
    there."""

    length: int
    answer: int
    ended: bool
    whole_length: int
    whole_answer: int


class Step(msgspec.Struct, frozen=True):
    """Encode one sample with this system prompt (null for the template's own); `fails`: its image is unreadable."""

    system: str | None = None
    fails: bool = False


class StateRequest(msgspec.Struct, frozen=True):
    """Encode samples one after the other with one template."""

    steps: list[Step]


class Told(msgspec.Struct, frozen=True):
    """One step. state: the template's settings after it, by name, each as text or digest. ids: a digest of what was
    encoded, empty where it raised. raised: the exception's type."""

    state: dict[str, str]
    ids: str
    raised: str = ""


class State(msgspec.Struct, frozen=True):
    """before: the settings before the first step."""

    before: dict[str, str]
    steps: list[Told]


class SwitchRequest(msgspec.Struct, frozen=True):
    """Enter the trainer's temporary template states one inside the other, and leave them.

    names: of `packing_off`, `packing_on`, `train`. start: packing flags and mode before. fails: an exception is raised
    in the innermost.
    """

    names: list[str]
    packing: bool
    mode: str
    fails: bool = False


class Switch(msgspec.Struct, frozen=True):
    """Packing, padding_free and mode before, in the innermost state, and after all were left."""

    before: dict[str, str]
    inside: dict[str, str]
    after: dict[str, str]


VOCABULARY = surface("template.vocabulary", VocabularyRequest, Vocabulary, "The vocabulary with its coordinate tokens.")
COORD_CHECK = surface(
    "template.coord_check", CoordCheckRequest, CoordCheck, "The check of a tokenizer before training."
)
ROWS = surface("template.rows_check", RowsRequest, Accepted, "Whether ids beyond the model's rows are refused.")
SERVER = surface("template.server_check", ServerRequest, Accepted, "Whether a rollout with other token ids is refused.")
PROMPT = surface("template.prompt", PromptRequest, Prompt, "The rendered prompt of a fixed sample.")
ROLLOUT = surface(
    "template.rollout_prompt", RolloutRequest, Rollout, "The prompt of a rollout beside the teacher-forced one."
)
ENCODE = surface("template.encode", EncodeRequest, EncodeResponse, "Records encoded for training.")
SETTINGS = surface("template.settings", SettingsRequest, Settings, "A config's length limit and what lies beyond.")
LIMIT = surface("template.limit", LimitRequest, Limit, "A record at or beyond the length limit.")
STATE = surface("template.state", StateRequest, State, "What encoding leaves behind in the template.")
SWITCH = surface("template.switch", SwitchRequest, Switch, "What a temporary template state leaves behind.")
