"""The rollout predicates as a table: what a pipeline did, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from coordexp_audit_lib.boundaries.rollout import predicates
from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.boundaries.rollout.cases import Item, Talk, good_item, items, small_topologies, timeout_values
from coordexp_audit_lib.boundaries.rollout.reference import plan
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.rollout_stub import MISDEEDS


def agrees(problems: Iterable[Problem], said: str) -> bool:
    """Whether some problem says it; where nothing is to be said, whether there is none."""
    found = [p.message for p in problems]
    return any(said in m for m in found) if said else found == []


RIGHT = Item("right", good_item(), right=True)
WRONG = Item("token_ids missing", {}, "token_ids")
READ = s.Outcome(prompt_token_ids=[11, 872, 198], token_ids=[1294, 12])


@pytest.mark.parametrize(
    ("case", "outcome", "said"),
    [
        (RIGHT, READ, []),
        (RIGHT, s.Outcome("RuntimeError", "no"), ["a right item is not read as it is"]),
        (RIGHT, s.Outcome(prompt_token_ids=[11, 872, 198], token_ids=[1]), ["a right item is not read as it is"]),
        (WRONG, s.Outcome("KeyError", "'token_ids'"), []),
        (WRONG, s.Outcome("RuntimeError", "bad response"), ["token_ids missing: the error does not name the field"]),
        (WRONG, s.Outcome(token_ids=[]), ["token_ids missing: accepted without an error"]),
        (Item("null", None), s.Outcome("RuntimeError", ""), ["null: the error does not name the field"]),
    ],
)
def test_responses(case: Item, outcome: s.Outcome, said: list[str]) -> None:
    assert [p.message for p in predicates.response_problems(case, outcome)] == said


def test_every_required_field_is_missing_empty_and_mistyped_in_some_case() -> None:
    labels = [c.label for c in items()]
    for field in ("prompt_token_ids", "token_ids"):
        wanted = {f"{field} missing", f"{field}: empty", f"{field}: null", f"{field}: a float among ints"}
        assert wanted <= set(labels)
    assert len(labels) == len(set(labels)) == 30


TALK = Talk("t", s.Sample([("user", "u"), ("assistant", "a")]), 1)
GOOD = s.Payload([("user", "u")], [[]], {"return_details": True}, [], [])


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
    assert [p.message for p in predicates.payload_problems(TALK, s.Payload(**{**fields, **change}))] == said


CASE = s.Topology(4, [1, 1], 1, 1)
PLANNED = [s.Call(0, 0, 1, [0]), s.Call(0, 1, 2, [1]), s.Call(1, 0, 3, [2]), s.Call(1, 1, 4, [3])]


@pytest.mark.parametrize(
    ("calls", "outputs", "said"),
    [
        (PLANNED, [0, 1, 2, 3], ""),
        (PLANNED, [0, 2, 1, 3], "the outputs are not in request order"),
        (PLANNED[:3], [0, 1, 2, 3], "not contiguous and in request order"),
        ([*PLANNED, s.Call(2, 0, 5, [3])], [0, 1, 2, 3], "not contiguous and in request order"),
        ([s.Call(0, 0, 1, [0, 2]), s.Call(0, 1, 2, [1, 3])], [0, 1, 2, 3], "not contiguous and in request order"),
        ([*PLANNED, s.Call(2, 0, 5, [])], [0, 1, 2, 3], "a server is asked for nothing"),
        ([s.Call(0, 0, 1, [0, 1]), s.Call(1, 1, 2, [2, 3])], [0, 1, 2, 3], "more than its GPUs may decode at once"),
        ([s.Call(0, 0, 1, [0]), s.Call(0, 1, 2, [1, 2, 3])], [0, 1, 2, 3], "more in one round than its share"),
    ],
)
def test_plans(calls: list[s.Call], outputs: list[int], said: str) -> None:
    assert agrees(predicates.dispatch_problems(CASE, [s.RankRun(calls, outputs)]), said)


def test_no_request_sends_nothing_and_too_few_slots_may_be_refused() -> None:
    none = s.Topology(0, [1], 1, 1)
    assert list(predicates.dispatch_problems(none, [s.RankRun([], [])])) == []
    assert [p.message for p in predicates.dispatch_problems(none, [s.RankRun([s.Call(0, 0, 1, [])], [])])]
    crowded = s.Topology(1, [1], 2, 1)
    refused = s.RankRun([], [], "ValueError: too few")
    assert list(predicates.dispatch_problems(crowded, [refused, refused])) == []
    assert list(predicates.dispatch_problems(s.Topology(1, [1], 1, 1), [refused]))


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
        ([s.MAX_INT32 - 1, 1], ""),
        ([None, 3], "no seed"),
        ([0, 3], "is 0"),
        ([-1, 3], "negative"),
        ([1, 2], "share a seed"),
        ([s.MAX_INT32, 3], "past int32"),
    ],
)
def test_seeds_of_two_calls_of_two_requests(seeds: list[int | None], said: str) -> None:
    calls = [s.Call(0, i, seed, [2 * i, 2 * i + 1]) for i, seed in enumerate(seeds)]
    assert agrees(predicates.seed_problems(calls), said)


@pytest.mark.parametrize(
    ("pair", "outcome", "said"),
    [
        (s.Timeouts(5, None), s.TimeoutOutcome(timeout_s=5.0), ""),
        (s.Timeouts(5, 0), s.TimeoutOutcome(timeout_s=5.0), ""),
        (
            s.Timeouts(5, -1),
            s.TimeoutOutcome(timeout_s=5.0, infer_timeout_s=-1.0),
            "infer_timeout_s: -1 is not understood",
        ),
        (s.Timeouts(5, 2), s.TimeoutOutcome(timeout_s=5.0, infer_timeout_s=2.0, posted=2.0), ""),
        (s.Timeouts(5, 2), s.TimeoutOutcome(timeout_s=5.0, infer_timeout_s=2.0), "is not what bounds a POST"),
        (s.Timeouts(5, 2), s.TimeoutOutcome("ValueError", "no"), "usable timeouts are refused"),
        (s.Timeouts(5, 2), s.TimeoutOutcome(timeout_s=6.0, infer_timeout_s=2.0, posted=2.0), "not used as it is"),
        (s.Timeouts(0, 2), s.TimeoutOutcome(timeout_s=0.0), "timeout_s: 0 is accepted"),
        (s.Timeouts("soon", 2), s.TimeoutOutcome("ValueError", "timeout_s must be a number"), ""),
        (s.Timeouts(5, "never"), s.TimeoutOutcome("ValueError", "must be a number"), "does not name infer_timeout_s"),
    ],
)
def test_timeouts(pair: s.Timeouts, outcome: s.TimeoutOutcome, said: str) -> None:
    assert agrees(predicates.timeout_problems(pair, outcome), said)


def test_timeout_cases_hold_null_zero_and_negative() -> None:
    assert {None, 0, -1} <= {v.infer_timeout_s for v in timeout_values() if not isinstance(v.infer_timeout_s, dict)}


def test_every_misdeed_has_words_that_its_error_must_say() -> None:
    assert set(predicates.NAMED) == set(MISDEEDS) - {"none"}


@pytest.mark.parametrize(
    ("misdeed", "served", "said"),
    [
        ("none", s.Served("", "", [0, 1], [[0, 1]], True), ""),
        ("none", s.Served("", "", [1, 0], [[0, 1]], True), "not returned in order"),
        ("hang", s.Served("ReadTimeout", "<server> timed out", [], [[0, 1]], True), ""),
        (
            "hang",
            s.Served("ReadTimeout", "<server> timed out", [], [[0, 1], [0], [1]], True),
            "sent to the server again",
        ),
        ("hang", s.Served("ReadTimeout", "<server> timed out", [], [[0, 1]], False), "does not end in time"),
        ("no_reply", s.Served("ConnectionError", "connection aborted", [], [[0, 1]], True), "which server failed"),
        ("status_500", s.Served("RuntimeError", "failed", [], [[0, 1]], True), "does not say what happened"),
        ("swapped", s.Served("", "", [1, 0], [[0, 1]], True), "no error is raised"),
        ("swapped", s.Served("ResponseOrder", "", [], [[0, 1]], True), ""),
    ],
)
def test_servers(misdeed: str, served: s.Served, said: str) -> None:
    assert agrees(predicates.server_problems(s.ServerRequest(misdeed, 2, 1.0), served), said)


RAISED, WENT_ON = s.RankEnd(["raises"], "RuntimeError", "why"), s.RankEnd(["goes on"])


@pytest.mark.parametrize(
    ("ranks", "bounded", "said"),
    [
        ([RAISED, RAISED], True, ""),
        ([RAISED, WENT_ON], True, "one rank goes on"),
        ([RAISED, RAISED], False, "still waiting"),
        ([RAISED, s.RankEnd([], "RuntimeError", " ")], True, "without a message"),
        ([RAISED], True, "a rank is missing"),
        ([], True, "a rank is missing"),
    ],
)
def test_endings(ranks: list[s.RankEnd], bounded: bool, said: str) -> None:
    assert agrees(predicates.together_problems(s.RanksEnded(ranks, bounded)), said)


@pytest.mark.parametrize(
    ("reduced", "said"),
    [
        ([{"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0}], ""),
        ([{"a": 1.0}, {"a": 1.0, "b": 1.0}], "report different metrics"),
        ([{"a": 1.0}, {"a": 1.0}], "metrics are lost on rank 0"),
    ],
)
def test_unions(reduced: list[dict[str, float]], said: str) -> None:
    ended = s.RanksEnded([s.RankEnd([], metrics=m) for m in reduced], True)
    assert agrees(predicates.union_problems([{"a": 1.0, "x/_own": 1.0}, {"b": 1.0}], ended), said)
