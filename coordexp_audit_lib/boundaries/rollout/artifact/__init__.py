"""Recorded exchanges with a rollout server, and the training batch that was made of them, for the judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from coordexp_audit_lib.boundaries.rollout.artifact.batches import read_batch, rows_of, temperature_of
from coordexp_audit_lib.boundaries.rollout.artifact.pairing import paired
from coordexp_audit_lib.boundaries.rollout.artifact.recorded import answers_in, read_exchange
from coordexp_audit_lib.boundaries.rollout.predicates.exchanges import Exchanged
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Artifact, judge_all

__all__ = ["audit_exchange", "exchanged"]


def audit_exchange(files: Iterable[Path], batches: Iterable[Path], temperature: float | None = None) -> list[Finding]:
    """Judge batches against the exchanges that they were made of. temperature: of the trainer, if the batch has none.

    Raises:
        UsageError: a file can't be read, or holds no answer with token ids, or no batch.
    """
    answers = [a for file in files for a in read_exchange(file)]
    rows, told = [], temperature
    for file in batches:
        tensors = read_batch(file)
        rows += rows_of(tensors, str(file.name))
        told = temperature_of(tensors) if told is None else told
    return judge_all(Artifact(paired(answers, rows, told)), "rollout")


def exchanged(exchange: Any, batch: Mapping[str, Any], temperature: float | None = None) -> Exchanged:
    """A batch in memory with the exchange that it was made of, for a guard.

    Args:
        exchange: decoded JSON, one record or a list. batch: arrays or lists by name.

    Raises:
        UsageError: neither answers with token ids, nor rows.
    """
    told = temperature_of(batch) if temperature is None else temperature
    return paired(list(answers_in(exchange, "exchange")), rows_of(batch, "batch"), told)
