"""The reference: a run's manifest by this library's own writer, with what the questions plant."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from coordexp_audit_lib.boundaries.provenance import surfaces as q
from coordexp_audit_lib.boundaries.provenance.artifact.reading import checkpoint
from coordexp_audit_lib.boundaries.provenance.predicates.checkpoints import INDEX
from coordexp_audit_lib.boundaries.provenance.reference.capture import PACKAGES, Found, upstream
from coordexp_audit_lib.boundaries.provenance.reference.writer import write_manifest
from coordexp_audit_lib.core.evidence import digest
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.surface import answers
from coordexp_audit_lib.kit import git, planting
from coordexp_audit_lib.kit.nested import merge, nest

CONFIGS, CONTRACT = pipeline().reference, pipeline().contract()
_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_LONG = 200


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="audit-provenance-")


def scratch() -> Path:
    """A folder that lives as long as this process."""
    return Path(_scratch().name).resolve()


@cache
def home(name: str, place: str, number: int) -> Path:
    """The root module's file of a planted package that is installed at `place` (a `surfaces.Home`)."""
    return planting.package(scratch() / f"{place}-{number}", name, place, number)


@cache
def run_repository(remote: str) -> Path:
    """The repository that trains, with a remote of that address."""
    return planting.repository(scratch() / f"run-{digest(remote)}", "train.py", remote)


def facts(value: Any, key: str = "") -> Any:
    """A document with what differs from machine to machine replaced: times, versions, places, hardware."""
    if isinstance(value, dict):
        return {k: facts(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [facts(v) for v in value]
    if key in ("cpu", "cores", "memory", "system", "gpu", "python"):
        return f"<{key}>"
    if isinstance(value, str):
        value = value.replace(str(scratch()), "<scratch>").replace(str(CONFIGS), "<tree>")
        if _TIME.match(value):
            return "<time>"
        return f"sha256:{digest(value)}" if len(value) > _LONG else value
    return value


def _lookup(modules: dict[str, q.Module]) -> Any:
    def look(name: str, distribution: str) -> Found:
        module = modules.get(name)
        if module is None or module.state == "absent":
            return Found(error=f"ModuleNotFoundError: No module named {name!r}")
        error = {"import_error": "ImportError: planted", "os_error": "OSError: planted"}.get(module.state)
        return Found(module.version, str(home(name, module.home, module.commit)), error)

    return look


@answers(q.UPSTREAM)
def collect(request: q.Upstream) -> q.Collected:
    made = upstream(_lookup(request.modules))
    swift = request.modules.get("swift")
    sha = None
    if swift is not None and swift.state == "importable" and "checkout" in swift.home:
        sha = git.run(home("swift", swift.home, swift.commit).parent, "rev-parse", "HEAD").strip()
    return q.Collected({k: facts(v, k) for k, v in made.items() if k in PACKAGES or k in ("python", "ms_swift")}, sha)


@answers(q.LAUNCH)
def launch(request: q.Flags) -> q.Launch:
    launched = {CONTRACT["provenance.server"]["names"][name][0]: value for name, value in request.flags.items()}
    return q.Launch(launched, dict(request.flags))


@cache
def chain(path: Path) -> tuple[list[Path], dict[str, Any]]:
    """A config and its parents, leaf first, and what they resolve to."""
    own = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    parents = own.pop("extends", None) or []
    files, made = [path], dict[str, Any]()
    for parent in [parents] if isinstance(parents, str) else parents:
        above, values = chain((path.parent / parent).resolve())
        files, made = files + above, merge(made, values)
    return files, merge(made, own)


@answers(q.WRITE)
def write(request: q.WriteRequest) -> q.Written:
    leaf = CONFIGS / request.config
    text = leaf.read_text(encoding="utf-8")
    place = Path(tempfile.mkdtemp(dir=scratch()))
    base = place / "base.yaml"
    base.write_text("debug: {}\n")
    config = place / "leaf.yaml"
    config.write_text(text + "".join(f"\n# set: {k}={json.dumps(v)}\n" for k, v in request.values.items()))
    (place / "vocab.json").write_text('{"a": 0}')
    (place / "train.jsonl").write_text('{"objects": []}\n')
    files, merged = chain(leaf)
    for path, value in request.values.items():
        merged = merge(merged, nest(path, value))
    out = place / "run"
    write_manifest(
        out,
        config=merged,
        config_path=config,
        base_config_path=base if request.with_base else None,
        parents={p.name: p for p in files[1:]},
        server=request.server,
        datasets={"train": place / "train.jsonl"},
        tokenizer=place / "vocab.json",
        template="{{ messages }}",
        seeds={"dataset": request.seed},
        repository=run_repository(request.remote),
        run_name=request.run_name,
        environ=request.env,
        command=["train", "--config", request.config],
        lookup=_lookup(request.modules),
    )
    written = _written(request, out, merged, {"config_source.yaml": config, "base_config_source.yaml": base})
    shutil.rmtree(place)
    return written


def _written(request: q.WriteRequest, out: Path, merged: dict[str, Any], sources: dict[str, Path]) -> q.Written:
    files = {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
    documents = {n: facts(json.loads(raw)) for n, raw in files.items() if n.endswith(".json")}
    for name in ("output_dir", "files"):
        documents["run_metadata.json"][name] = f"<{name}>"
    documents["resolved_config.json"]["config_path"] = request.config
    leaks = [(label, n) for label, text in request.search.items() for n, raw in files.items() if text.encode() in raw]
    same = {n: files[n] == sources[n].read_bytes() for n in sources if n in files and not request.search}
    return q.Written(list(files), documents, same, facts(merged), True, leaks)


@answers(q.PLAN_KEY)
def plan_key(request: q.KeyRequest) -> q.CacheKey:
    """Everything that the config sets but what training alone reads."""
    merged = chain(CONFIGS / request.config)[1]
    for path, value in request.values.items():
        merged = merge(merged, nest(path, value))
    read = {section: values for section, values in merged.items() if section not in ("training", "debug")}
    return q.CacheKey(digest([read, list(request.tokens)]))


@answers(q.SAMPLES_KEY)
def samples_key(request: q.KeyRequest) -> q.CacheKey:
    return plan_key(request)


@answers(q.SAVE)
def save(request: q.SaveRequest) -> q.Checkpoint:
    import numpy as np
    from safetensors.numpy import save_file

    folder = Path(tempfile.mkdtemp(dir=scratch()))
    weights = {f"layers.{n}.weight": np.zeros((16, 32), np.float32) for n in range(4)}
    shards = [dict([pair]) for pair in weights.items()] if request.shard_bytes else [weights]
    names = [f"model-{n + 1:05d}-of-{len(shards):05d}.safetensors" for n in range(len(shards))]
    names = names if request.shard_bytes else ["model.safetensors"]
    for name, shard in zip(names, shards, strict=True):
        save_file(shard, folder / name)
    if request.shard_bytes:
        mapped = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        index = {"metadata": {"total_size": sum(w.nbytes for w in weights.values())}, "weight_map": mapped}
        (folder / INDEX).write_text(json.dumps(index))
    (folder / "trainer_state.json").write_text("{}")
    made = checkpoint(folder.parent.resolve(), folder.name)
    shutil.rmtree(folder)
    return made
