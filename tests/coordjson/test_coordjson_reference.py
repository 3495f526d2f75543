"""The reference reader and writer: text -> what is kept, dropped, refused."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp_audit_lib.boundaries.coordjson import reference
from coordexp_audit_lib.boundaries.coordjson.cases import rollouts, texts
from coordexp_audit_lib.boundaries.coordjson.predicates import parsing
from coordexp_audit_lib.boundaries.coordjson.surfaces import ParseRequest, RenderRequest, Thing
from coordexp_audit_lib.core.surface import Refuse
from coordexp_audit_lib.kit.boxes import encode_share
from coordexp_audit_lib.kit.coordjson import ORDERS, Defect, admissible

BOX = "[<|coord_1|>, <|coord_2|>, <|coord_3|>, <|coord_4|>]"
CAT = f'{{"desc": "cat", "bbox_2d": {BOX}}}'
DOG = f'{{"desc": "dog", "bbox_2d": {BOX}}}'


def salvage(text, order="desc_first"):
    return reference.parse_coordjson(ParseRequest(text, "salvage", order))


def strict(text, order="desc_first"):
    return reference.parse_coordjson(ParseRequest(text, "strict", order))


SALVAGE = {  # text -> (kept descs, dropped, tail, truncated, failed)
    f'{{"objects": [{CAT}]}}': (["cat"], {}, 0, False, False),
    f'well {{"objects": [{CAT}]}} and {{"objects": [{DOG}]}}': (["cat"], {}, 0, False, False),
    f'{{"objects": [{CAT}, {DOG[:-5]}': (["cat"], {}, 1, True, False),
    f'{{"objects": [{CAT}, ': (["cat"], {}, 0, True, False),
    f'{{"objects": [{CAT}]': (["cat"], {}, 0, True, False),
    '{"objects": [': ([], {}, 0, True, False),
    f'{{"objects": [{CAT}, 5, {DOG}]}}': (["cat", "dog"], {"other": 1}, 0, False, False),
    f'{{"objects": [{CAT[:-1]},}}, {DOG}]}}': (["dog"], {"other": 1}, 0, False, False),
    f'{{"objects": [{CAT.replace("coord_1|", "coord_01|")}, {DOG}]}}': (["dog"], {"wrong_arity": 1}, 0, False, False),
    f'{{"objects": [{CAT.replace("cat", " ")}, {DOG}]}}': (["dog"], {"missing_desc": 1}, 0, False, False),
    f'{{"objects": [{CAT}, ]}}': (["cat"], {}, 0, False, False),
    f'{{"a": {{"objects": [{CAT}]}}}}': (["cat"], {}, 0, False, False),
    f'{{"objects": [{CAT}], "n": 1}}': ([], {}, 0, False, True),
    "{": ([], {}, 0, False, True),
    "": ([], {}, 0, False, True),
    CAT: ([], {}, 0, False, True),
}


@pytest.mark.parametrize(("text", "expected"), SALVAGE.items())
def test_salvage(text, expected):
    found = salvage(text)
    said = ([r.desc for r in found.records], found.dropped, found.incomplete_tail, found.truncated, found.failed)
    assert said == expected


def test_spans_and_indices():
    text = f'Sure: {{"objects": [{{}}, {CAT}]}}'
    (cat,) = salvage(text).records
    assert (cat.index, text[slice(*cat.span)], text[slice(*cat.geometry_span)]) == (1, CAT, BOX)
    assert salvage(text).container_start == 6
    assert salvage(text).container_end == len(text)


@pytest.mark.parametrize("text", [f' \n{{"objects": [{CAT}]}}\t', '{"objects": []}', '{ "objects":[ ] }'])
def test_strict_takes_json_blanks(text):
    assert not strict(text).failed


@pytest.mark.parametrize("bad", ["\u00a0", "x", "\ufeff"])
def test_strict_refuses_anything_else_around(bad):
    with pytest.raises(Refuse):
        strict(bad + '{"objects": []}')


def test_strict_names_the_record():
    with pytest.raises(Refuse, match=r"objects\[1\]: its keys are not desc_first"):
        strict(f'{{"objects": [{CAT}, {{"bbox_2d": {BOX}, "desc": "x"}}]}}')


PRECEDENCE = {
    (("unexpected_keys",), ("wrong_arity",)): ("unexpected_keys",),
    (("order_violation",), ("missing_desc",)): ("missing_desc",),
    (("wrong_arity", "other"),): ("wrong_arity", "other"),
    (("wrong_arity", "other"), ("order_violation",)): ("order_violation",),
    (("unexpected_keys", "other"), ("missing_desc",)): ("unexpected_keys", "missing_desc"),
    (("other",), ("other",)): ("other",),
}


@pytest.mark.parametrize(("defects", "reasons"), PRECEDENCE.items())
def test_one_reason_by_precedence(defects, reasons):
    assert admissible([Defect(d, "") for d in defects]) == reasons


def test_canonical_text():
    text = reference.render(RenderRequest((Thing('a "b" é', "bbox_2d", (0, 1, 2, 999)),), "geometry_first")).text
    box = "[<|coord_0|>, <|coord_1|>, <|coord_2|>, <|coord_999|>]"
    assert text == f'{{"objects": [{{"bbox_2d": {box}, "desc": "a \\"b\\" é"}}]}}'
    assert reference.render(RenderRequest((), "desc_first")).text == '{"objects": []}'


def test_transpiled_text_is_json():
    answer = reference.coordjson_to_strict_json(ParseRequest(f'x{{"objects": [{CAT}]}}', "salvage", "desc_first"))
    assert json.loads(answer.text) == {"objects": [{"desc": "cat", "bbox_2d": [1, 2, 3, 4]}]}


def test_real_rollouts_are_there_and_their_bins_fit():
    made = rollouts.rollouts()
    assert len(made) == 12
    assert sum(map(len, made)) > 100
    assert all(0 <= v <= 999 for things in made for t in things for v in t.values)
    assert [encode_share(*p) for p in ((0, 10), (10, 10), (11, 10), (5, 10))] == [0, 999, 999, 500]


THINGS = st.lists(
    st.builds(
        Thing,
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
        st.just("bbox_2d"),
        st.tuples(*[st.integers(0, 999)] * 4),
    ),
    max_size=4,
).map(tuple)


@given(THINGS, st.sampled_from(ORDERS), st.text(max_size=8).filter(lambda t: "{" not in t))
@settings(max_examples=60, deadline=None)
def test_whatever_is_written_is_read_again(things, order, junk):
    text = reference.render(RenderRequest(things, order)).text
    assert not list(parsing.roundtrip(things, order, strict(text, order)))
    found = salvage(junk + text + junk, order)
    assert not list(parsing.roundtrip(things, order, found))
    assert not list(parsing.exact_spans(junk + text + junk, found))


@given(st.lists(st.sampled_from([*texts.FRAGMENTS, CAT, ",", '{"objects": [', "]}"]), max_size=30).map("".join))
@settings(max_examples=150, deadline=None)
def test_salvage_answers_whatever_it_is_given(text):
    found = salvage(text)
    assert not list(parsing.exact_spans(text, found))
    assert found.failed == (found.container_start is None)


def test_a_long_hostile_text_takes_no_time():
    started = time.perf_counter()
    for family in rollouts.families("desc_first").values():
        salvage(family[2] * 40)
    assert time.perf_counter() - started < 10
