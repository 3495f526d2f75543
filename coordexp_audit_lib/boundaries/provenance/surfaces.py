"""Surfaces of the provenance boundary: what a pipeline writes down of a run, and what its checkpoints hold."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from coordexp_audit_lib.core.short_run import ShortRun
from coordexp_audit_lib.core.surface import surface

State = Literal["importable", "absent", "import_error", "os_error"]
Home = Literal["wheel", "wheel_in_repository", "checkout", "changed_checkout"]


class Module(msgspec.Struct, frozen=True):
    """A package planted in place of the real one.

    state: `absent` has no files; `import_error`, `os_error`: what its import raises (a missing symbol, a missing shared
    library). home: where its file lies: in a folder for packages outside or inside some repository's working tree, or
    in a git checkout of its own, as committed or changed. commit: which of the checkout's commits is checked out.
    """

    state: State = "importable"
    version: str = "1.2.3"
    home: Home = "wheel"
    commit: int = 1


class Upstream(msgspec.Struct, frozen=True):
    """Collect what is known of the packages, with these in place of the real ones."""

    modules: dict[str, Module]


class Collected(msgspec.Struct, frozen=True):
    """upstream: as the pipeline collects it, this machine's own values left out. sha: the commit that the planted
    ms-swift checkout really is at."""

    upstream: dict[str, Any]
    sha: str | None = None


class Flags(msgspec.Struct, frozen=True):
    """The rollout server's six flags, under our names."""

    flags: dict[str, str]


class Launch(msgspec.Struct, frozen=True):
    """launched: the server's command line, recorded: what the training process writes down of it; under the names that
    each uses."""

    launched: dict[str, str]
    recorded: dict[str, str]


class WriteRequest(msgspec.Struct, frozen=True):
    """Write a run's manifest, up to the first training step.

    config: relative to the repository. with_base: a second config is given as base. values: set in the leaf, by dotted
    path. env: variables set. server: its flags in server mode. modules: planted packages. remote: of the repository
    that trains. search: label -> text to look for in every byte that was written.
    """

    config: str
    with_base: bool = False
    values: dict[str, Any] = {}
    env: dict[str, str] = {}
    server: dict[str, str] | None = None
    modules: dict[str, Module] = {}
    remote: str = ""
    seed: int = 17
    run_name: str = "audited"
    search: dict[str, str] = {}


class Written(msgspec.Struct, frozen=True):
    """files: relative names. documents: the JSON ones; times, this interpreter and texts of over 200 characters stand
    as words or digests. sources: by YAML copy, whether it is the source byte for byte. merged: what the pipeline's
    loader reads from the sources. before_training: whether the writing stands before the call that trains, None where
    that cannot be told. leaks: (label, file) of each searched text that was found. line: of the statement that writes,
    0 where it is the function itself. lost: of the files that the config resolves through, those that no file of the
    run repeats byte for byte."""

    files: list[str]
    documents: dict[str, Any]
    sources: dict[str, bool]
    merged: dict[str, Any]
    before_training: bool | None
    leaks: list[tuple[str, str]]
    line: int = 0
    lost: list[str] = []


class KeyRequest(msgspec.Struct, frozen=True):
    """Under which key does a run with this config keep what it caches, and look for it?

    config: relative to the repository. values: set in the leaf, by dotted path. tokens: added to the tokenizer.
    """

    config: str
    values: dict[str, Any] = {}
    tokens: tuple[str, ...] = ()


class CacheKey(msgspec.Struct, frozen=True):
    """key: a digest; two runs with one key share what is cached."""

    key: str


class SaveRequest(msgspec.Struct, frozen=True):
    """Train a small model for one step and save the final checkpoint, in shards of at most `shard_bytes` if set."""

    save_only_model: bool = True
    shard_bytes: int = 0


class Checkpoint(msgspec.Struct, frozen=True):
    """files: names in the folder. tensors: by safetensors file, its tensors with their sizes in bytes. broken: by
    safetensors file, why it cannot be read. index: the index as parsed, None if there is none."""

    files: list[str]
    tensors: dict[str, dict[str, int]]
    broken: dict[str, str] = {}
    index: Any = None


UPSTREAM = surface("provenance.upstream", Upstream, Collected, "collect versions and sources of the packages below")
LAUNCH = surface("provenance.launch", Flags, Launch, "launch the rollout server and record its flags")
WRITE = surface("provenance.write", WriteRequest, Written, "write a run's manifest, as the entrypoint does")
PLAN_KEY = surface("provenance.plan_key", KeyRequest, CacheKey, "the key of a cached packing plan and its lengths")
SAMPLES_KEY = surface("provenance.samples_key", KeyRequest, CacheKey, "the key of cached encoded samples")


class Left(msgspec.Struct, frozen=True):
    """What a short run left in its folder, while secrets stood in the environment. files: relative names. leaks:
    (variable, file) of each secret that was written. planted: the variables."""

    files: list[str]
    leaks: list[tuple[str, str]]
    planted: list[str]


LEFT = surface("provenance.left", ShortRun, Left, "the files that a short run of a small model leaves")
SAVE = surface("provenance.save", SaveRequest, Checkpoint, "save the final checkpoint of a run")
