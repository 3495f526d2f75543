"""The reference's terms of the objective: both channels of Stage 2, and teacher forcing of whole samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.supervision.cases.rollouts import write
from coordexp_audit_lib.boundaries.supervision.predicates.roles import is_coordinate
from coordexp_audit_lib.boundaries.supervision.predicates.targets import IGNORED
from coordexp_audit_lib.boundaries.supervision.reference.batch import rows
from coordexp_audit_lib.boundaries.supervision.reference.losses import measured, token_loss
from coordexp_audit_lib.boundaries.supervision.reference.target import END, build
from coordexp_audit_lib.boundaries.supervision.surfaces import ChannelBRequest, Thing
from coordexp_audit_lib.boundaries.supervision.surfaces.terms import (
    FORCED,
    TERMS,
    Forced,
    ForcedRequest,
    Slot,
    TeacherForced,
    Terms,
    TermsRequest,
)
from coordexp_audit_lib.core.surface import answers
from coordexp_audit_lib.kit import coordinate_terms as terms
from coordexp_audit_lib.kit.coordjson import Order, container
from coordexp_audit_lib.kit.model import FEW, hashed, one_thread, row_of
from coordexp_audit_lib.kit.tokenizer import COORD_0, encode


class _Row(msgspec.Struct):
    """A row's tokens, those that cross-entropy has with their weights, and the slots, still without their pull."""

    ids: list[int]
    weights: list[float]
    slots: list[Slot]


@answers(TERMS)
def coordinate_terms(request: TermsRequest) -> Terms:
    if request.channel == "A":
        made = [_forced(s.gt, "desc_first") for s in request.samples]
    else:
        made = [_rolled(request, n) for n in range(len(request.samples))]
    with one_thread():
        _, slots = _run(made, request.term, request.weight, 1)
    return Terms(slots)


@answers(FORCED)
def teacher_forced(request: ForcedRequest) -> TeacherForced:
    made = [_forced(things, request.order) for things in request.samples]
    if not request.backward:
        return TeacherForced([_told(row, [], []) for row in made])
    with one_thread():
        shares, slots = _run(made, request.term, request.weight, request.steps)
    if request.term:
        return TeacherForced([_told(row, [], found) for row, found in zip(made, slots, strict=True)])
    return TeacherForced([_told(row, share, []) for row, share in zip(made, shares, strict=True)])


def _told(row: _Row, share: list[float], slots: list[Slot]) -> Forced:
    labels = [t if w else IGNORED for t, w in zip(row.ids, row.weights, strict=True)]
    return Forced(row.ids, labels, share, slots)


def _forced(things: Sequence[Thing], order: Order) -> _Row:
    ids = encode(container(write(things, order)) + END)
    slots = [Slot(p, t - COORD_0, "appended", 0.0, 0.0) for p, t in enumerate(ids) if is_coordinate(t)]
    return _Row(ids, [0.0 if is_coordinate(t) else 1.0 for t in ids], slots)


def _rolled(request: TermsRequest, n: int) -> _Row:
    target = build(request.samples[n], ChannelBRequest([request.samples[n]]))
    sides = (("matched", target.matched_groups), ("appended", target.missed_groups))
    slots = [
        Slot(p, k, fate, 0.0, 0.0) for fate, groups in sides for g in groups for p, k in zip(g.pos, g.bins, strict=True)
    ]
    return _Row(target.ids, target.weights, slots)


def _run(made: list[_Row], term: str, weight: float, steps: int) -> tuple[list[list[float]], list[list[Slot]]]:
    """Forward, loss and backward; the cross-entropy's shares and the slots' pulls of each row."""
    import torch

    batch = rows([row.ids for row in made], 0)
    logits = hashed()(input_ids=batch.ids, use_cache=False, **batch.extras).logits
    text = [(b, batch.prompt + p, row.ids[p]) for b, row in enumerate(made) for p, w in enumerate(row.weights) if w]
    places = [(b, batch.prompt + s.position - 1) for b, row in enumerate(made) for s in row.slots]
    bins = [s.bin for row in made for s in row.slots]
    loss = token_loss(logits, text, [w for row in made for w in row.weights if w])
    at = (torch.tensor([b for b, _ in places]), torch.tensor([p for _, p in places]))
    if term and bins:
        loss = loss + weight * terms.losses(term, logits[at], torch.tensor(bins), FEW).mean()
    (grads,) = torch.autograd.grad(loss / steps, logits)
    shares = [_shares(logits[b], grads[b], batch.prompt, row.ids) for b, row in enumerate(made)]
    found = terms.pulls(term, logits[at], grads[at], bins, FEW) if term and bins else [(0.0, 0.0)] * len(bins)
    left = iter(found)
    return shares, [[_with(slot, next(left), len(bins)) for slot in row.slots] for row in made]


def _with(slot: Slot, found: tuple[float, float], slots: int) -> Slot:
    pull, stray = found
    return msgspec.structs.replace(slot, pull=measured(pull * slots), stray=round(stray, 3))


def _shares(logits: Any, grads: Any, prompt: int, ids: list[int]) -> list[float]:
    """By what each token's cross-entropy was multiplied: the gradient of another column is that times its
    probability."""
    import torch

    span = slice(prompt - 1, prompt - 1 + len(ids))
    others = torch.softmax(logits[span].detach(), -1)
    others[torch.arange(len(ids)), row_of(torch.tensor(ids))] = 0.0
    return [measured(v) for v in ((grads[span] * others).sum(-1) / others.pow(2).sum(-1)).tolist()]
