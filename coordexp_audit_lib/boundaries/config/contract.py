"""Surfaces of the config boundary, and the predicates that judge answers and error messages."""

from __future__ import annotations

import math
import re
from typing import Any, Literal

import msgspec

from coordexp_audit_lib.core.surface import surface

Depth = Literal["materialise", "arguments"]

STAGE2 = "configs/stage2_ab/prod/ab_mixed.yaml"


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


CHAIN = surface("config.chain", ChainRequest, Chain, "which files a config resolves through, and to what")
LOAD = surface("config.load", LoadRequest, Loaded, "load a config as training does, before a trainer exists")
PACKING = surface("config.packing_backend", LoadRequest, Packed, "check the attention backend of a packed run")
HF_LENGTH = surface("config.hf_length", HfLength, Passed, "check a rollout's length against the model's positions")
PREFLIGHT = surface("config.preflight", LoadRequest, Preflight, "resolve the launcher's settings from a config")
LAUNCHER = surface("config.launcher_output", LoadRequest, LauncherOutput, "run the launcher's own preflight step")

PREFLIGHT_KEYS: dict[str, tuple[type, ...]] = {
    "rollout_backend": (str,),
    "vllm_mode": (str, type(None)),
    "server_base_urls": (list,),
}

# Kernels that read cu_seqlens, so that no token attends across a segment boundary.
VARLEN_BACKENDS = frozenset({"flash_attention_2", "flash_attn_2", "flash_attn", "flash_attention_3", "flash_attn_3"})

_GUIDANCE = re.compile(
    r"\b(remove|delete|drop|use|move|migrate|rename|replace|set|fix|choose|keep|instead|did you mean|see"
    r"|(allowed|valid|supported|known|accepted|expected)\b.{0,20}\b(keys|values|one of|are))\b",
    re.IGNORECASE,
)


def names_path(message: str, path: str) -> bool:
    """Whether a message holds the whole dotted path, and not merely as a part of a longer one."""
    return re.search(rf"(?<![\w.\]]){re.escape(path)}(?![\w\[])", message) is not None


def says_what_to_do(message: str, path: str) -> bool:
    """Whether a message tells a remedy: a word of instruction or the accepted alternatives, outside the path itself."""
    return _GUIDANCE.search(message.replace(path, " ")) is not None


def finite_number(value: Any) -> bool:
    """An int or float that is neither a bool nor NaN nor infinite."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def batch_adds_up(effective: int, per_device: int, world_size: int, accumulation: int) -> bool:
    """Whether one optimizer step sees exactly `effective` samples."""
    return effective == per_device * world_size * accumulation


def respects_segments(attn_impl: Any) -> bool:
    """Whether an attention backend keeps the segments of a pack apart by itself."""
    return isinstance(attn_impl, str) and attn_impl.strip().lower() in VARLEN_BACKENDS


def preflight_flaws(payload: dict[str, Any]) -> list[str]:
    """What a preflight payload lacks of its three keys and their types."""
    flaws = [f"no key {k}" for k in PREFLIGHT_KEYS if k not in payload]
    flaws += [
        f"{k} is {type(payload[k]).__name__}"
        for k, types in PREFLIGHT_KEYS.items()
        if k in payload and not isinstance(payload[k], types)
    ]
    urls = payload.get("server_base_urls")
    if isinstance(urls, list) and not all(isinstance(u, str) for u in urls):
        flaws.append("server_base_urls holds something else than strings")
    return flaws
