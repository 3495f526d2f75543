"""An answer of which a part is given: what follows is taught token by token, each once, and nothing before it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from coordexp_audit_lib.boundaries.supervision.predicates.roles import piece
from coordexp_audit_lib.boundaries.supervision.surfaces import Thing
from coordexp_audit_lib.boundaries.supervision.surfaces.continuation import PlacedStep, Suffix, SuffixRequest
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.coordjson import Order, container, record
from coordexp_audit_lib.kit.tokenizer import IM_END

CLOSE, BETWEEN = "]}", ", "


def written(things: Sequence[Thing], order: Order) -> tuple[str, list[str]]:
    """The whole answer, and its records."""
    records = [record(t.desc, "bbox_2d", t.bbox, order) for t in things]
    return container(*records), records


def given_bytes(request: SuffixRequest) -> int:
    """How many bytes of the answer are given: of the records that are, with what opens and parts them."""
    if not request.given:
        return 0
    things = [request.gt[i] for i in (*request.given, *request.asked)]
    whole, records = written(things, request.order)
    opening = whole.index(records[0])
    if not request.asked:
        return len(whole.encode()) - len(CLOSE)
    kept = opening + sum(len(r) + len(BETWEEN) for r in records[: len(request.given)])
    return len(whole[:kept].encode())


def spans(ids: Sequence[int]) -> list[tuple[int, int]]:
    """First and last byte (exclusive) of each token in the text."""
    return list(itertools.pairwise(itertools.accumulate((len(piece(i)) for i in ids), initial=0)))


def covered(request: SuffixRequest, answer: Suffix, ledger: Ledger) -> Iterator[Problem]:
    """Counts the tokens that follow what is given."""
    whole, _ = written([request.gt[i] for i in (*request.given, *request.asked)], request.order)
    text, given = b"".join(map(piece, answer.ids)), given_bytes(request)
    if not text.startswith(whole.encode()) or IM_END not in answer.ids:
        said = text.decode("utf-8", "replace")
        yield Problem("the answer is not the one that the serializer writes", "text", whole, said)
        return
    taught: dict[int, PlacedStep] = {}
    for step in answer.steps:
        if step.position in taught:
            yield Problem("a token is taught twice", "steps", 1, 2, token=step.position)
        taught[step.position] = step
    for at, (token, (_, end)) in enumerate(zip(answer.ids, spans(answer.ids), strict=True)):
        after = end > given
        ledger.judged(int(after))
        one = taught.get(at)
        if after and one is None and at <= answer.ids.index(IM_END):
            yield Problem(
                "a token that follows what is given is not taught", "steps", piece(token).decode(), None, token=at
            )
        elif not after and one is not None:
            yield Problem("a token of what is given is taught", "steps", None, piece(token).decode(), token=at)
        elif one is not None and one.step.teacher != token:
            yield Problem("a step teaches another token than stands there", "steps", token, one.step.teacher, token=at)
        elif one is not None and token not in dict(one.step.targets):
            yield Problem("the token that stands there is none of its step's targets", "steps", token, token=at)
    outside = sorted(at for at in taught if not 0 <= at < len(answer.ids))
    if outside:
        yield Problem("what is taught lies outside the answer", "steps", len(answer.ids), outside)
