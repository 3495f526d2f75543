"""Guards for what a run puts out: logged metrics and checkpoints."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from coordexp_audit_lib.boundaries.metrics.predicates.log import Log, Row, row_of
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import Vocabulary, vocabulary
from coordexp_audit_lib.boundaries.provenance.artifact.reading import Saved
from coordexp_audit_lib.guards.stopping import check

# Claims that a single row can break. What needs a longer log is reported at the end, and stops nothing.
STOPPING = (
    "metrics.required_keys",
    "metrics.only_when_executed",
    "metrics.counters_are_counts",
    "metrics.rates_divide",
    "metrics.reasons_add_up",
    "metrics.identity_not_averaged",
    "metrics.finite",
)


@lru_cache(maxsize=1)
def words() -> Vocabulary:
    """How the training program names what it logs: as the default pipeline's contract says."""
    return vocabulary()


def check_metrics(
    logs: Mapping[str, Any],
    *,
    step: int | None = None,
    earlier: Sequence[Row] = (),
    claims: Collection[str] = STOPPING,
    stage2: bool = False,
) -> Row:
    """One row of a training log has the required metrics, and each is what its name says.

    Args:
        logs: metric -> number, as it is logged. step: the optimizer step, from 1. earlier: rows before this one, for
            claims over several: a rollout seed that is a sum is known by its distance to the others.
        claims: those to judge, of the metrics claims on logs. stage2: a Stage-2 trainer logs; without it, its own
            keys must tell.

    Returns:
        The row, for `earlier`.

    Raises:
        InvariantViolation: `where` is the metric.
    """
    row = row_of(logs if step is None else {**logs, "step": step}, step or 0, words())
    log = Log("training log", [*earlier, row], words(), stage2=stage2)
    for claim in claims:
        check(claim, log)
    return row


def check_checkpoint(folder: Path | str, *, save_only_model: bool) -> None:
    """A checkpoint holds what it may: with `save_only_model` nothing of the training loop, and every tensor indexed.

    Raises:
        InvariantViolation: `where` is the file or tensor.
    """
    place = Path(folder)
    check("provenance.weights_only", Saved(place.parent.resolve(), place.name, save_only_model))
