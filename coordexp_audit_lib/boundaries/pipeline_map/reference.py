"""The reference's answers: read from a small tree of this library's own, whose loader really loads."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any

from coordexp_audit_lib.boundaries.pipeline_map.surfaces import code, entrypoints, key_reads, keys, owners
from coordexp_audit_lib.core.evidence import canonical_json, digest
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.surface import Refuse, answers
from coordexp_audit_lib.source.tree import Tree

ROOT = pipeline().reference
SHORT = 80


@cache
def tree() -> Tree:
    return Tree(ROOT)


@answers(code.CODE)
def read_code(request: code.CodeRequest) -> code.Code:
    return code.read_code(tree(), request)


@answers(entrypoints.ENTRYPOINTS)
def started(request: entrypoints.EntrypointsRequest) -> entrypoints.Entrypoints:
    return entrypoints.entrypoints(tree(), request)


@answers(owners.OWNERS)
def owned(request: owners.OwnersRequest) -> owners.Owners:
    return owners.owners(tree(), request)


@answers(key_reads.KEY_READS)
def read(request: key_reads.KeyReadsRequest) -> key_reads.KeyReads:
    return key_reads.key_reads(tree(), request)


@answers(keys.KEYS)
def materialised(request: keys.KeysRequest) -> keys.Keys:
    """The materialised config, each leaf with the last file of the chain that sets it."""
    if not tree().exists(request.config):
        raise Refuse(f"no such config: {request.config}", type="FileNotFoundError")
    loader = _loader().ConfigLoader
    chain = _chain(loader, request.config)
    leaves: dict[str, list[Any]] = {}
    for path, value in _leaves("", loader.load_materialized_training_config(str(ROOT / request.config))):
        leaves.setdefault(path, []).append(value)
    found = [keys.KeyValue(p, _source(p, chain), _shown(leaves[p])) for p in sorted(leaves)]
    return keys.Keys([name for name, _ in chain], found)


@cache
def _loader() -> ModuleType:
    """The reference tree's own loader, imported from its file."""
    spec = importlib.util.spec_from_file_location("_reference_tree_loader", ROOT / "src" / "config" / "loader.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _chain(loader: Any, config: str) -> list[tuple[str, dict[str, Any]]]:
    raw = loader.load_yaml(str(ROOT / config))
    base = raw.pop("extends", None)
    if base is None:
        return [(config, raw)]
    above = (ROOT / PurePosixPath(config).parent / base).resolve().relative_to(ROOT).as_posix()
    return [*_chain(loader, above), (config, raw)]


def _leaves(path: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for k, v in value.items() for leaf in _leaves(f"{path}.{k}" if path else str(k), v)]
    if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        return [leaf for v in value for leaf in _leaves(f"{path}[]", v)]
    return [(path, value)]


def _source(path: str, chain: list[tuple[str, dict[str, Any]]]) -> str:
    setting = [name for name, raw in chain if _sets(raw, path)]
    return setting[-1] if setting else "schema default"


def _sets(raw: dict[str, Any], path: str) -> bool:
    node: Any = raw
    for part in path.split("."):
        if not isinstance(node, dict) or part.removesuffix("[]") not in node:
            return False
        node = node[part.removesuffix("[]")]
        if part.endswith("[]"):
            return True
    return True


def _shown(values: list[Any]) -> str:
    value = values[0] if len(values) == 1 else values
    text = canonical_json(value)
    if len(text) <= SHORT:
        return text
    return f"{type(value).__name__} of {len(value)}, sha256 {digest(text)}"
