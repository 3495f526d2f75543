"""What the faults of several claims share: an edit of an honest answer, and a trainer that calls the model wrongly."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.packing.reference.forward import How, measure
from coordexp_audit_lib.boundaries.packing.surfaces import Batch, BatchRequest, BatchResponse, Forward, ForwardRequest
from coordexp_audit_lib.core.fault import Honest

Ints = dict[str, Any]
Edit = Callable[[Ints, Batch], object]


def replaced(change: Callable[[Any, Any], dict[str, Any]]) -> Callable[[Any, Honest], Any]:
    """The honest answer with some fields replaced: `change(request, answer)` gives them."""

    def apply(request: Any, honest: Honest) -> Any:
        made = honest(request)
        return msgspec.structs.replace(made, **change(request, made))

    return apply


def edited(edit: Edit) -> Callable[[BatchRequest, Honest], BatchResponse]:
    """The honest batches, with `edit` run on the integer tensors of each pack that has several members."""

    def apply(request: BatchRequest, honest: Honest) -> BatchResponse:
        batches = []
        for made in honest(request).batches:
            ints, rows = copy.deepcopy(made.ints), list(made.pixel_rows or []) or None
            batch = msgspec.structs.replace(made, ints=ints, dtypes=dict(made.dtypes), pixel_rows=rows)
            if len(made.members) > 1:
                edit(ints, batch)
            batches.append(batch)
        return BatchResponse(batches)

    return apply


def second(ints: Ints) -> int:
    """The first token of the second segment."""
    at: int = ints["cu_seq_lens_q"][1]
    return at


def calls(**how: Any) -> Callable[[ForwardRequest, Honest], Forward]:
    """A trainer that calls the model in another way than the reference does."""
    return lambda request, honest: measure(request, How(**how))
