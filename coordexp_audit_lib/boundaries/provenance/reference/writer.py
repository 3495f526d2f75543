"""Write the manifest of a run: in one call, atomically, without importing anything heavy, and without secrets."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from coordexp_audit_lib.boundaries.provenance.predicates import documents as d
from coordexp_audit_lib.boundaries.provenance.predicates.redaction import (
    known_secrets,
    longest_first,
    named,
    redact_lines,
    redacted,
)
from coordexp_audit_lib.boundaries.provenance.predicates.server import Server
from coordexp_audit_lib.boundaries.provenance.reference import capture, fingerprints
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.kit.git import source_of
from coordexp_audit_lib.source.parsing import yaml_value

SCHEMA_VERSION = 1


def write_manifest(
    out_dir: Path | str,
    *,
    config: Any,
    config_path: Path | str | None = None,
    base_config_path: Path | str | None = None,
    parents: Mapping[str, Path | str] | None = None,
    server: Mapping[str, Any] | None = None,
    datasets: Mapping[str, Path | str] | None = None,
    tokenizer: Any = None,
    template: Any = None,
    seeds: Mapping[str, int] | None = None,
    repository: Path | str | None = None,
    run_name: str = "",
    command: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    lookup: capture.Lookup = capture.installed,
) -> Path:
    """Write a run's manifest into `out_dir`, before training starts; returns the path of `run_metadata.json`.

    Everything is gathered first. Each file then appears whole or not at all, and `run_metadata.json`, which holds the
    digests of the others, comes last: where it is, the manifest is complete.

    Args:
        config: the resolved config: a mapping, a dataclass or a `msgspec.Struct`.
        config_path, base_config_path: the YAML files it was made of; without one it is its own source. parents: others
            that these extend, by the relative path under which they are named.
        server: the rollout server's flags as launched, in server mode: dtype, data_parallel, tensor_parallel,
            max_model_len, eager, memory_utilisation, and any others.
        datasets: name -> file. tokenizer: a folder, file or tokenizer. template: its text, or what has it.
        seeds: name -> seed. repository: the tree that trains. command: the command line (this process's).
        environ: the environment (this process's). lookup: how to look a package up: `capture.probed` also tries to
            import each in a process of its own, which takes as long as the imports do.

    Raises:
        UsageError: an input cannot be read or written down; nothing has been written then.
    """
    out, environ, resolved_config = Path(out_dir), os.environ if environ is None else environ, plain(config)
    texts = _sources(config_path, base_config_path, parents or {}, resolved_config)
    known = _known(environ, resolved_config, texts.values())
    sources = {"config_path": str(config_path or d.CONFIG_SOURCE), "base_config_path": str(base_config_path or "")}
    resolved = {"schema_version": SCHEMA_VERSION, **sources, "seeds": dict(seeds or {}), "resolved": resolved_config}
    runtime = {"schema_version": SCHEMA_VERSION, "env": capture.environment(environ, known)}
    files = {d.RESOLVED: _json(resolved, known), d.ENVIRONMENT: _json(runtime, known)}
    files |= {name: redact_lines(text, known) for name, text in texts.items()}
    about = {
        "schema_version": SCHEMA_VERSION,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "run_name": run_name,
        "output_dir": str(out),
        "command": list(sys.argv if command is None else command),
        "code": capture.told(source_of(Path(repository or ".").resolve())),
        "upstream": capture.upstream(lookup),
        "hardware": capture.hardware(),
        **_read(datasets or {}, tokenizer, template),
        "seeds": dict(seeds or {}),
        "launcher": _server(server),
        "files": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(files.items())},
    }
    return _write_all(out, {**files, d.METADATA: _json(about, known)}) / d.METADATA


def _read(datasets: Mapping[str, Path | str], tokenizer: Any, template: Any) -> dict[str, Any]:
    """Fingerprints of what the run reads."""
    return {
        "datasets": {name: fingerprints.dataset(Path(path)) for name, path in datasets.items()},
        "tokenizer": "not given" if tokenizer is None else fingerprints.tokenizer(tokenizer),
        "template": "not given" if template is None else fingerprints.template(template),
    }


def _server(server: Mapping[str, Any] | None) -> dict[str, Any]:
    if server is None:
        return {"server_mode": False}
    promised = Server(pipeline().contract()["provenance.server"])
    flags = promised.canonical(server)
    missing = [name for name in promised.names if flags.get(name) in (None, "")]
    if missing:
        remedy = "give every flag as the server was launched with"
        raise UsageError(f"lacks {', '.join(missing)}", where="server", remedy=remedy)
    return {"server_mode": True, **{k: plain(v) for k, v in flags.items()}}


def _known(environ: Mapping[str, str], config: Any, texts: Iterable[str]) -> tuple[str, ...]:
    """Every value that the environment, the config or a source holds under a secret's name, longest first."""
    found = [*known_secrets(environ), *named(config)]
    for text in texts:
        with suppress(yaml.YAMLError, RecursionError, ValueError):  # then it is redacted by its lines alone
            found += named(yaml_value(text))
    return longest_first(found)


def _sources(
    config: Path | str | None, base: Path | str | None, parents: Mapping[str, Path | str], resolved: Any
) -> dict[str, str]:
    """The YAML sources by the name under which the run's folder will hold them."""
    wanted = {d.CONFIG_SOURCE: Path(config)} if config is not None else {}
    if base:
        wanted[d.BASE_SOURCE] = Path(base)
    for relative, path in parents.items():
        steps = [part for part in Path(relative).parts if part not in (".", "..", "/")]
        if not steps:
            raise UsageError("a parent needs a relative path", where=relative, remedy="name it as the config does")
        wanted["/".join([d.PARENTS, *steps])] = Path(path)
    made = {} if config is not None else {d.CONFIG_SOURCE: yaml.safe_dump(resolved, sort_keys=True)}
    for name, path in wanted.items():
        try:
            made[name] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"cannot be read: {reason}", where=str(path), remedy="give the config's file") from error
    return made


def plain(value: Any) -> Any:
    """Builtins that strict JSON holds.

    Raises:
        UsageError: a float is not finite, or a value is of a type that has no JSON form.
    """
    if isinstance(value, msgspec.Struct):
        value = {name: getattr(value, name) for name in value.__struct_fields__}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(v) for v in value), key=repr)
    if isinstance(value, (list, tuple, range)):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{value} has no JSON form", where="config", remedy="give a finite number")
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    what, remedy = f"a {type(value).__name__} has no JSON form", "give builtins or a dataclass"
    raise UsageError(what, where="config", remedy=remedy)


def _json(value: Any, known: tuple[str, ...]) -> str:
    clean = redacted(plain(value), known)
    return json.dumps(clean, ensure_ascii=True, sort_keys=True, indent=1, allow_nan=False) + "\n"


def _write_all(out: Path, files: Mapping[str, str]) -> Path:
    """Write every file beside its place, then move them there in order; what failed leaves nothing behind."""
    waiting: list[tuple[Path, Path]] = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        root = out.resolve()
        for name, text in files.items():
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.parent.resolve().is_relative_to(root):
                raise OSError("a link leads out of the folder")
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".manifest-")
            waiting.append((Path(temporary), target))
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
        for temporary_path, target in waiting:
            temporary_path.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot be written: {reason}", where=str(out), remedy="give a folder to write to") from error
    finally:
        for temporary_path, _ in waiting:
            temporary_path.unlink(missing_ok=True)
    return out
