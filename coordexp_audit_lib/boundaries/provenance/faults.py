"""Manifest writers that are broken on purpose: tools for the faults that stand below their claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.provenance import surfaces as s
from coordexp_audit_lib.core.fault import Honest, answered

Change = Callable[[s.WriteRequest, s.Written], s.Written]


def writes(change: Change) -> Callable[[s.WriteRequest, Honest], s.Written]:
    """A manifest writer whose result is changed."""
    return lambda request, honest: change(request, honest(request))


def collects(
    change: Callable[[s.Upstream, dict[str, Any]], dict[str, Any]],
) -> Callable[[s.Upstream, Honest], s.Collected]:
    """A collector of versions that tells something else."""
    return lambda request, honest: replace(made := honest(request), upstream=change(request, made.upstream))


def launches(change: Callable[[dict[str, str]], dict[str, str]]) -> Callable[[s.Flags, Honest], s.Launch]:
    """A launcher that records other flags than it launches with."""
    return answered(recorded=lambda made: change(made.recorded))


def saves(change: Callable[[s.Checkpoint], s.Checkpoint]) -> Callable[[s.SaveRequest, Honest], s.Checkpoint]:
    """A trainer that saves something else."""
    return lambda request, honest: change(honest(request))


def document(written: s.Written, name: str, **fields: Any) -> s.Written:
    """The same with fields of a document replaced; None removes one."""
    kept = {k: v for k, v in {**written.documents[name], **fields}.items() if v is not None}
    return replace(written, documents={**written.documents, name: kept})


def without_file(name: str) -> Change:
    """The same without a file."""

    return lambda request, w: replace(
        w, files=[f for f in w.files if f != name], documents={k: v for k, v in w.documents.items() if k != name}
    )


def leaks(written: s.Written, file: str, labels: Iterable[str]) -> s.Written:
    """The same with what was searched for found in a file."""
    return replace(written, leaks=[(label, file) for label in sorted(labels)])
