"""The stub server speaks HTTP on loopback, and the reference's client has a name for each of its misdeeds."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from coordexp_audit_lib.boundaries.rollout.reference import client, ranks
from coordexp_audit_lib.boundaries.rollout.surfaces import RanksRequest
from coordexp_audit_lib.core.surface import Refuse
from coordexp_audit_lib.kit import rollout_stub as stub
from coordexp_audit_lib.kit.schedule import channels

REQUESTS: list[dict[str, Any]] = [{"messages": [{"role": "user", "content": f"request {i}"}]} for i in range(3)]


@pytest.mark.parametrize(
    ("misdeed", "error"),
    [
        ("status_500", client.ServerStatus),
        ("hang", client.ServerTimeout),
        ("no_reply", client.ServerCut),
        ("cut_body", client.ServerCut),
        ("not_json", client.ResponseShape),
        ("not_a_list", client.ResponseShape),
        ("too_few", client.ResponseShape),
        ("too_many", client.ResponseShape),
        ("error_object", client.ResponseField),
        ("no_prompt_token_ids", client.ResponseField),
        ("no_token_ids", client.ResponseField),
        ("no_choices", client.ResponseField),
        ("swapped", client.ResponseOrder),
    ],
)
def test_a_misdeed_has_its_error_and_one_request_is_sent(misdeed: str, error: type[Exception]) -> None:
    with stub.Stub(misdeed) as server:
        with pytest.raises(error, match=r"\w"):
            client.infer(server.url, REQUESTS, {}, 0.3 if misdeed == "hang" else 30.0)
        assert server.posts == [[0, 1, 2]]


def test_a_sound_server_answers_in_order() -> None:
    with stub.Stub() as server:
        items = client.infer(server.url, REQUESTS, {"return_details": True}, 30.0)
        assert [tokens for _, tokens, _ in items] == [[7, 1000], [7, 1001], [7, 1002]]
        assert server.bodies[0]["request_config"] == {"return_details": True}
        assert client.connect(server.url, 30.0) == 1


def test_a_misdeed_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no such misdeed"):
        stub.Stub("late")


@pytest.mark.parametrize("silent", ["/health/", "/get_world_size/"])
def test_connecting_to_a_silent_server_ends_in_time(silent: str) -> None:
    with (
        stub.Stub(silent=(silent,), patience=60.0) as server,
        pytest.raises(client.RolloutError, match="did not answer"),
    ):
        begun = time.monotonic()
        client.connect(server.url, 0.3)
    assert time.monotonic() - begun < 60  # it left before the server did


def test_a_closed_port_is_unreachable_and_the_message_has_no_port() -> None:
    server = stub.Stub()
    server.close()
    server.close()
    with socket.socket() as held, pytest.raises(client.ServerUnreachable) as caught:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", server.port))  # and nobody listens: no other test's server gets the port meanwhile
        client.connect(server.url, 0.2)
    assert server.without_port(str(caught.value)) == "http://<server> did not answer /health/ within timeout_s=0.2"
    assert server.without_port(f"host='127.0.0.1', port={server.port}): x") == "host='<server>'): x"


def test_a_stub_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with stub.Stub("hang") as server, pytest.raises(client.ServerTimeout):
        client.infer(server.url, REQUESTS, {}, 0.1)
    deadline = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("given", "read"),
    [((None, None), (240.0, None)), ((5, 0), (5.0, None)), ((5, -3), (5.0, None)), ((5, 2), (5.0, 2.0))],
)
def test_timeouts_are_read(given: tuple[Any, Any], read: tuple[float, float | None]) -> None:
    assert client.timeouts(*given) == read


@pytest.mark.parametrize("given", [(0, None), (True, None), ("5", None), (5, [1])])
def test_timeouts_that_are_none_are_refused(given: tuple[Any, Any]) -> None:
    with pytest.raises(Refuse, match="timeout_s"):
        client.timeouts(*given)


def test_a_rank_that_does_not_come_breaks_the_exchange_for_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "SECONDS", 0.2)

    def comes(rank: ranks.Rank) -> tuple[dict[str, float], str]:
        rank.together("log", lambda: None)
        return {}, ""

    def stays_away(rank: ranks.Rank) -> tuple[dict[str, float], str]:
        raise RuntimeError("gone before the exchange")

    ended = ranks.run([comes, stays_away])
    assert [r.error for r in ended.ranks] == ["BrokenBarrierError", "RuntimeError"]
    assert ended.bounded


def test_both_ranks_name_the_culprit() -> None:
    request = RanksRequest("weight_sync", metrics=[{}, {}])
    ended = ranks.run([ranks.program(request, n) for n in (0, 1)])
    assert {r.message for r in ended.ranks} == {"rank 0 in weight sync: RuntimeError: the server refused the weights"}


@pytest.mark.parametrize(("b_ratio", "chosen"), [(0.0, "AAAAAA"), (1.0, "BBBBBB"), (0.5, "ABABAB"), (0.3, "AAABAA")])
def test_channels_follow_the_ratio(b_ratio: float, chosen: str) -> None:
    assert channels(b_ratio, 0, 6) == chosen
