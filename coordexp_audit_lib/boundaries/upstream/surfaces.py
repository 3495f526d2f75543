"""The boundary's questions: what the pipeline's own environment has of upstream, and what it does."""

from __future__ import annotations

from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.upstream.artifact.launcher import Launcher, LauncherRequest, launcher
from coordexp_audit_lib.boundaries.upstream.artifact.matrix import Matrix, MatrixRequest, shipped
from coordexp_audit_lib.core.surface import surface
from coordexp_audit_lib.source import imports
from coordexp_audit_lib.source.facts import Ask, Seen
from coordexp_audit_lib.source.tree import Tree


class ApiRequest(msgspec.Struct, frozen=True):
    """distribution: as on PyPI. asks: what is wanted of the release that the pipeline's interpreter has."""

    distribution: str
    asks: list[Ask]


class Api(msgspec.Struct, frozen=True):
    """version: of the release, empty where it is not installed. seen: in the order of the asks."""

    version: str
    seen: list[Seen]


class TrainerRequest(msgspec.Struct, frozen=True):
    """Training arguments, and the rates of the coordinate offsets that the pipeline's own wiring adds."""

    learning_rate: float
    weight_decay: float
    beta1: float
    beta2: float
    epsilon: float
    embed_lr: float
    head_lr: float


class Group(msgspec.Struct, frozen=True):
    """A parameter group by the names of its parameters."""

    names: list[str]
    weight_decay: float
    lr: float


class Wiring(msgspec.Struct, frozen=True):
    """names: the trainable parameters. decay: `Trainer.get_decay_parameter_names(None, model)`. groups: those that
    `create_optimizer` makes. wiring: those of the pipeline's own wiring; null where it has none. optimizer, kwargs: of
    `get_optimizer_cls_and_kwargs`."""

    names: list[str]
    decay: list[str]
    groups: list[Group]
    wiring: list[Group] | None
    optimizer: str
    kwargs: dict[str, Any]


class ConfigRequest(msgspec.Struct, frozen=True):
    """Decoding settings, as the pipeline's config has them."""

    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float


class Configured(msgspec.Struct, frozen=True):
    """sent: the keywords that the pipeline gives. config: the fields of the `RequestConfig` made of them. again: of one
    made of that config's JSON, as a server makes it. bare: of one made of nothing."""

    sent: dict[str, Any]
    config: dict[str, Any]
    again: dict[str, Any]
    bare: dict[str, Any]


class Sample(msgspec.Struct, frozen=True):
    """A chat with its image paths, beside the messages or inside them."""

    messages: list[dict[str, Any]]
    images: list[str] | None = None


class InferRequests(msgspec.Struct, frozen=True):
    """Chats that are to be posted to the rollout server, in order."""

    samples: list[Sample]


class Sent(msgspec.Struct, frozen=True):
    """payload: what the pipeline posts. request: the fields of the `RolloutInferRequest` that a server makes of it.
    again: of one made of that request's JSON. slots: image placeholders in the prompt that the template reads off it.
    images: the images that it finds."""

    payload: dict[str, Any]
    request: dict[str, Any]
    again: dict[str, Any]
    slots: int
    images: list[str]


class Requested(msgspec.Struct, frozen=True):
    """What became of the chats, in their order."""

    sent: list[Sent]


class TemplateRequest(msgspec.Struct, frozen=True):
    """Chats: (role, text) turns, and the size (width, height) of each image, multiples of 32."""

    chats: list[list[tuple[str, str]]]
    sizes: list[list[tuple[int, int]]]


class Collated(msgspec.Struct, frozen=True):
    """The tensors of a batch: shape and dtype (`int64`, without the library's name) by the tensor's name."""

    shapes: dict[str, list[int]]
    dtypes: dict[str, str]


class Templated(msgspec.Struct, frozen=True):
    """keys, lengths (tokens), patches (rows of `pixel_values`): of each encoded chat. row: keys of what `packing_row`
    makes of them. packed: the collated pack. padded: the same chats collated side by side."""

    keys: list[list[str]]
    lengths: list[int]
    patches: list[int]
    row: list[str]
    packed: Collated
    padded: Collated


class RowsRequest(msgspec.Struct, frozen=True):
    """grid: (t, h, w) of an image in patches, between `before` and `after` text tokens. lengths: of packed segments."""

    grid: tuple[int, int, int]
    before: int
    after: int
    lengths: list[int]


class Rows(msgspec.Struct, frozen=True):
    """See `kit.four_rows.facts`."""

    rope: list[list[int]]
    delta: int
    shape: list[int]
    isolated: bool
    blind: bool


class EnvironmentRequest(msgspec.Struct, frozen=True):
    """distributions: as on PyPI."""

    distributions: list[str]


class Installed(msgspec.Struct, frozen=True):
    """version: empty where it is not installed. requires: as its metadata has it."""

    name: str
    version: str
    requires: list[str]


class InstalledResponse(msgspec.Struct, frozen=True):
    installed: list[Installed]


class ImportsRequest(msgspec.Struct, frozen=True):
    """Every import of a package that is none of the source's own, but for those that may fail."""


class Import(msgspec.Struct, frozen=True):
    """symbol: `module:name`, or `module:` for a module. It stands at a line of a file."""

    symbol: str
    path: str
    line: int


class Imports(msgspec.Struct, frozen=True):
    """files: how many were read."""

    files: int
    imports: list[Import]


class NamesRequest(msgspec.Struct, frozen=True):
    """names: `module:name`. distributions: of which modules are looked into."""

    names: list[str]
    distributions: list[str]


class Names(msgspec.Struct, frozen=True):
    """seen: of each name `there`, `gone`, `other` (of no listed distribution), or what its module's import raised."""

    seen: list[str]


def imports_of(tree: Tree, request: ImportsRequest) -> Imports:
    """Read the imports of every module of the source."""
    own = {path.partition("/")[0].removesuffix(".py") for path in tree.python_files}
    found = [Import(*one) for path in tree.python_files for one in imports.outer(tree, path, own)]
    return Imports(len(tree.python_files), found)


ENVIRONMENT = surface(
    "upstream.environment", EnvironmentRequest, InstalledResponse, "the installed distributions and what they require"
)
IMPORTS = surface(
    "upstream.imports", ImportsRequest, Imports, "what the source imports of other packages", static=imports_of
)
NAMES = surface("upstream.names", NamesRequest, Names, "whether installed packages have these names")
API = surface("upstream.api", ApiRequest, Api, "signatures, fields and members of an installed upstream release")
LAUNCHER = surface(
    "upstream.launcher",
    LauncherRequest,
    Launcher,
    "the flags that the launcher gives to swift rollout",
    static=launcher,
)
MATRIX = surface("upstream.matrix", MatrixRequest, Matrix, "the shipped verdicts, release by release", static=shipped)
TRAINER = surface("upstream.trainer", TrainerRequest, Wiring, "the parameter groups of a small network's optimizer")
CONFIG = surface("upstream.request_config", ConfigRequest, Configured, "the request config of a rollout")
INFER = surface("upstream.infer_request", InferRequests, Requested, "the infer requests of chats with images")
TEMPLATE = surface("upstream.template", TemplateRequest, Templated, "encode, packing_row and data_collator")
ROWS = surface("upstream.qwen3vl", RowsRequest, Rows, "mRoPE positions, and isolation under four rows")
