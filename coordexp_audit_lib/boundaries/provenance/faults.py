"""Manifest writers that are broken on purpose: tools for the faults that stand below their claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.provenance.surfaces import (
    Checkpoint,
    Collected,
    Flags,
    Launch,
    SaveRequest,
    Upstream,
    WriteRequest,
    Written,
)

Honest = Callable[[Any], Any]
Change = Callable[[WriteRequest, Written], Written]


def writes(change: Change) -> Callable[[WriteRequest, Honest], Written]:
    """A manifest writer whose result is changed."""
    return lambda request, honest: change(request, honest(request))


def collects(change: Callable[[Upstream, dict[str, Any]], dict[str, Any]]) -> Callable[[Upstream, Honest], Collected]:
    """A collector of versions that tells something else."""

    def apply(request: Upstream, honest: Honest) -> Collected:
        made: Collected = honest(request)
        return replace(made, upstream=change(request, made.upstream))

    return apply


def launches(change: Callable[[dict[str, str]], dict[str, str]]) -> Callable[[Flags, Honest], Launch]:
    """A launcher that records other flags than it launches with."""

    def apply(request: Flags, honest: Honest) -> Launch:
        made: Launch = honest(request)
        return replace(made, recorded=change(made.recorded))

    return apply


def saves(change: Callable[[Checkpoint], Checkpoint]) -> Callable[[SaveRequest, Honest], Checkpoint]:
    """A trainer that saves something else."""
    return lambda request, honest: change(honest(request))


def document(written: Written, name: str, **fields: Any) -> Written:
    """The same with fields of a document replaced; None removes one."""
    kept = {k: v for k, v in {**written.documents[name], **fields}.items() if v is not None}
    return replace(written, documents={**written.documents, name: kept})


def without_file(name: str) -> Change:
    """The same without a file."""

    def change(request: WriteRequest, w: Written) -> Written:
        documents = {k: v for k, v in w.documents.items() if k != name}
        return replace(w, files=[f for f in w.files if f != name], documents=documents)

    return change


def leaks(written: Written, file: str, labels: Iterable[str]) -> Written:
    """The same with what was searched for found in a file."""
    return replace(written, leaks=[(label, file) for label in sorted(labels)])
