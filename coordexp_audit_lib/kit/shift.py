"""Which token's label a loss compares each row of the logits with: told by computing it anew.

Standard library only at import time.
"""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.kit.profile import IGNORE_INDEX

SAME = 1e-5  # of float32, as a share of the loss: what is as near is the same number
DISTINCT = 1e-3  # what is not as far is no other number: between the two nothing is told
WRONG = (0, 2)


def misplaced(loss: float, ids: Any, logits: Any, labels: Any) -> int | None:
    """0 or 2 where a loss is clearly the mean cross-entropy of each label and the logits of its own token, or of the
    one two before; None where it is that of the one before, as it should be, or anything else (a sum, other weights,
    further terms).

    ids: [1, L], which the model was called with. logits: [1, L, vocabulary]. labels: [L]; nothing is told of labels
    that are not those of `ids`, place by place: they may come shifted.
    """
    if getattr(ids, "ndim", 0) != 2 or tuple(ids.shape) != (1, len(labels)) or logits.shape[:2] != ids.shape:
        return None
    ids, labels = ids.to(logits.device), labels.to(logits.device)
    supervised = labels != IGNORE_INDEX
    if not bool((ids[0][supervised] == labels[supervised]).all()):
        return None
    due = mean(logits[0], labels, 1)
    if not gap(loss, due) > DISTINCT:  # nor where it is no number
        return None
    by_shift = {k: mean(logits[0], labels, k) for k in WRONG}
    apart = gap(by_shift[0], by_shift[2]) > DISTINCT
    return next((k for k, value in by_shift.items() if apart and gap(loss, value) <= SAME), None)


def mean(logits: Any, labels: Any, shift: int) -> float:
    """Mean cross-entropy of labels [L] and the logits [L, vocabulary] `shift` tokens before; NaN of no label."""
    import torch

    at = shift + torch.nonzero(labels[shift:] != IGNORE_INDEX).reshape(-1)
    return float(torch.nn.functional.cross_entropy(logits.detach()[at - shift].float(), labels[at]))


def gap(a: float, b: float) -> float:
    """|a - b| as a share of the larger, or of one."""
    return abs(a - b) / max(1.0, abs(a), abs(b))
