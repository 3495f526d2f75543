"""The questions of the config boundary: how a config resolves, loads, and is checked before a run."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from coordexp_audit_lib.boundaries.config.predicates.inheritance import ConfigFile, config_file
from coordexp_audit_lib.boundaries.config.predicates.keys import KeyedFile, keyed_file
from coordexp_audit_lib.core.surface import surface
from coordexp_audit_lib.source.tree import Tree

Depth = Literal["materialise", "arguments"]


class ChainRequest(msgspec.Struct, frozen=True):
    """config: path of the leaf, relative to the repository. files: texts laid over the repository's own."""

    config: str
    files: dict[str, str] = {}


class SourceFile(msgspec.Struct, frozen=True):
    """One file of a resolution chain: its path, the parents that it names, and its own keys (parents left out)."""

    path: str
    extends: list[str]
    raw: dict[str, Any]


class Chain(msgspec.Struct, frozen=True):
    """files: leaf first, in the order in which they are read. merged: what they resolve to."""

    files: list[SourceFile]
    merged: dict[str, Any]


class LoadRequest(msgspec.Struct, frozen=True):
    """config: path of the leaf, relative to the repository. files: texts laid over the repository's own files.

    env: environment variables set for the call. cwd: the caller's directory, relative to the repository. depth:
    `materialise` stops at the typed config; `arguments` goes on to the arguments that upstream's trainer is given.
    relative: name the leaf relative to `cwd` instead of absolutely.
    """

    config: str
    files: dict[str, str] = {}
    env: dict[str, str] = {}
    cwd: str = "."
    depth: Depth = "materialise"
    relative: bool = False


class Loaded(msgspec.Struct, frozen=True):
    """digest: canonical hash of the materialised config. config: that config as builtins, prompts as digests.

    arguments: the keyword arguments for upstream's trainer arguments; None at depth `materialise`. Floats that JSON
    cannot hold are the texts `.nan`, `.inf`, `-.inf`.
    """

    digest: str
    config: dict[str, Any]
    arguments: dict[str, Any] | None = None


class Packed(msgspec.Struct, frozen=True):
    """The check let the config through. packing, attn_impl: as upstream's trainer would get them."""

    packing: bool
    attn_impl: str | None


class HfLength(msgspec.Struct, frozen=True):
    """Lengths in tokens: padded prompt, generation budget, and the model's position limit."""

    prompt: int
    max_new_tokens: int
    max_position_embeddings: int


class Passed(msgspec.Struct, frozen=True):
    """The check raised nothing."""

    passed: bool = True


class Preflight(msgspec.Struct, frozen=True):
    """The launcher's settings. Absolute paths below the repository are written `<repo>/…`."""

    payload: dict[str, Any]


class LauncherOutput(msgspec.Struct, frozen=True):
    """What the launcher's preflight step wrote to stdout. lines: the JSON texts, one per line that carries one, taken
    out of a shell assignment if they stand in one. terminated: the output ends with a newline."""

    exit_code: int
    lines: list[str]
    terminated: bool


class InheritanceRequest(msgspec.Struct, frozen=True):
    """folder: where configs lie. keys: those that name a config's parents, of which the first that is there counts."""

    folder: str
    keys: tuple[str, ...]


class Inheritance(msgspec.Struct, frozen=True):
    """files: every YAML file of the folder, sorted by path."""

    files: list[ConfigFile]


def inheritance(tree: Tree, request: InheritanceRequest) -> Inheritance:
    """Read the YAML files; none is loaded by the target."""
    names = tree.files((request.folder,), ".yaml")
    return Inheritance([config_file(n, tree.text(n), request.keys) for n in names])


class ShippedRequest(msgspec.Struct, frozen=True):
    """folder: where configs lie. needs: keys of which a config that starts a training has every one, once resolved."""

    folder: str
    needs: tuple[str, ...]


class ShippedConfig(msgspec.Struct, frozen=True):
    """A config that no other extends. refused: why the loader does not take it, paths from `<repo>`; empty if it
    does."""

    path: str
    refused: str = ""


class Shipped(msgspec.Struct, frozen=True):
    """configs: those that start a training and resolve, sorted by path."""

    configs: list[ShippedConfig]


class KeysRequest(msgspec.Struct, frozen=True):
    """folder: where configs lie."""

    folder: str


class Keys(msgspec.Struct, frozen=True):
    """files: every YAML file of the folder, sorted by path."""

    files: list[KeyedFile]


def keys(tree: Tree, request: KeysRequest) -> Keys:
    """Read the keys of the YAML files as they are written; none is loaded by the target."""
    names = sorted(n for ending in (".yaml", ".yml") for n in tree.files((request.folder,), ending))
    return Keys([keyed_file(n, tree.text(n)) for n in names])


CHAIN = surface("config.chain", ChainRequest, Chain, "which files a config resolves through, and to what")
LOAD = surface("config.load", LoadRequest, Loaded, "load a config as training does, before a trainer exists")
PACKING = surface("config.packing_backend", LoadRequest, Packed, "check the attention backend of a packed run")
INHERITANCE = surface(
    "config.inheritance", InheritanceRequest, Inheritance, "which parents the tree's configs name", static=inheritance
)
SHIPPED = surface("config.shipped", ShippedRequest, Shipped, "load each config that the tree ships")
KEYS = surface("config.keys", KeysRequest, Keys, "which keys stand twice in one mapping of a config", static=keys)
HF_LENGTH = surface("config.hf_length", HfLength, Passed, "check a rollout's length against the model's positions")
PREFLIGHT = surface("config.preflight", LoadRequest, Preflight, "resolve the launcher's settings from a config")
LAUNCHER = surface("config.launcher_output", LoadRequest, LauncherOutput, "run the launcher's own preflight step")
