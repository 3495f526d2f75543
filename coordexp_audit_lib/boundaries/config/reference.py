"""The reference's answers: a strict loader over the packaged configs."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

from coordexp_audit_lib.boundaries.config import surfaces as s
from coordexp_audit_lib.boundaries.config.predicates import chains, rules
from coordexp_audit_lib.boundaries.config.predicates.messages import preflight_flaws
from coordexp_audit_lib.boundaries.config.predicates.values import Broken, broken
from coordexp_audit_lib.core.evidence import canonical_json, digest
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.surface import Refuse, answers
from coordexp_audit_lib.kit.nested import get, merge, nest
from coordexp_audit_lib.source.tree import Tree

TREE, CONTRACT = pipeline().reference, pipeline().contract()


def reader(files: Mapping[str, str]) -> chains.Read:
    """Reads the request's files first, then the packaged ones; nothing outside them."""

    def read(path: str) -> str | None:
        clean = posixpath.normpath(path)
        if clean in files:
            return files[clean]
        full = (TREE / clean).resolve()
        return full.read_text(encoding="utf-8") if full.is_relative_to(TREE) and full.is_file() else None

    return read


def refuse(problems: Iterable[Broken]) -> None:
    """Refuse with every problem, one a line, if there is any."""
    found = [str(p) for p in problems]
    if found:
        raise Refuse("\n".join(found))


def resolved(config: str, files: Mapping[str, str]) -> s.Chain:
    try:
        return chains.resolve(reader(files), config)
    except chains.ChainBroken as error:
        raise Refuse(str(error)) from error


@answers(s.CHAIN)
def chain(request: s.ChainRequest) -> s.Chain:
    return resolved(request.config, request.files)


@answers(s.INHERITANCE)
def inheritance(request: s.InheritanceRequest) -> s.Inheritance:
    return s.inheritance(Tree(TREE), request)


@answers(s.SHIPPED)
def shipped(request: s.ShippedRequest) -> s.Shipped:
    keys = CONTRACT["config.shipped"]["keys"]
    files = s.inheritance(Tree(TREE), s.InheritanceRequest(request.folder, keys)).files
    parents = {path for f in files for path, _ in f.parents}
    found = []
    for path in (f.path for f in files if f.path not in parents):
        if all(get(resolved(path, {}).merged, need) is not None for need in request.needs):
            try:
                materialise(s.LoadRequest(path))
            except Refuse as error:
                found.append(s.ShippedConfig(path, str(error)))
            else:
                found.append(s.ShippedConfig(path))
    return s.Shipped(found)


@answers(s.KEYS)
def keys(request: s.KeysRequest) -> s.Keys:
    return s.keys(Tree(TREE), request)


@answers(s.LOAD)
def load(request: s.LoadRequest) -> s.Loaded:
    config, arguments = materialise(request)
    return s.Loaded(digest(canonical_json(config)), config, arguments if request.depth == "arguments" else None)


def materialise(request: s.LoadRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """The checked config with its defaults, and the arguments for upstream's trainer."""
    found = resolved(request.config, request.files)
    refuse(chains.check_profile(found, CONTRACT))
    refuse(rules.check_config(found.merged, CONTRACT))
    config = found.merged
    for key, value in CONTRACT["config.defaults"].items():
        if key.split(".")[0] in config and get(config, key) is None:
            config = merge(config, nest(key, value))
    name = CONTRACT["config.prompt"]
    prompt = get(config, name)
    if isinstance(prompt, str) and prompt.endswith(".txt"):
        content = reader(request.files)(prompt)  # it stands in the repository, wherever the caller stands
        if content is None:
            refuse([broken(name, f"no file {prompt} in the repository", "name a file relative to it")])
        config = merge(config, nest(name, "sha256:" + digest(content)))
    return config, arguments_of(config, int(request.env.get("WORLD_SIZE", "1")))


def arguments_of(config: Mapping[str, Any], world_size: int) -> dict[str, Any]:
    """Flatten the sections for upstream, and derive the accumulation from the effective batch.

    Raises:
        Refuse: the effective batch is not reached exactly.
    """
    about, keys = CONTRACT["config.arguments"], CONTRACT["config.batch"]
    arguments = {
        key: value
        for name in about["sections"]
        for key, value in config.get(name, {}).items()
        if not key.startswith(about["own_starts"]) and key not in about["own"]
    }
    refuse(rules.check_batch(config, world_size, CONTRACT))
    accumulation = rules.accumulation_of(config, world_size, CONTRACT)
    lengths = CONTRACT["config.lengths"]
    if (longest := get(config, lengths["longest"])) is not None:
        arguments = {lengths[name].rpartition(".")[2]: longest for name in ("own", "model")} | arguments
    made = {"per_device": get(config, keys["per_device"], 1), "accumulation": accumulation}
    return {**arguments, **{keys[name].rpartition(".")[2]: value for name, value in made.items()}}


@answers(s.PACKING)
def packing_backend(request: s.LoadRequest) -> s.Packed:
    config, arguments = materialise(request)
    refuse(rules.check_attention(config, CONTRACT))
    return s.Packed(bool(get(config, CONTRACT["config.packing"]["on"])), arguments.get("attn_impl"))


@answers(s.HF_LENGTH)
def hf_length(request: s.HfLength) -> s.Passed:
    if request.prompt + request.max_new_tokens > request.max_position_embeddings:
        what = f"prompt {request.prompt} + {request.max_new_tokens} exceeds {request.max_position_embeddings} positions"
        refuse([broken(CONTRACT["config.lengths"]["budget"], what, "lower it")])
    return s.Passed()


@answers(s.PREFLIGHT)
def preflight(request: s.LoadRequest) -> s.Preflight:
    config, _ = materialise(request)
    keys, where = CONTRACT["config.preflight"], CONTRACT["config.servers"]
    servers = get(config, where, [])
    if get(config, CONTRACT["config.lengths"]["backend"]) != "vllm" or len(servers) != 1:
        what = f"the launcher starts exactly 1 vLLM server, found {len(servers)}"
        refuse([broken(where, what, "keep one entry")])
    limit = CONTRACT["config.lengths"]["limit"]
    if get(config, limit) is None:
        refuse([broken(limit, "not set, and the server is started with it", "set it to the longest sample's length")])
    train = _in_repository(get(config, keys["train"]))
    payload: dict[str, Any] = {
        "rollout_backend": "vllm",
        "vllm_mode": get(config, keys["mode"]),
        "server_base_urls": [server["base_url"] for server in servers],
        "train_jsonl_resolved": train,
        "val_jsonl_resolved": _in_repository(get(config, keys["val"]) or ""),
        "root_image_dir_resolved": posixpath.dirname(train),
        "server": {key: get(config, key) for key, *_ in keys["carried"]},
    }
    flaws = preflight_flaws(payload, keys["keys"])
    refuse(broken("preflight", flaw, "correct the launcher's preflight") for flaw in flaws)
    return s.Preflight(payload)


def _in_repository(path: str) -> str:
    return path if not path or posixpath.isabs(path) else posixpath.join("<repo>", posixpath.normpath(path))


@answers(s.LAUNCHER)
def launcher_output(request: s.LoadRequest) -> s.LauncherOutput:
    try:
        payload = preflight(request).payload
    except Refuse:
        return s.LauncherOutput(1, [], False)
    line = canonical_json({k: payload[k] for k in CONTRACT["config.preflight"]["keys"]})
    return s.LauncherOutput(0, [line], True)
