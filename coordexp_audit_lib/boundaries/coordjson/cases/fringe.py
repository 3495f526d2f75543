"""Where parsers that agree on the ordinary part ways: each class quotes the clause that decides it."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.coordjson.cases.asking import SEVERITIES
from coordexp_audit_lib.boundaries.coordjson.cases.texts import FLIPPED, Case, members, record, tempting_texts
from coordexp_audit_lib.core.finding import Severity
from coordexp_audit_lib.kit.coordjson import Order, array, container

CLAUSES = {
    "trailing comma": "no trailing commas are permitted; a record with an extra comma is malformed and dropped",
    "coordinate spelling": "a coordinate literal is exactly <|coord_k|> with k in 0..999: no other spelling is a token",
    "reason precedence": "one reason a record: unexpected_keys > missing_desc > order_violation > wrong_arity > other",
    "open brace": "a text without a container is a sample-level failure and must be reported as one",
    "entry is no record": "salvage drops invalid entries and goes on with the valid ones",
}


MINOR: dict[str, Severity] = {
    **SEVERITIES,
    # Only a counter's name or a report differs; what is kept, and so trained, is the same.
    **{"reason precedence": "P2", "open brace": "P2"},
    # What is read strictly was written by the pipeline itself, and is never so.
    **{f"{kind}, in strict mode": "P2" for kind in CLAUSES},
}


def fringe_texts(order: Order) -> Iterator[Case]:
    """Texts for both modes. `kept` and `seen` are left to the reference."""
    last = record("last", order, shift=50)
    yield from (replace(case, kept=None, seen=None) for case in tempting_texts(order))
    for bad in _doubly_broken(order):
        yield Case("reason precedence", container(bad, last), order)
    for text in ("{", "{ ", "I see {", container().replace("objects", "object") + "{", "{{"):
        yield Case("open brace", text, order)


def _doubly_broken(order: Order) -> Iterator[str]:
    """Records with two defects whose names and precedence the contract both fixes."""
    good, far = ("bbox_2d", array((1, 2, 3, 4))), ("bbox_2d", array((1, 2, 3, 1000)))
    short, extra = ("bbox_2d", array((1, 2, 3))), ("label", '"x"')
    yield members(order, '"cat"', far, extra)
    yield members(order, '""', good, extra)
    yield members(order, '"cat"', short, extra)
    yield members(FLIPPED[order], '""', good)
    yield members(FLIPPED[order], '"cat"', short)
    yield members(FLIPPED[order], '"cat"', far)
    yield members(order, None, far)
    yield members(order, '"  "', short)


def unjudged_texts(order: Order) -> Iterator[Case]:
    """Leniencies of a strict reader on which the contract is silent: shown, never judged."""
    one = record("cat", order)
    whole = container(one)
    yield Case("no separator spaces", whole.replace(", ", ",").replace(": ", ":"), order)
    yield Case("pretty-printed", whole.replace("[", "[\n  ").replace(", ", ",\n  "), order)
    yield Case("blank around", "\n" + whole + " ", order)
    yield Case("escaped key", whole.replace("desc", "d\\u0065sc"), order)
    yield Case("blank around desc", container(record(" cat ", order)), order)
