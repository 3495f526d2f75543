"""Guards for what is fed to the model: dataset records and packed batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coordexp_audit_lib.boundaries.geometry.predicates.records import Ordering, Record, Space, problems
from coordexp_audit_lib.boundaries.packing.decide import first_problems
from coordexp_audit_lib.boundaries.packing.row import TENSORS
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.guards.stopping import at_token, stop

WHATEVER_IT_IS = {"packing.capacity"}


def check_record(record: Any, space: Space = "bins", ordering: Ordering = "random") -> None:
    """A dataset record keeps the contract: images, size, and objects with one geometry each, in range and in order.

    Args:
        space: what its coordinates are: bins (tokens or ints in 0..999), or pixels. ordering: `sorted` also demands
            that objects stand in top-left order.

    Raises:
        InvariantViolation: it does not; `where` is the path within the record.
    """
    for claim, p in problems(Record(record, space, ordering)):
        stop(claim, p.message, where=p.subject or "record", expected=p.expected, actual=p.actual)


def check_packed_batch(batch: Mapping[str, Any], packing_length: int | None = None) -> list[str]:
    """A packed batch keeps its samples apart: fields aligned, positions restart, labels unshifted, images in order.

    Args:
        batch: tensors of torch or NumPy by name; any of `packing.row.TENSORS`, others are left alone. Nothing is copied
            that lies in this machine's memory, but bfloat16, which NumPy does not know.
        packing_length: the pack's capacity in tokens; without it, it is not judged.

    Returns:
        The claims that the tensors decide.

    Raises:
        InvariantViolation: a claim is broken; the message says at which token.
        UsageError: the tensors decide no claim, or none but the capacity, which is not about packs alone.
    """
    decided = judge_batch(batch, packing_length)
    if not set(decided) - WHATEVER_IT_IS:
        remedy = "pass input_ids, labels and position_ids of one packed row, with cu_seq_lens_q if there is one"
        raise UsageError("its tensors decide no claim on packing", where="batch", remedy=remedy)
    return decided


def judge_batch(batch: Mapping[str, Any], packing_length: int | None = None) -> list[str]:
    """As `check_packed_batch`; an empty list where the batch is none of one packed row."""
    broken, decided = first_problems({n: array(batch[n]) for n in TENSORS if n in batch}, packing_length)
    for claim, p in broken.items():
        others = ", ".join(c for c in broken if c is not claim)
        text = at_token(p.message, p.token) + (f" (it breaks {others} too)" if others else "")
        stop(claim, text, where="batch", expected=p.expected, actual=p.actual)
    return decided


def array(tensor: Any) -> Any:
    """A tensor as NumPy sees it: the same memory where it can be."""
    if not hasattr(tensor, "detach"):
        return tensor
    here = tensor.detach().cpu()
    return here.float().numpy() if str(here.dtype) == "torch.bfloat16" else here.numpy()
