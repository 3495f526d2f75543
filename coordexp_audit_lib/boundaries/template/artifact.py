"""Samples as they stand in a batch: cut out at its bounds, with their labels, and what fills the batch up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy.typing as npt

from coordexp_audit_lib.kit.profile import Profile

Array = npt.NDArray[Any]


class Span(msgspec.Struct, frozen=True):
    """Tokens of one row of a batch. row: None where it has only one. first: their first token there, 0-based. ids: [n].
    labels: [n], unshifted; None where the batch has none."""

    row: int | None
    first: int
    ids: Array
    labels: Array | None


class BatchSamples(msgspec.Struct, frozen=True):
    """The samples of a batch, and the fillers around them. told: whether a mask tells them apart."""

    samples: Sequence[Span]
    fillers: Sequence[Span]
    profile: Profile
    told: bool = False
