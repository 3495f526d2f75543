"""What a manifest records of the packages below: their versions, and where ms-swift's source comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from coordexp_audit_lib.boundaries.provenance.predicates.documents import kind
from coordexp_audit_lib.core.problem import Problem

_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REASONS = ("statement", "error", "note", "reason", "status")
_ABSENT: Any = object()


def upstream_versions(
    upstream: Any, required: Iterable[str], planted: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[Problem]:
    """Each required package has a version, or the error of its import.

    required: import names. planted: what is really installed, as `{"version": …, "importable": …}` by package, where
    that is known.
    """
    if not isinstance(upstream, Mapping):
        yield Problem("the upstream packages are not recorded", "upstream", "an object", kind(upstream))
        return
    for name in required:
        entry = upstream.get(name)
        if not isinstance(entry, Mapping):
            yield Problem(f"nothing is recorded of {name}", name, "a version or an error", kind(entry))
            continue
        version, error = entry.get("version"), entry.get("error")
        has_version, has_error = _is_text(version), _is_text(error)
        if not has_version and not has_error:
            yield Problem(f"neither a version of {name} nor the error of its import is recorded", name)
            continue
        truth = (planted or {}).get(name)
        if truth is None:
            continue
        if truth["importable"] and version != truth["version"]:
            yield Problem(f"the recorded version of {name} is not the installed one", name, truth["version"], version)
        if not truth["importable"] and not has_error:
            yield Problem(f"{name} fails to import and the manifest does not say so", name, "an error", entry)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def swift_source(upstream: Any, planted: Mapping[str, Any] | None = None) -> Iterator[Problem]:
    """ms-swift's path, commit and dirty state are recorded, or a statement that it is no checkout.

    planted: the truth where it is known: `{"checkout": False}`, or `{"checkout": True, "sha": …, "dirty": …}`.
    """
    entry = upstream.get("ms_swift", _ABSENT) if isinstance(upstream, Mapping) else _ABSENT
    where = "upstream.ms_swift"
    if not isinstance(entry, Mapping):
        found = "nothing" if entry is _ABSENT else kind(entry)
        yield Problem("where ms-swift comes from is not recorded", where, "a commit, or that it is no checkout", found)
        return
    sha = entry.get("sha")
    stated = entry.get("checkout") is False or any(_is_text(entry.get(k)) for k in _REASONS)
    if planted and not planted["checkout"]:
        if sha is not None:
            yield Problem("ms-swift is no checkout, and another repository's commit stands for it", where, None, sha)
        elif not stated:
            yield Problem("ms-swift is no checkout, and the manifest does not say so", where)
        return
    if sha is None and stated and not planted:
        return
    yield from _commit(entry, where)
    for key in ("sha", "dirty"):
        if planted and _SHA.fullmatch(str(sha)) and entry.get(key) != planted[key]:
            yield Problem(f"the recorded {key} of ms-swift is wrong", f"{where}.{key}", planted[key], entry.get(key))


def _commit(entry: Mapping[str, Any], where: str) -> Iterator[Problem]:
    sha = entry.get("sha")
    if not isinstance(sha, str) or not _SHA.fullmatch(sha):
        yield Problem("the commit of ms-swift is not recorded", f"{where}.sha", "40 hexadecimal digits", sha)
    if not isinstance(entry.get("dirty"), bool):
        what = "whether ms-swift is modified is not recorded"
        yield Problem(what, f"{where}.dirty", "true or false", entry.get("dirty"))
    if not any(_is_text(entry.get(key)) for key in ("path", "repo_root")):
        yield Problem("the path of ms-swift is not recorded", f"{where}.path")
