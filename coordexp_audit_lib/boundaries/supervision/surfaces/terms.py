"""The questions on the weights of an objective's terms, and on teacher forcing of whole samples (Stage 1)."""

from __future__ import annotations

from typing import Literal

import msgspec

from coordexp_audit_lib.boundaries.supervision.surfaces import Sample, Thing
from coordexp_audit_lib.core.surface import surface
from coordexp_audit_lib.kit.coordjson import Order


class TermsRequest(msgspec.Struct, frozen=True):
    """One batch of a channel in which nothing but the text's cross-entropy and one coordinate term (see
    `kit.coordinate_terms`) has a weight."""

    channel: Literal["A", "B"]
    samples: list[Sample]
    term: str
    weight: float
    packed: bool = False


class Slot(msgspec.Struct, frozen=True):
    """A coordinate that is supervised.

    position: relative to the assistant's first token. bin: that it is supervised with. fate: `matched` where the token
    is the rollout's, `appended` where it is ground truth's. pull: the factor of the term's own gradient in the slot's,
    times the number of slots in the batch, so that it is the weight where the objective is a mean over slots. stray:
    the share of the gradient that is not of the term.
    """

    position: int
    bin: int
    fate: str
    pull: float
    stray: float


class Terms(msgspec.Struct, frozen=True):
    """samples: for each the slots that are supervised."""

    samples: list[list[Slot]]


class ForcedRequest(msgspec.Struct, frozen=True):
    """Whole samples, each a row of one micro-batch, under the objective of Stage 1.

    term, weight: the one coordinate term that has a weight; `""` for none. steps: micro-batches of the optimizer step,
    all like this one. backward: without it only the labels of the cross-entropy are asked for.
    """

    samples: list[list[Thing]]
    term: str = ""
    weight: float = 0.0
    steps: int = 1
    order: Order = "desc_first"
    backward: bool = True


class Forced(msgspec.Struct, frozen=True):
    """One row: the assistant's tokens with what the template puts after them.

    labels: of the cross-entropy (-100 for none). share: by what each token's cross-entropy was multiplied, solved from
    the gradient on ordinary columns; both 0 and empty as `backward` says. slots: as in `Terms`, times the number of
    slots in the micro-batch.
    """

    ids: list[int]
    labels: list[int]
    share: list[float]
    slots: list[Slot]


class TeacherForced(msgspec.Struct, frozen=True):
    samples: list[Forced]


TERMS = surface("supervision.coordinate_terms", TermsRequest, Terms, "What one coordinate term does to each slot.")
FORCED = surface("supervision.teacher_forced", ForcedRequest, TeacherForced, "The loss of whole samples (Stage 1).")
