"""A run's config as its user gives it: CoordExp's, any other YAML, or none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from coordexp_audit_lib.core.errors import AuditError, UsageError
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.reading import content
from coordexp_audit_lib.guards.inputs import load_config
from coordexp_audit_lib.source.parsing import MAX_YAML, yaml_value

MANY = 4  # sections of the default pipeline that no other framework's config has together


class Given(msgspec.Struct, frozen=True):
    """A config. resolved: its content. path: of its file, None where there is none. parents: the files that it extends,
    by the name under which it does. ruled: it is the default pipeline's, so that the pipeline's rules hold for it."""

    resolved: dict[str, Any]
    path: Path | None = None
    parents: dict[str, Path] = {}
    ruled: bool = False


def given_config(path: Path | None, repository: Path) -> Given:
    """Read a config and tell whose it is. None is an empty one; so is an empty file.

    Raises:
        InvariantViolation: the chain of parents of a config of the default pipeline is broken.
        UsageError: the file is no YAML.
    """
    if path is None:
        return Given({})
    content = _content(path)
    leaf = written(content if isinstance(content, dict) else {"content": content} if content is not None else {})
    parents = pipeline().contract()["config.shipped"]["keys"]
    if path.is_file() and not is_ours(leaf) and not any(leaf.get(key) for key in parents):
        return Given(leaf, path)
    try:
        chain = load_config(path, repository)
    except AuditError:
        if not path.is_file() or is_ours(leaf) or _stands_with_ours(path):
            raise
        return Given(leaf, path)  # `extends` has another meaning there
    above = {f.path: repository / f.path for f in chain.files[1:]}
    return Given(chain.merged, path, above, is_ours(chain.merged))


def is_ours(config: Mapping[str, Any]) -> bool:
    """Whether a config is of the default pipeline: it has a section that only the pipeline reads, or most of those that
    it hands on."""
    contract = pipeline().contract()
    own = {contract["config.variant_key"].partition(".")[0], *contract["config.stage2_sections"]}
    sections = {name for name, value in config.items() if isinstance(value, Mapping)}
    return bool(own & sections) or len(sections & set(contract["config.arguments"]["sections"])) >= MANY


def written(value: Any) -> Any:
    """A value that JSON holds: what it can't hold becomes text."""
    if isinstance(value, Mapping):
        return {str(k): written(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [written(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _stands_with_ours(path: Path) -> bool:
    """Whether a file stands where the default pipeline's leaves do."""
    return any(folder in path.as_posix() for folder in pipeline().contract()["config.profile"]["folders"])


def _content(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return yaml_value(content(path, MAX_YAML).decode("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"cannot be read as YAML: {first}", where=str(path), remedy="give a YAML file") from error
