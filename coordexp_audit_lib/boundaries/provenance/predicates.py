"""What a manifest must hold: one predicate per claim, over plain documents.

The invariants judge with these what a target writes, and `audit_run` judges with them what a run left behind.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.provenance.capture import REQUIRED
from coordexp_audit_lib.boundaries.provenance.redaction import is_secret_name
from coordexp_audit_lib.boundaries.provenance.server import NAMES, canonical

VERSIONED = ("resolved_config.json", "runtime_env.json")
DOCUMENTS = (*VERSIONED, "run_metadata.json")
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REASONS = ("statement", "error", "note", "reason", "status")
# Variables that every login shell has: a capture that holds several of them is a dump, not a choice.
_SHELL = frozenset({"PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "SHELL", "TERM", "LS_COLORS", "LOGNAME", "USER", "_"})
_ABSENT: Any = object()


class Flaw(msgspec.Struct, frozen=True):
    """One way in which a manifest fails a claim."""

    message: str
    subject: str = ""
    expected: Any = None
    actual: Any = None


def kind(value: Any) -> str:
    """The JSON type of a value, in words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def files_present(files: Collection[str], documents: Mapping[str, Any], *, with_base: bool) -> Iterator[Flaw]:
    """The three documents and both config sources are there; the versioned documents say their schema's version."""
    sources = ("config_source.yaml", *(("base_config_source.yaml",) if with_base else ()))
    for name in (*DOCUMENTS, *sources):
        if name not in files:
            yield Flaw(f"the run leaves no {name}", name, "a file", "none")
    for name in VERSIONED:
        document = documents.get(name)
        if not isinstance(document, Mapping):
            continue
        version = document.get("schema_version", _ABSENT)
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            found = "none" if version is _ABSENT else version
            yield Flaw(f"{name} states no schema version", name, "a positive integer", found)


def upstream_versions(upstream: Any, planted: Mapping[str, Mapping[str, Any]] | None = None) -> Iterator[Flaw]:
    """Each required package has a version, or the error of its import.

    planted: what is really installed, as `{"version": …, "importable": …}` by package, where that is known.
    """
    if not isinstance(upstream, Mapping):
        yield Flaw("the upstream packages are not recorded", "upstream", "an object", kind(upstream))
        return
    for name in REQUIRED:
        entry = upstream.get(name)
        if not isinstance(entry, Mapping):
            yield Flaw(f"nothing is recorded of {name}", name, "a version or an error", kind(entry))
            continue
        version, error = entry.get("version"), entry.get("error")
        has_version, has_error = _is_text(version), _is_text(error)
        if not has_version and not has_error:
            yield Flaw(f"neither a version of {name} nor the error of its import is recorded", name)
            continue
        truth = (planted or {}).get(name)
        if truth is None:
            continue
        if truth["importable"] and version != truth["version"]:
            yield Flaw(f"the recorded version of {name} is not the installed one", name, truth["version"], version)
        if not truth["importable"] and not has_error:
            yield Flaw(f"{name} fails to import and the manifest does not say so", name, "an error", entry)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def swift_source(upstream: Any, planted: Mapping[str, Any] | None = None) -> Iterator[Flaw]:
    """ms-swift's path, commit and dirty state are recorded, or a statement that it is no checkout.

    planted: the truth where it is known: `{"checkout": False}`, or `{"checkout": True, "sha": …, "dirty": …}`.
    """
    entry = upstream.get("ms_swift", _ABSENT) if isinstance(upstream, Mapping) else _ABSENT
    where = "upstream.ms_swift"
    if not isinstance(entry, Mapping):
        found = "nothing" if entry is _ABSENT else kind(entry)
        yield Flaw("where ms-swift comes from is not recorded", where, "a commit, or that it is no checkout", found)
        return
    sha = entry.get("sha")
    stated = entry.get("checkout") is False or any(_is_text(entry.get(k)) for k in _REASONS)
    if planted and not planted["checkout"]:
        if sha is not None:
            yield Flaw("ms-swift is no checkout, and another repository's commit stands for it", where, None, sha)
        elif not stated:
            yield Flaw("ms-swift is no checkout, and the manifest does not say so", where)
        return
    if sha is None and stated and not planted:
        return
    yield from _commit(entry, where)
    for key in ("sha", "dirty"):
        if planted and _SHA.fullmatch(str(sha)) and entry.get(key) != planted[key]:
            yield Flaw(f"the recorded {key} of ms-swift is wrong", f"{where}.{key}", planted[key], entry.get(key))


def _commit(entry: Mapping[str, Any], where: str) -> Iterator[Flaw]:
    sha = entry.get("sha")
    if not isinstance(sha, str) or not _SHA.fullmatch(sha):
        yield Flaw("the commit of ms-swift is not recorded", f"{where}.sha", "40 hexadecimal digits", sha)
    if not isinstance(entry.get("dirty"), bool):
        yield Flaw(
            "whether ms-swift is modified is not recorded", f"{where}.dirty", "true or false", entry.get("dirty")
        )
    if not any(_is_text(entry.get(key)) for key in ("path", "repo_root")):
        yield Flaw("the path of ms-swift is not recorded", f"{where}.path")


def server_flags(launcher: Any, launched: Mapping[str, Any] | None = None) -> Iterator[Flaw]:
    """The six flags of the rollout server are recorded; with `launched` known, as it was launched."""
    if not isinstance(launcher, Mapping):
        yield Flaw("the rollout server's flags are not recorded", "launcher", sorted(NAMES), kind(launcher))
        return
    recorded = canonical(launcher)
    for name in NAMES:
        value = recorded.get(name)
        if value is None or value == "" or isinstance(value, (list, dict)):
            yield Flaw(f"the rollout server's {name} is not recorded", f"launcher.{name}", "a value", value)
        elif launched is not None and _word(value) != _word(launched.get(name)):
            what = f"the rollout server's {name} is recorded as another than it was launched with"
            yield Flaw(what, f"launcher.{name}", launched.get(name), value)


def _word(value: Any) -> str:
    return str(value).strip().lower()


def environment_is_chosen(env: Any) -> Iterator[Flaw]:
    """The captured environment is a choice of variables, not a dump, and none of them holds a secret by its name."""
    if not isinstance(env, Mapping):
        yield Flaw("the captured environment is not an object", "env", "an object", kind(env))
        return
    for name in sorted(n for n in env if is_secret_name(str(n))):
        yield Flaw(f"the environment variable {name} is captured, which holds a secret by its name", f"env.{name}")
    dumped = sorted(_SHELL & set(env))
    if len(dumped) >= 3:
        what = "the whole environment is captured, not an allowlist of variables"
        yield Flaw(what, "env", "an allowlist", f"{len(env)} variables, {', '.join(dumped)} among them")


def config_is_its_sources(merged: Mapping[str, Any], resolved: Any) -> Iterator[Flaw]:
    """Every value that the YAML sources set is the resolved config's. Keys that only it has are defaults.

    A null and an empty mapping or list stand for "not set". A `{start, end}` pair may have become the list of ids.
    """
    if not isinstance(resolved, Mapping):
        yield Flaw("there is no resolved config", "resolved", "an object", kind(resolved))
        return
    yield from _kept(merged, resolved, "")


def _kept(source: Any, made: Any, path: str) -> Iterator[Flaw]:
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
        yield Flaw("the resolved config holds another value than its own sources set", path, source, found)


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
