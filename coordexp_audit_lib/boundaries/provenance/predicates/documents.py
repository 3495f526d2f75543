"""What the documents of a manifest must hold, whoever wrote them: a target that is asked, or a run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from coordexp_audit_lib.boundaries.provenance.predicates.redaction import is_secret_name
from coordexp_audit_lib.core.problem import Problem

RESOLVED, ENVIRONMENT, METADATA = "resolved_config.json", "runtime_env.json", "run_metadata.json"
VERSIONED = (RESOLVED, ENVIRONMENT)
DOCUMENTS = (*VERSIONED, METADATA)
CONFIG_SOURCE, BASE_SOURCE, PARENTS = "config_source.yaml", "base_config_source.yaml", "config_parents"
# Variables that every login shell has: a capture that holds several of them is a dump, not a choice.
_SHELL = frozenset({"PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "SHELL", "TERM", "LS_COLORS", "LOGNAME", "USER", "_"})
_ABSENT: Any = object()


def kind(value: Any) -> str:
    """The JSON type of a value, in words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def wanted(with_base: bool) -> tuple[str, ...]:
    """The files that a run leaves; with a base config given, that one's source too."""
    return (*DOCUMENTS, CONFIG_SOURCE, *((BASE_SOURCE,) if with_base else ()))


def values_in(tree: Any) -> int:
    """How many values a nested mapping sets."""
    return sum(map(values_in, tree.values())) if isinstance(tree, Mapping) else 1


def files_present(files: Collection[str], documents: Mapping[str, Any], *, with_base: bool) -> Iterator[Problem]:
    """The three documents and both config sources are there; the versioned documents say their schema's version."""
    for name in wanted(with_base):
        if name not in files:
            yield Problem(f"the run leaves no {name}", name, "a file", "none")
    for name in VERSIONED:
        document = documents.get(name)
        if not isinstance(document, Mapping):
            continue
        version = document.get("schema_version", _ABSENT)
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            found = "none" if version is _ABSENT else version
            yield Problem(f"{name} states no schema version", name, "a positive integer", found)


def environment_is_chosen(env: Any) -> Iterator[Problem]:
    """The captured environment is a choice of variables, not a dump, and none of them holds a secret by its name."""
    if not isinstance(env, Mapping):
        yield Problem("the captured environment is not an object", "env", "an object", kind(env))
        return
    for name in sorted(n for n in env if is_secret_name(str(n))):
        yield Problem(f"the environment variable {name} is captured, which holds a secret by its name", f"env.{name}")
    dumped = sorted(_SHELL & set(env))
    if len(dumped) >= 3:
        what = "the whole environment is captured, not an allowlist of variables"
        yield Problem(what, "env", "an allowlist", f"{len(env)} variables, {', '.join(dumped)} among them")


def config_is_its_sources(merged: Mapping[str, Any], resolved: Any) -> Iterator[Problem]:
    """Every value that the YAML sources set is the resolved config's. Keys that only it has are defaults.

    A null and an empty mapping or list stand for "not set". A `{start, end}` pair may have become the list of ids.
    """
    if not isinstance(resolved, Mapping):
        yield Problem("there is no resolved config", "resolved", "an object", kind(resolved))
        return
    yield from _kept(merged, resolved, "")


def _kept(source: Any, made: Any, path: str) -> Iterator[Problem]:
    if isinstance(source, Mapping) and (made is _ABSENT or made is None):
        made = {}
    if isinstance(source, Mapping) and isinstance(made, Mapping):
        for key, value in source.items():
            below = f"{path}.{key}" if path else str(key)
            yield from _kept(value, made.get(key, _ABSENT), below)
        return
    if source in (None, {}, []) and made in (_ABSENT, None, {}, []):
        return
    if isinstance(source, Mapping) and set(source) == {"start", "end"} and isinstance(made, list):
        source = list(range(int(source["start"]), int(source["end"]) + 1)) if _is_span(source) else source
    if made is _ABSENT or not _same(source, made):
        found = "not there" if made is _ABSENT else made
        yield Problem("the resolved config holds another value than its own sources set", path, source, found)


def _is_span(source: Mapping[str, Any]) -> bool:
    start, end = source["start"], source["end"]
    return type(start) is int and type(end) is int and 0 <= end - start < 1_000_000


def _same(source: Any, made: Any) -> bool:
    if isinstance(source, list) and isinstance(made, list):
        return len(source) == len(made) and all(_same(s, m) for s, m in zip(source, made, strict=True))
    if isinstance(source, Mapping) and isinstance(made, Mapping):
        return not any(_kept(source, made, ""))
    if isinstance(source, bool) or isinstance(made, bool):
        return source is made
    return bool(source == made) or _same_number(source, made) or _same_number(made, source)


def _same_number(text: Any, number: Any) -> bool:
    """YAML 1.1 reads 1e-4 as text; the config's types make it the number."""
    if not isinstance(text, str) or not isinstance(number, (int, float)):
        return False
    try:
        return float(text) == float(number)
    except (ValueError, OverflowError):
        return False
