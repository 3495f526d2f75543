"""The reader of CoordJSON bytes, the roles of tokens, and the assignment, on inputs with known answers."""

from __future__ import annotations

from itertools import permutations
from random import Random

import msgspec
import pytest

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.rollouts import write
from coordexp_audit_lib.boundaries.supervision.predicates import matching
from coordexp_audit_lib.boundaries.supervision.predicates.reading import read
from coordexp_audit_lib.boundaries.supervision.predicates.roles import around, layout, shown, text_of
from coordexp_audit_lib.boundaries.supervision.reference.target import cut_tokens, keep
from coordexp_audit_lib.boundaries.supervision.surfaces import Group, SegmentB, Thing
from coordexp_audit_lib.kit.coordjson import container, is_strict, salvage
from coordexp_audit_lib.kit.tokenizer import encode

BOX = ", ".join(f"<|coord_{k}|>" for k in (1, 2, 3, 4))
RECORD = f'{{"desc": "a", "bbox_2d": [{BOX}]}}'

STRICT = {
    f'{{"objects": [{RECORD}]}}': True,
    '{"objects": []}': True,
    f'  {{"objects": [{RECORD}, {RECORD}]}} ': True,
    f'{{"objects": [{RECORD},]}}': False,
    f'{{"objects": [{RECORD} {RECORD}]}}': False,
    f'{{"objects": [{RECORD}]': False,
    f'x {{"objects": [{RECORD}]}}': False,
    f'{{"objects": [{RECORD}]}} x': False,
    f'{{"objects": [{RECORD}], "more": 1}}': False,
    '{"objects": [{"desc": " ", "bbox_2d": [' + BOX + "]}]}": False,
    '{"objects": [{"desc": "a", "bbox_2d": [' + BOX + ", <|coord_5|>]}]}": False,
    '{"objects": [{"desc": "a", "bbox_2d": ["<|coord_1|>", "<|coord_2|>", "<|coord_3|>", "<|coord_4|>"]}]}': False,
    '{"objects": [{"desc": "a", "bbox_2d": [<|coord_007|>, <|coord_2|>, <|coord_3|>, <|coord_4|>]}]}': False,
    '{"objects": [{"bbox_2d": [' + BOX + '], "desc": "a"}]}': False,
    '{"objects": [{"desc": "a", "poly": [' + BOX + ", <|coord_5|>, <|coord_6|>]}]}": True,
    '{"objects": [{"desc": "a", "poly": [' + BOX + "]}]}": False,
    '{"objects": [{"desc": "}]} \\" {", "bbox_2d": [' + BOX + "]}]}": True,
    '{"objects": [{"desc": "\U0001f408", "bbox_2d": [' + BOX + "]}]}": True,
}


@pytest.mark.parametrize(("text", "accepted"), STRICT.items())
def test_strict_reading(text: str, accepted: bool) -> None:
    assert is_strict(text.encode(), "desc_first") is accepted


def test_a_text_that_is_cut_keeps_its_whole_records() -> None:
    text = f'{{"objects": [{RECORD}, {RECORD[:20]}'.encode()
    found = salvage(text, "desc_first")
    assert found is not None
    assert (len(found.entries), found.end) == (1, None)


ROLES = {
    '{"': "structure",
    "desc": "structure",
    "t": "desc",
    "-shirt": "desc",
    '.",': "desc+structure",
    "<|coord_1|>": "coordinate",
    "]}": "structure+closure",
    "<|im_end|>": "closure",
}


def test_roles_of_the_tokens_of_a_text() -> None:
    ids = rollouts.rollout([Thing("t-shirt.", [1, 2, 3, 4])])
    found = {shown(t.id): t.role for t in layout(ids, "desc_first").tokens}
    assert {k: found[k] for k in ROLES} == ROLES


def test_every_byte_of_every_text_is_in_exactly_one_token() -> None:
    for things in ([], rollouts.ODD, [rollouts.CAT] * 3):
        ids = rollouts.rollout(list(things))
        view = layout(ids, "desc_first")
        assert [t.span[0] for t in view.tokens[1:]] == [t.span[1] for t in view.tokens[:-1]]
        assert view.tokens[-1].span[1] == len(view.text) == len(text_of(ids))
        assert len(view.records) == len(things)
        assert [r.desc for r in view.records] == [t.desc for t in things]


def test_the_closure_is_not_fooled_by_braces_in_a_description() -> None:
    ids = rollouts.rollout([Thing("}]} {", [1, 2, 3, 4])])
    assert [shown(ids[p]) for p in layout(ids, "desc_first").closing()] == ["]}", "<|im_end|>"]
    assert layout(ids, "desc_first").closing() == [len(ids) - 2, len(ids) - 1]


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_cut_keeps_tokens_and_spells_the_rest(cut: int) -> None:
    ids = encode(container(write([rollouts.CAT])))
    kept = cut_tokens(ids, cut)
    assert text_of(kept) == text_of(ids)[:cut]
    shared = next((i for i, (a, b) in enumerate(zip(kept, ids, strict=False)) if a != b), len(kept))
    assert len(text_of(kept[shared:])) < len(text_of(ids[shared : shared + 1]) or b"x")


def test_a_rollout_is_cut_before_its_first_record_that_is_refused() -> None:
    for case in rollouts.with_invalid_records():
        kept = keep(case.request.samples[0].rollout, "desc_first")
        assert (kept.valid, kept.invalid, kept.reasons) == (1, False, {"invalid": 1})
        assert text_of(kept.prefix).endswith(b"]}")


def test_tokens_around_a_seam() -> None:
    ids = encode("ab") + encode(" cd") + encode(" ef")
    assert [shown(t) for t in around(ids, 5)] == [" cd", " ef"]
    assert [shown(t) for t in around(ids, 4)] == [" cd"]


def test_the_assignment_is_the_cheapest_of_all() -> None:
    rng = Random(7)
    for n in range(1, 7):
        for _ in range(20):
            cost = [[rng.choice([0.0, 1.0, rng.random(), 1e6]) for _ in range(n)] for _ in range(n)]
            best = min(sum(cost[i][j] for i, j in enumerate(p)) for p in permutations(range(n)))
            chosen = matching.assign(cost)
            assert sorted(chosen) == list(range(n))
            assert sum(cost[i][j] for i, j in enumerate(chosen)) == pytest.approx(best)


def test_a_pair_below_the_gate_is_left_alone() -> None:
    assert matching.match([[0, 0, 100, 100]], [[0, 0, 100, 100], [0, 0, 10, 10]], 0.3) == [(0, 0)]
    assert matching.match([[0, 0, 10, 10]], [[0, 0, 100, 100]], 0.3) == []
    assert matching.match([], [[0, 0, 1, 1]], 0.3) == []


def test_pruning_to_the_nearest_boxes_loses_matches_where_boxes_crowd() -> None:
    gts, preds = ([[300 + side * i, 100, 700 + side * i, 500] for i in range(8)] for side in (4, -4))
    assert len(matching.match(preds, gts, 0.3)) == 8
    assert len(matching.match(preds, gts, 0.3, among=matching.candidates(preds, gts, 5))) == 5


def test_the_token_between_two_records_is_found_where_it_ends_the_first() -> None:
    view = layout(encode(container(write([rollouts.CAT, rollouts.BIRD]))), "desc_first")
    between = [shown(view.tokens[p].id) for p in view.between(1)]
    assert between == ["]},", ' {"'] and view.between(0) == []


def test_a_coordinate_that_a_description_spells_is_no_slot() -> None:
    view = layout(encode(container(write([Thing("label <|coord_7|>", [1, 2, 3, 4])]))), "desc_first")
    assert [shown(view.tokens[p].id) for p in view.slots(0)] == [f"<|coord_{k}|>" for k in (1, 2, 3, 4)]


def test_a_match_of_a_box_the_wrong_way_round_is_no_match() -> None:
    """Repaired and matched by the pipeline, it stands for no ground truth: that was neither found nor appended."""
    turned, right = Thing("cat", [100, 300, 300, 100]), Thing("cat", [100, 100, 300, 300])
    ids = encode(container(write([turned])) + "<|im_end|>\n")
    slots = layout(ids, "desc_first").slots(0)
    made = rollouts.one([right], ids).samples[0]
    segment = msgspec.structs.replace(bare(ids), prefix_groups=[Group(slots, right.bbox)])
    found = read(segment, made, "desc_first")
    assert (found.fates, found.unclaimed) == (["dropped"], [slots])


def bare(ids: list[int]) -> SegmentB:
    """A segment of these tokens, all of them the rollout's, of which nothing is known."""
    none = {f: [] for f in SegmentB.__struct_fields__ if f not in COUNTS}
    return SegmentB(**{**none, **dict.fromkeys(COUNTS, 0), "ids": ids, "prefix_len": len(ids)})


COUNTS = ("prompt_len", "prefix_len", "invalid", "valid", "matched", "fn", "dropped", "truncated", "seed_base")
