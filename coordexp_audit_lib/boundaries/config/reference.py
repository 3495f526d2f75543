"""The reference's answers: a strict loader over the packaged configs."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

from coordexp_audit_lib.boundaries.config.chain import lookup, merge, steps
from coordexp_audit_lib.boundaries.config.contract import (
    CHAIN,
    HF_LENGTH,
    LAUNCHER,
    LOAD,
    PACKING,
    PREFLIGHT,
    Chain,
    ChainRequest,
    HfLength,
    LauncherOutput,
    Loaded,
    LoadRequest,
    Packed,
    Passed,
    Preflight,
    preflight_flaws,
)
from coordexp_audit_lib.boundaries.config.resolve import ChainBroken, Read, check_profile, resolve
from coordexp_audit_lib.boundaries.config.schema import (
    WEIGHT_DEFAULTS,
    accumulation_of,
    check_attention,
    check_batch,
    check_config,
)
from coordexp_audit_lib.boundaries.config.values import Problem
from coordexp_audit_lib.core.evidence import canonical_json, digest
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.surface import Refuse, answers

TREE = pipeline().reference
ARGUMENT_SECTIONS = ("model", "quantization", "data", "template", "tuner", "training", "rlhf")
OWN_TRAINING_KEYS = ("effective_batch_size", "save_delay_steps", "save_delay_epochs", "save_last_epoch")


def reader(files: Mapping[str, str]) -> Read:
    """Reads the request's files first, then the packaged ones; nothing outside them."""

    def read(path: str) -> str | None:
        clean = posixpath.normpath(path)
        if clean in files:
            return files[clean]
        full = (TREE / clean).resolve()
        return full.read_text(encoding="utf-8") if full.is_relative_to(TREE) and full.is_file() else None

    return read


def refuse(problems: Iterable[Problem]) -> None:
    """Refuse with every problem, one a line, if there is any."""
    found = [str(p) for p in problems]
    if found:
        raise Refuse("\n".join(found))


def resolved(config: str, files: Mapping[str, str]) -> Chain:
    try:
        return resolve(reader(files), config)
    except ChainBroken as error:
        raise Refuse(str(error)) from error


@answers(CHAIN)
def chain(request: ChainRequest) -> Chain:
    return resolved(request.config, request.files)


@answers(LOAD)
def load(request: LoadRequest) -> Loaded:
    config, arguments = materialise(request)
    return Loaded(digest(canonical_json(config)), config, arguments if request.depth == "arguments" else None)


def materialise(request: LoadRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """The checked config with its defaults, and the arguments for upstream's trainer."""
    found = resolved(request.config, request.files)
    refuse(check_profile(found))
    refuse(check_config(found.merged))
    config = found.merged
    for key, value in WEIGHT_DEFAULTS.items():
        if key.split(".")[0] in config and lookup(config, steps(key)) is None:
            node: Any = value
            for step in reversed(key.split(".")):
                node = {step: node}
            config = merge(config, node)
    prompt = lookup(config, ("custom", "user_prompt"))
    if isinstance(prompt, str) and prompt.endswith(".txt"):
        config = merge(config, {"custom": {"user_prompt": _prompt(request, prompt)}})
    return config, arguments_of(config, int(request.env.get("WORLD_SIZE", "1")))


def _prompt(request: LoadRequest, path: str) -> str:
    """A prompt file stands in the repository, wherever the caller stands."""
    content = reader(request.files)(path)
    if content is None:
        problem = Problem("custom.user_prompt", f"no file {path} in the repository", "name a file relative to it")
        raise Refuse(str(problem))
    return "sha256:" + digest(content)


def arguments_of(config: Mapping[str, Any], world_size: int) -> dict[str, Any]:
    """Flatten the sections for upstream, and derive the accumulation from the effective batch.

    Raises:
        Refuse: a key stands in two sections, or the effective batch is not reached exactly.
    """
    arguments: dict[str, Any] = {}
    for name in ARGUMENT_SECTIONS:
        for key, value in config.get(name, {}).items():
            if not key.startswith(("packing", "eval_packing")) and key not in OWN_TRAINING_KEYS:
                arguments[key] = value
    refuse(check_batch(config, world_size))
    training = config["training"]
    per_device, accumulation = training.get("per_device_train_batch_size", 1), accumulation_of(training, world_size)
    return {**arguments, "per_device_train_batch_size": per_device, "gradient_accumulation_steps": accumulation}


@answers(PACKING)
def packing_backend(request: LoadRequest) -> Packed:
    config, arguments = materialise(request)
    refuse(check_attention(config))
    return Packed(bool(config["training"].get("packing")), arguments.get("attn_impl"))


@answers(HF_LENGTH)
def hf_length(request: HfLength) -> Passed:
    if request.prompt + request.max_new_tokens > request.max_position_embeddings:
        what = f"prompt {request.prompt} + {request.max_new_tokens} exceeds {request.max_position_embeddings} positions"
        refuse([Problem("rollout_matching.max_new_tokens", what, "lower it")])
    return Passed()


@answers(PREFLIGHT)
def preflight(request: LoadRequest) -> Preflight:
    config, _ = materialise(request)
    rollout = config.get("rollout_matching", {})
    servers = lookup(rollout, steps("vllm.server.servers"), [])
    if rollout.get("rollout_backend") != "vllm" or len(servers) != 1:
        what = f"the launcher starts exactly 1 vLLM server, found {len(servers)}"
        refuse([Problem("rollout_matching.vllm.server.servers", what, "keep one entry")])
    train = _in_repository(config["custom"]["train_jsonl"])
    payload: dict[str, Any] = {
        "rollout_backend": "vllm",
        "vllm_mode": lookup(rollout, steps("vllm.mode")),
        "server_base_urls": [server["base_url"] for server in servers],
        "train_jsonl_resolved": train,
        "val_jsonl_resolved": _in_repository(config["custom"].get("val_jsonl") or ""),
        "root_image_dir_resolved": posixpath.dirname(train),
    }
    refuse(Problem("preflight", flaw, "correct the launcher's preflight") for flaw in preflight_flaws(payload))
    return Preflight(payload)


def _in_repository(path: str) -> str:
    return path if not path or posixpath.isabs(path) else posixpath.join("<repo>", posixpath.normpath(path))


@answers(LAUNCHER)
def launcher_output(request: LoadRequest) -> LauncherOutput:
    try:
        payload = preflight(request).payload
    except Refuse:
        return LauncherOutput(1, [], False)
    line = canonical_json({k: payload[k] for k in ("rollout_backend", "vllm_mode", "server_base_urls")})
    return LauncherOutput(0, [line], True)
