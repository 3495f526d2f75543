"""An answer that goes on with one candidate: what is scored as the candidate is its record, token by token."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.supervision.predicates.roles import is_coordinate, piece, text_of
from coordexp_audit_lib.boundaries.supervision.predicates.suffix import BETWEEN, CLOSE, spans
from coordexp_audit_lib.boundaries.supervision.surfaces.continuation import Branch, BranchRequest
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.coordjson import record

AFTER = max(len(BETWEEN), len(CLOSE))
"""Bytes behind a record that may be scored with it: what parts it from the next, or ends the list."""


def scored(request: BranchRequest, answer: Branch, ledger: Ledger) -> Iterator[Problem]:
    """Counts the answer's tokens. A token that covers the edge of the record may be scored or not."""
    thing = request.gt[request.candidate]
    wanted, text = record(thing.desc, "bbox_2d", thing.bbox, request.order).encode(), text_of(answer.ids)
    start = text.rfind(wanted)
    if start < 0:
        said = text.decode("utf-8", "replace")
        yield Problem("the candidate's record is not in the answer", "text", wanted.decode(), said)
        return
    end = start + len(wanted)
    candidate, coordinates = set(answer.candidate), set(answer.coordinates)
    for at, (token, (first, last)) in enumerate(zip(answer.ids, spans(answer.ids), strict=True)):
        ledger.judged()
        shown = piece(token).decode("utf-8", "replace")
        inside, outside = start <= first and last <= end, last <= start or first >= end + AFTER
        if inside and at not in candidate:
            yield Problem("a token of the candidate is not scored as one", "candidate", shown, None, token=at)
        elif outside and at in candidate:
            yield Problem("a token outside the candidate is scored as its own", "candidate", None, shown, token=at)
        elif inside and is_coordinate(token) != (at in coordinates):
            kind = "coordinate" if is_coordinate(token) else "text"
            yield Problem("a token of the candidate's box is scored as another kind", "coordinates", kind, token=at)
    if answer.close and not set(answer.close_start) & set(answer.close):
        yield Problem("the end of the list has no first token: it is never scored", "close_start", "one token", [])
