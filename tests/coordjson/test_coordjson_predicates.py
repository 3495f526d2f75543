"""The predicates at their edges: an answer and what is wrong with it."""

import pytest
from msgspec.structs import replace

from coordexp_audit_lib.boundaries.coordjson.cases import texts
from coordexp_audit_lib.boundaries.coordjson.predicates import parsing
from coordexp_audit_lib.boundaries.coordjson.reference import parse_coordjson
from coordexp_audit_lib.boundaries.coordjson.surfaces import Growth, ParseRequest, Thing
from coordexp_audit_lib.kit import coordjson
from coordexp_audit_lib.kit.coordjson import ORDERS
from coordexp_audit_lib.kit.tracing import growth

TEXT = "So: " + coordjson.container(texts.record("cat", "desc_first"), texts.record("dog", "desc_first", 7))
FOUND = parse_coordjson(ParseRequest(TEXT, "salvage", "desc_first"))
CAT, DOG = FOUND.records
THINGS = (Thing("cat", "bbox_2d", (0, 20, 300, 899)), Thing("dog", "bbox_2d", (7, 27, 307, 906)))


def altered(**fields):
    return replace(FOUND, records=[replace(CAT, **fields), DOG])


def test_an_honest_answer_has_no_problem():
    assert not list(parsing.exact_spans(TEXT, FOUND))
    assert not list(parsing.unrepaired(TEXT, FOUND))
    assert not list(parsing.accounts(FOUND, 2))
    assert not list(parsing.roundtrip(THINGS, "desc_first", FOUND))


@pytest.mark.parametrize(
    "fields",
    [
        {"span": (CAT.span[0] + 1, CAT.span[1])},
        {"span": (CAT.span[0], CAT.span[1] + 1)},
        {"span": (CAT.span[0], CAT.span[1] - 1)},
        {"geometry_span": (CAT.geometry_span[0] + 1, CAT.geometry_span[1])},
        {"geometry_span": (CAT.geometry_span[0], CAT.geometry_span[1] + 1)},
        {"geometry_span": (CAT.geometry_span[0] - 2, CAT.geometry_span[1])},
        {"span": DOG.span, "geometry_span": DOG.geometry_span},
        {"span": (-5, -1)},
        {"span": (0, len(TEXT) + 9)},
    ],
)
def test_a_span_that_cuts_something_else(fields):
    assert list(parsing.exact_spans(TEXT, altered(**fields)))


OTHER_VALUES = ([0, 20, 300, 900], [20, 0, 300, 899])


@pytest.mark.parametrize(
    "fields", [{"desc": "cats"}, *({"values": v} for v in OTHER_VALUES), {"key_order": ["bbox_2d", "desc"]}]
)
def test_a_record_that_is_not_in_the_text(fields):
    assert list(parsing.unrepaired(TEXT, altered(**fields)))
    assert list(parsing.roundtrip(THINGS, "desc_first", altered(**fields)))


def test_records_out_of_order():
    assert list(parsing.unrepaired(TEXT, replace(FOUND, records=[DOG, CAT])))


@pytest.mark.parametrize(
    ("dropped", "tail", "seen"), [({}, 0, 3), ({"other": 1}, 0, 2), ({"other": -1}, 1, 2), ({}, 2, 4)]
)
def test_accounts_that_do_not_add_up(dropped, tail, seen):
    assert list(parsing.accounts(replace(FOUND, dropped=dropped, incomplete_tail=tail), seen))


@pytest.mark.parametrize(
    ("counts", "allowed", "fits"),
    [
        ({}, [], True),
        ({"other": 0}, [], True),
        ({"other": 1}, [("other",)], True),
        ({"other": 1}, [], False),
        ({}, [("other",)], False),
        ({"wrong_arity": 1}, [("other",)], False),
        ({"wrong_arity": 1, "other": 1}, [("wrong_arity", "other"), ("wrong_arity",)], True),
        ({"wrong_arity": 1, "other": 1}, [("wrong_arity",), ("wrong_arity", "other")], True),
        ({"wrong_arity": 1, "other": 1}, [("wrong_arity",), ("wrong_arity",)], False),
        ({"a": 1, "b": 1, "c": 1}, [("a", "b"), ("a", "c"), ("a",)], True),
        ({"a": 1, "b": 2}, [("a", "b"), ("a", "c"), ("a",)], False),
    ],
)
def test_reasons_are_matched_to_records(counts, allowed, fits):
    assert parsing.reasons_fit(counts, allowed) is fits


def test_a_disagreement_is_named():
    reading = coordjson.salvage(TEXT, "desc_first")
    assert not list(parsing.agreement(FOUND, reading))
    assert list(parsing.agreement(replace(FOUND, failed=True), reading))
    assert list(parsing.agreement(FOUND, None))
    (lost,) = parsing.agreement(replace(FOUND, records=[CAT]), reading)
    assert lost.message == "kept records [0], expected [0, 1]"
    assert not list(parsing.agreement(altered(desc=" cat "), reading))
    assert list(parsing.agreement(replace(FOUND, container_start=0), reading))


@pytest.mark.parametrize(
    ("function", "superlinear"),
    [
        (lambda t: [c for c in t], False),
        (lambda t: [c for c in t for _ in t], True),
        (lambda t: t.count("{"), False),
        (lambda t: [t[i:].count("}") for i in range(len(t))], False),
    ],
    ids=["linear", "quadratic", "no lines", "quadratic in C, but too short to matter"],
)
def test_growth(function, superlinear):
    def work(text):
        total = 0
        for _ in function(text) if not isinstance(function(text), int) else ():
            total += 1
        return total

    assert parsing.is_superlinear(Growth(**growth(work, ("{" * 40, "{" * 80, "{" * 160)))) is superlinear


def test_growth_in_c_is_seen_in_the_time():
    def work(text):
        return sum(text[i:].count("}") for i in range(0, len(text), 20))

    seen = Growth(**growth(work, ("{" * 40_000, "{" * 80_000, "{" * 160_000)))
    assert (seen.lines, parsing.is_superlinear(seen)) == (1.0, True)


def test_superlinear_starts_at_one_and_a_half():
    assert [parsing.is_superlinear(Growth(x, "unclear")) for x in (1.0, 1.4, 1.5, 2.0)] == [False, False, True, True]


@pytest.mark.parametrize("order", ORDERS)
def test_the_inputs_are_what_they_say(order):
    kinds = {c.kind for c in texts.broken_texts(order)}
    claimed = "text before, text after, wrong key order, unknown key, duplicate key, missing key, two geometries"
    claimed += ", wrong arity, coordinate out of range, quoted coordinates, numeric coordinates, empty desc"
    assert {*claimed.split(", "), "truncation", "second container"} <= kinds
    for source in (texts.junk_texts, texts.mixed_texts, texts.cut_texts, texts.lost_texts):
        made = list(source(order))
        assert len(made) >= 10
        assert all(c.kept is not None and c.seen is not None and c.seen >= len(c.kept) for c in made)


@pytest.mark.parametrize("order", ORDERS)
def test_what_was_mended_stands_not_in_the_text_though_its_spans_do(order):
    """Who checks places overlooks a comma too many and a zero before a number; who asks for bytes does not."""
    for bad in [*texts.comma_records(order), texts.members(order, '"cat"', ("bbox_2d", SPELLED))]:
        text = coordjson.container(bad)
        at = text.index("{", 1)
        first, last = text.index("[", at), text.index("]", at) + 1
        keys, desc = (
            (["desc", "bbox_2d"] if order == "desc_first" else ["bbox_2d", "desc"]),
            "cat" if SPELLED in bad else "first",
        )
        record = replace(
            CAT,
            index=0,
            desc=desc,
            values=[0, 20, 300, 899],
            key_order=keys,
            span=(at, at + len(bad)),
            geometry_span=(first, last),
        )
        found = replace(FOUND, records=[record], container_start=0, container_end=len(text))
        assert not list(parsing.exact_spans(text, found)), bad
        assert list(parsing.unrepaired(text, found)), bad


SPELLED = "[<|coord_00|>, <|coord_20|>, <|coord_300|>, <|coord_899|>]"
