"""The questions on objects in any order, and on an objective that is made of several modules."""

from __future__ import annotations

import msgspec

from coordexp_audit_lib.boundaries.supervision.surfaces import Thing
from coordexp_audit_lib.core.surface import surface
from coordexp_audit_lib.kit.coordjson import Order


class CandidatesRequest(msgspec.Struct, frozen=True):
    """Candidates for what comes next, as token ids; the one with the number `teacher` is written."""

    candidates: list[list[int]]
    teacher: int


class TargetStep(msgspec.Struct, frozen=True):
    """teacher: the token that is written. targets: the tokens that are taught in its place, with their shares."""

    teacher: int
    targets: list[tuple[int, float]]


class CandidateTargets(msgspec.Struct, frozen=True):
    """One step for each token of the teacher's."""

    steps: list[TargetStep]


class SuffixRequest(msgspec.Struct, frozen=True):
    """An answer whose first objects are given: of `gt` by number, those of `given` are there, those of `asked` follow.

    order: of a record's fields.
    """

    gt: list[Thing]
    given: list[int]
    asked: list[int]
    order: Order = "desc_first"


class PlacedStep(msgspec.Struct, frozen=True):
    """A step that predicts the token at `position`, counted from the assistant's first token."""

    position: int
    step: TargetStep


class Suffix(msgspec.Struct, frozen=True):
    """ids: the assistant's tokens with what the template puts after them. steps: what is taught, in any order."""

    ids: list[int]
    steps: list[PlacedStep]


class BranchRequest(msgspec.Struct, frozen=True):
    """An answer that goes on with one candidate: of `gt` by number, those of `given` are there, `candidate` follows.

    order: of a record's fields.
    """

    gt: list[Thing]
    given: list[int]
    candidate: int
    order: Order = "desc_first"


class Branch(msgspec.Struct, frozen=True):
    """ids: the assistant's tokens with what the template puts after them. The others are positions among them:
    candidate: what is scored as the candidate. coordinates: those of its box. close: what is scored as the end of the
    list, of which close_start begins it; both empty where the list does not end."""

    ids: list[int]
    candidate: list[int]
    coordinates: list[int]
    close: list[int]
    close_start: list[int]


class CandidateLossRequest(msgspec.Struct, frozen=True):
    """Rows of logits with the steps that they predict; support: the weight of the mass on all targets together,
    balance: that of its division among them. Both 1 is cross-entropy against the shares."""

    logits: list[list[float]]
    steps: list[TargetStep]
    support: float = 1.0
    balance: float = 1.0


class CandidateLoss(msgspec.Struct, frozen=True):
    """loss: of all rows. single: of each row by itself."""

    loss: float
    single: list[float]


class SubsetRequest(msgspec.Struct, frozen=True):
    """Divide `objects` objects into those that are given and those that remain, once for each sample of each epoch.

    mixture: share of each way to divide (`empty_prefix`, `random_subset`, `leave_one_out`, `full_prefix`). candidates:
    at most so many of the remaining are scored, chosen evenly; 0 for all.
    """

    objects: int
    mixture: dict[str, float]
    candidates: int
    seed: int
    samples: int
    epochs: int = 1


class Subset(msgspec.Struct, frozen=True, array_like=True):
    mode: str
    prefix: list[int]
    remaining: list[int]
    candidates: list[int]


class Subsets(msgspec.Struct, frozen=True):
    """drawn: [epoch][sample]."""

    drawn: list[list[Subset]]


class Module(msgspec.Struct, frozen=True):
    """A part of an objective: its weight, and the terms that its loss is the sum of, by number."""

    name: str
    weight: float
    terms: list[float]
    on: bool = True


class ObjectiveRequest(msgspec.Struct, frozen=True):
    modules: list[Module]


class Objective(msgspec.Struct, frozen=True):
    """total: the objective's loss. modules: what each adds to it. atoms: what is logged of it, by name."""

    total: float
    modules: dict[str, float]
    atoms: dict[str, float]


CANDIDATE_TARGETS = surface(
    "supervision.candidate_targets", CandidatesRequest, CandidateTargets, "What is taught where candidates part."
)
CANDIDATE_LOSS = surface(
    "supervision.candidate_loss", CandidateLossRequest, CandidateLoss, "The loss of steps with several targets."
)
SUFFIX = surface("supervision.suffix", SuffixRequest, Suffix, "What is taught of an answer of which a part is given.")
BRANCH = surface("supervision.branch", BranchRequest, Branch, "Which tokens are scored as a candidate and as the end.")
SUBSETS = surface("supervision.subsets", SubsetRequest, Subsets, "Which objects are given, and which are asked for.")
OBJECTIVE = surface("supervision.objective", ObjectiveRequest, Objective, "Modules' losses added up, and logged.")
