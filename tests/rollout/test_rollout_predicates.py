"""The rollout predicates as a table: what a pipeline did, and what is wrong with it."""

from __future__ import annotations

import pytest

from coordexp_audit_lib.boundaries.rollout import predicates
from coordexp_audit_lib.boundaries.rollout.cases import Item, Talk, good_item, items, small_topologies, timeout_values
from coordexp_audit_lib.boundaries.rollout.reference import plan
from coordexp_audit_lib.boundaries.rollout.surfaces import (
    MAX_INT32,
    Call,
    Outcome,
    Payload,
    RankEnd,
    RankRun,
    RanksEnded,
    Sample,
    Served,
    ServerRequest,
    TimeoutOutcome,
    Timeouts,
    Topology,
)
from coordexp_audit_lib.kit.rollout_stub import MISDEEDS

RIGHT = Item("right", good_item(), right=True)
WRONG = Item("token_ids missing", {}, "token_ids")
READ = Outcome(prompt_token_ids=[11, 872, 198], token_ids=[1294, 12])


@pytest.mark.parametrize(
    ("case", "outcome", "said"),
    [
        (RIGHT, READ, []),
        (RIGHT, Outcome("RuntimeError", "no"), ["a right item is not read as it is"]),
        (RIGHT, Outcome(prompt_token_ids=[11, 872, 198], token_ids=[1]), ["a right item is not read as it is"]),
        (WRONG, Outcome("KeyError", "'token_ids'"), []),
        (WRONG, Outcome("RuntimeError", "bad response"), ["token_ids missing: the error does not name the field"]),
        (WRONG, Outcome(token_ids=[]), ["token_ids missing: accepted without an error"]),
        (Item("null", None), Outcome("RuntimeError", ""), ["null: the error does not name the field"]),
    ],
)
def test_responses(case: Item, outcome: Outcome, said: list[str]) -> None:
    assert [p.message for p in predicates.response_problems(case, outcome)] == said


def test_every_required_field_is_missing_empty_and_mistyped_in_some_case() -> None:
    labels = [c.label for c in items()]
    for field in ("prompt_token_ids", "token_ids"):
        wanted = {f"{field} missing", f"{field}: empty", f"{field}: null", f"{field}: a float among ints"}
        assert wanted <= set(labels)
    assert len(labels) == len(set(labels)) == 30


TALK = Talk("t", Sample([("user", "u"), ("assistant", "a")]), 1)
GOOD = Payload([("user", "u")], [[]], {"return_details": True}, [], [])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"turns": [("system", "digest:1"), ("user", "u")]}, []),
        ({"config": {}}, ["return_details is not true"]),
        ({"config": {"return_details": 1}}, ["return_details is not true"]),
        ({"unsound": ["payload.images: tuple"]}, ["JSON would change the payload"]),
        ({"turns": TALK.sample.turns}, ["the prompt ends with the assistant's own answer"]),
        ({"turns": []}, ["the prompt is not the conversation up to its last user turn"]),
        ({"turns": [("user", "other")]}, ["the prompt is not the conversation up to its last user turn"]),
        ({"images": [["x.jpg"]]}, ["the images are not those of the sample, in order"]),
        ({"images": [[{"bytes": "00"}]]}, ["an image is not given as text"]),
    ],
)
def test_payloads(change: dict[str, object], said: list[str]) -> None:
    fields = {f: getattr(GOOD, f) for f in GOOD.__struct_fields__}
    assert [p.message for p in predicates.payload_problems(TALK, Payload(**{**fields, **change}))] == said


CASE = Topology(4, [1, 1], 1, 1)
PLANNED = [Call(0, 0, 1, [0]), Call(0, 1, 2, [1]), Call(1, 0, 3, [2]), Call(1, 1, 4, [3])]


@pytest.mark.parametrize(
    ("calls", "outputs", "said"),
    [
        (PLANNED, [0, 1, 2, 3], ""),
        (PLANNED, [0, 2, 1, 3], "the outputs are not in request order"),
        (PLANNED[:3], [0, 1, 2, 3], "not contiguous and in request order"),
        ([*PLANNED, Call(2, 0, 5, [3])], [0, 1, 2, 3], "not contiguous and in request order"),
        ([Call(0, 0, 1, [0, 2]), Call(0, 1, 2, [1, 3])], [0, 1, 2, 3], "not contiguous and in request order"),
        ([*PLANNED, Call(2, 0, 5, [])], [0, 1, 2, 3], "a server is asked for nothing"),
        ([Call(0, 0, 1, [0, 1]), Call(1, 1, 2, [2, 3])], [0, 1, 2, 3], "more than its GPUs may decode at once"),
        ([Call(0, 0, 1, [0]), Call(0, 1, 2, [1, 2, 3])], [0, 1, 2, 3], "more in one round than its share"),
    ],
)
def test_plans(calls: list[Call], outputs: list[int], said: str) -> None:
    found = [p.message for p in predicates.dispatch_problems(CASE, [RankRun(calls, outputs)])]
    assert any(said in m for m in found) if said else found == []


def test_no_request_sends_nothing_and_too_few_slots_may_be_refused() -> None:
    none = Topology(0, [1], 1, 1)
    assert list(predicates.dispatch_problems(none, [RankRun([], [])])) == []
    assert [p.message for p in predicates.dispatch_problems(none, [RankRun([Call(0, 0, 1, [])], [])])]
    crowded = Topology(1, [1], 2, 1)
    refused = RankRun([], [], "ValueError: too few")
    assert list(predicates.dispatch_problems(crowded, [refused, refused])) == []
    assert list(predicates.dispatch_problems(Topology(1, [1], 1, 1), [refused]))


def test_the_reference_plans_for_every_small_topology_and_gives_each_rank_its_share() -> None:
    for case in small_topologies():
        if case.decode_batch_size * sum(case.servers) < case.ranks:
            continue
        owned = [plan.slots(case, rank) for rank in range(case.ranks)]
        assert len({sum(o) for o in owned}) == 1
        for server, size in enumerate(case.servers):
            assert sum(o[server] for o in owned) <= case.decode_batch_size * size


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([1, 3], ""),
        ([MAX_INT32 - 1, 1], ""),
        ([None, 3], "no seed"),
        ([0, 3], "is 0"),
        ([-1, 3], "negative"),
        ([1, 2], "share a seed"),
        ([MAX_INT32, 3], "past int32"),
    ],
)
def test_seeds_of_two_calls_of_two_requests(seeds: list[int | None], said: str) -> None:
    calls = [Call(0, i, seed, [2 * i, 2 * i + 1]) for i, seed in enumerate(seeds)]
    found = [p.message for p in predicates.seed_problems(calls)]
    assert any(said in m for m in found) if said else found == []


@pytest.mark.parametrize(
    ("pair", "outcome", "said"),
    [
        (Timeouts(5, None), TimeoutOutcome(timeout_s=5.0), ""),
        (Timeouts(5, 0), TimeoutOutcome(timeout_s=5.0), ""),
        (Timeouts(5, -1), TimeoutOutcome(timeout_s=5.0, infer_timeout_s=-1.0), "infer_timeout_s: -1 is not understood"),
        (Timeouts(5, 2), TimeoutOutcome(timeout_s=5.0, infer_timeout_s=2.0, posted=2.0), ""),
        (Timeouts(5, 2), TimeoutOutcome(timeout_s=5.0, infer_timeout_s=2.0), "is not what bounds a POST"),
        (Timeouts(5, 2), TimeoutOutcome("ValueError", "no"), "usable timeouts are refused"),
        (Timeouts(5, 2), TimeoutOutcome(timeout_s=6.0, infer_timeout_s=2.0, posted=2.0), "not used as it is"),
        (Timeouts(0, 2), TimeoutOutcome(timeout_s=0.0), "timeout_s: 0 is accepted"),
        (Timeouts("soon", 2), TimeoutOutcome("ValueError", "timeout_s must be a number"), ""),
        (Timeouts(5, "never"), TimeoutOutcome("ValueError", "must be a number"), "does not name infer_timeout_s"),
    ],
)
def test_timeouts(pair: Timeouts, outcome: TimeoutOutcome, said: str) -> None:
    found = [p.message for p in predicates.timeout_problems(pair, outcome)]
    assert any(said in m for m in found) if said else found == []


def test_timeout_cases_hold_null_zero_and_negative() -> None:
    assert {None, 0, -1} <= {v.infer_timeout_s for v in timeout_values() if not isinstance(v.infer_timeout_s, dict)}


def test_every_misdeed_has_words_that_its_error_must_say() -> None:
    assert set(predicates.NAMED) == set(MISDEEDS) - {"none"}


@pytest.mark.parametrize(
    ("misdeed", "served", "said"),
    [
        ("none", Served("", "", [0, 1], [[0, 1]], True), ""),
        ("none", Served("", "", [1, 0], [[0, 1]], True), "not returned in order"),
        ("hang", Served("ReadTimeout", "read timed out", [], [[0, 1]], True), ""),
        ("hang", Served("ReadTimeout", "read timed out", [], [[0, 1], [0], [1]], True), "sent to the server again"),
        ("hang", Served("ReadTimeout", "read timed out", [], [[0, 1]], False), "does not end in time"),
        ("status_500", Served("RuntimeError", "failed", [], [[0, 1]], True), "does not say what happened"),
        ("swapped", Served("", "", [1, 0], [[0, 1]], True), "no error is raised"),
        ("swapped", Served("ResponseOrder", "", [], [[0, 1]], True), ""),
    ],
)
def test_servers(misdeed: str, served: Served, said: str) -> None:
    found = [p.message for p in predicates.server_problems(ServerRequest(misdeed, 2, 1.0), served)]
    assert any(said in m for m in found) if said else found == []


RAISED, WENT_ON = RankEnd(["raises"], "RuntimeError", "why"), RankEnd(["goes on"])


@pytest.mark.parametrize(
    ("ranks", "bounded", "said"),
    [
        ([RAISED, RAISED], True, ""),
        ([RAISED, WENT_ON], True, "one rank goes on"),
        ([RAISED, RAISED], False, "still waiting"),
        ([RAISED, RankEnd([], "RuntimeError", " ")], True, "without a message"),
        ([RAISED], True, "a rank is missing"),
        ([], True, "a rank is missing"),
    ],
)
def test_endings(ranks: list[RankEnd], bounded: bool, said: str) -> None:
    found = [p.message for p in predicates.together_problems(RanksEnded(ranks, bounded))]
    assert any(said in m for m in found) if said else found == []


@pytest.mark.parametrize(
    ("reduced", "said"),
    [
        ([{"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0}], ""),
        ([{"a": 1.0}, {"a": 1.0, "b": 1.0}], "report different metrics"),
        ([{"a": 1.0}, {"a": 1.0}], "metrics are lost on rank 0"),
    ],
)
def test_unions(reduced: list[dict[str, float]], said: str) -> None:
    ended = RanksEnded([RankEnd([], metrics=m) for m in reduced], True)
    found = [p.message for p in predicates.union_problems([{"a": 1.0, "x/_own": 1.0}, {"b": 1.0}], ended)]
    assert any(said in m for m in found) if said else found == []
