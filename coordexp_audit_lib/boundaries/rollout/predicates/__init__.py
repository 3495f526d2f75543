"""What makes a response, a payload, a plan or an ending wrong. Pure functions, written once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.boundaries.rollout.cases import Item, Talk
from coordexp_audit_lib.boundaries.rollout.reference import client
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.finding import Authority
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.rollout_stub import SERVER


class Replied(msgspec.Struct, frozen=True):
    """A server's whole answer, as decoded JSON. uuids: of the requests, to be echoed; empty strings are free. route:
    that it came by."""

    answer: Any
    uuids: Sequence[str]
    route: str


def replied(one: Replied, ledger: Ledger) -> Iterator[Problem]:
    """One item for each request, in order, each with its ids; counts requests."""
    ledger.judged(len(one.uuids))
    try:
        client.read_outputs(one.answer, one.uuids, one.route)
    except client.RolloutError as error:
        yield Problem(str(error))


def told(problems: Iterable[Problem], subject: str, case: Any) -> Iterator[Problem]:
    """Problems of one case: named by it, with the input that shows them."""
    for p in problems:
        text = f"{subject}: {p.message}" if subject else p.message
        yield msgspec.structs.replace(p, message=text, subject=subject, counterexample=case)


def response_problems(case: Item, outcome: s.Outcome) -> Iterator[Problem]:
    """A right item is read as it is; a wrong one is an error that names the field."""
    if case.right:
        inner = case.item.get("response", case.item)
        wanted = [inner["prompt_token_ids"], inner["choices"][0]["token_ids"]]
        got = [outcome.prompt_token_ids, outcome.token_ids]
        if outcome.error or got != wanted:
            yield Problem("a right item is not read as it is", "", wanted, outcome.message or got)
    elif not outcome.error:
        got = outcome.prompt_token_ids if case.field.startswith("prompt") else outcome.token_ids
        text, demand = f"{case.label}: accepted without an error", f"an error that names {case.field or 'it'}"
        # A model may end its turn at once: that an answer of no tokens is an error is our demand alone.
        whose: Authority | None = "practice" if case.field == "token_ids" and case.label.endswith("empty") else None
        kind = f"{'an empty answer is ' if whose else ''}accepted without an error"
        yield Problem(text, "", demand, got, kind=kind, authority=whose)
    elif case.field not in outcome.message or not outcome.message.strip():
        text, said = f"{case.label}: the error does not name the field", f"{outcome.error}: {outcome.message}"
        yield Problem(text, "", case.field, said, severity="P2", kind="the error does not name the field")


def payload_problems(talk: Talk, payload: s.Payload) -> Iterator[Problem]:
    """`return_details` is on, JSON changes nothing, the conversation ends with its last user turn, images are texts."""
    if payload.config.get("return_details") is not True:
        yield Problem("return_details is not true", "", True, payload.config.get("return_details"))
    if payload.unsound:
        yield Problem("JSON would change the payload", "", [], payload.unsound)
    wanted = list(talk.sample.turns[: talk.prompt])
    roles = [role for role, _ in payload.turns]
    if roles and roles[-1] == "assistant":
        # Of a conversation without a user turn nothing is demanded but by us.
        whose: Authority | None = None if wanted else "practice"
        yield Problem(
            "the prompt ends with the assistant's own answer", "", "the last user turn", roles, authority=whose
        )
    elif [t for t in payload.turns if t in wanted] != wanted or len(payload.turns) > len(wanted) + 1:
        yield Problem("the prompt is not the conversation up to its last user turn", "", wanted, payload.turns)
    images = payload.images[0] if payload.images else []
    named = [i.value for i in talk.sample.images]
    if not isinstance(images, list) or not all(isinstance(i, str) for i in images):
        yield Problem("an image is not given as text", "", "paths or data URLs", images)
    elif talk.fits and images != named:
        yield Problem("the images are not those of the sample, in order", "", named, images)
    elif not talk.fits and not all(i.startswith("data:image/") for i in images):
        yield Problem("an image object is posted as neither path nor data URL", "", "a data URL, or a refusal", images)


def dispatch_problems(case: s.Topology, runs: Sequence[s.RankRun], *, capped: bool = True) -> Iterator[Problem]:
    """Each rank's calls cover its requests once and in order; servers are not over-filled in any round.

    capped: whether what a server decodes at once bounds a round.
    """
    if len(runs) != case.ranks:
        yield Problem("a rank is missing", "", case.ranks, len(runs))
    room = case.decode_batch_size * sum(case.servers)
    if room < case.ranks:
        for run in runs:
            if not run.error and run.outputs != list(range(case.requests)):
                yield Problem("fewer rollout slots than ranks", "", "a refusal, or outputs in order", run.outputs)
        return
    for run in runs:
        yield from _rank_problems(case, run, room // case.ranks if capped else case.requests)
    for (number, server), count in sorted(_loads(runs).items()):
        most = case.decode_batch_size * case.servers[server]
        if capped and count > most:
            text = f"in round {number}, the ranks together send server {server} more than its GPUs may decode at once"
            yield Problem(text, "", most, count)


def _rank_problems(case: s.Topology, run: s.RankRun, share: int) -> Iterator[Problem]:
    wanted = list(range(case.requests))
    if run.error:
        yield Problem("a rollout that fits is refused", "", "outputs", run.error)
        return
    if not wanted and run.calls:
        yield Problem("no request, and yet the server is asked", "", [], run.calls)
    if run.outputs != wanted:
        yield Problem("the outputs are not in request order", "", wanted, run.outputs)
    sent = [n for c in run.calls for n in c.requests]
    if sent != wanted or any(b != a + 1 for c in run.calls for a, b in pairwise(c.requests)):
        yield Problem("the chunks are not contiguous and in request order, each request once", "", wanted, sent)
    if any(not c.requests for c in run.calls):
        yield Problem("a server is asked for nothing", "", "no call", 0)
    per_round = Counter[int]()
    for c in run.calls:
        per_round[c.round] += len(c.requests)
    if per_round and max(per_round.values()) > max(share, 1):
        yield Problem("a rank sends more in one round than its share", "", max(share, 1), max(per_round.values()))


def _loads(runs: Sequence[s.RankRun]) -> Counter[tuple[int, int]]:
    """Requests under way by round and server, over all ranks."""
    loads: Counter[tuple[int, int]] = Counter()
    for run in runs:
        for c in run.calls:
            loads[c.round, c.server] += len(c.requests)
    return loads


def request_seeds(calls: Sequence[s.Call]) -> list[int | None]:
    """Each request's seed: ms-swift's engine counts on from the call's seed by position in the call."""
    return [None if c.seed is None else c.seed + i for c in calls for i in range(len(c.requests))]


def seed_problems(calls: Sequence[s.Call], views: int = 1) -> Iterator[Problem]:
    """Non-zero int32, not negative, and no two requests of a rank's step with one seed.

    views: rollouts of each sample in the step. They may share its seed, for all but one are decoded greedily.
    """
    seeds = request_seeds(calls)
    if None in seeds:
        yield Problem("a call carries no seed", "", "an int", None)
        return
    known = [n for n in seeds if n is not None]
    outside = sorted({n for n in known if not 0 <= n <= s.MAX_INT32})
    if outside:
        text = "the server counts a request's seed past int32" if outside[0] > 0 else "a seed is negative"
        yield Problem(text, "", f"0 < seed <= {s.MAX_INT32}", outside)
    if 0 in known:
        yield Problem("a seed is 0, which ms-swift takes for no seed", "", "non-zero", known)
    twice = sorted(n for n, count in Counter(known).items() if count > views)
    if twice:
        wanted = f"{len(known) // views} seeds"
        yield Problem("requests of one step share a seed", "", wanted, [len(set(known)), twice[:4]])


def timeout_problems(pair: s.Timeouts, outcome: s.TimeoutOutcome) -> Iterator[Problem]:
    """What is no number is refused with its key; null or at most 0 is no timeout; else the number is used as it is."""
    for key in ("timeout_s", "infer_timeout_s"):
        value = getattr(pair, key)
        senseless = value is not None and not isinstance(value, int | float)
        if senseless or (key == "timeout_s" and isinstance(value, int | float) and value <= 0):
            if not outcome.error:
                yield Problem(f"{key}: {value!r} is accepted", "", "a refusal", outcome.timeout_s)
            elif key not in outcome.message:
                yield Problem(f"the refusal does not name {key}", "", key, outcome.message)
            return
    if outcome.error:
        yield Problem("usable timeouts are refused", "", "numbers", outcome.message)
        return
    infer = pair.infer_timeout_s
    wanted = float(infer) if infer is not None and infer > 0 else None
    if outcome.infer_timeout_s != wanted:
        yield Problem(f"infer_timeout_s: {infer!r} is not understood", "", wanted, outcome.infer_timeout_s)
    if outcome.posted != wanted:
        yield Problem(f"infer_timeout_s: {infer!r} is not what bounds a POST to /infer/", "", wanted, outcome.posted)
    if pair.timeout_s is not None and outcome.timeout_s != float(pair.timeout_s):
        yield Problem(
            f"timeout_s: {pair.timeout_s!r} is not used as it is", "", float(pair.timeout_s), outcome.timeout_s
        )


RANKS = 2

# What the error about a misdeed must say, one of each tuple, in lower case; its type's name counts.
NAMED = {
    "status_500": ("500",),
    "hang": ("time",),
    "no_reply": ("connect", "clos", "cut"),
    "cut_body": ("incomplete", "broken", "cut", "ended", "json"),
    "not_json": ("json",),
    "not_a_list": ("list",),
    "error_object": ("out of memory",),
    "too_few": ("number", "outputs", "length"),
    "too_many": ("number", "outputs", "length"),
    "swapped": ("order", "mismatch", "uuid", "belong"),
    "no_prompt_token_ids": ("prompt_token_ids",),
    "no_token_ids": ("token_ids",),
    "no_choices": ("choice",),
}

TRANSPORT = ("hang", "no_reply", "cut_body", "not_json")  # what says nothing of the request, and so must of the server


def server_problems(request: s.ServerRequest, served: s.Served) -> Iterator[Problem]:
    """A sound server's outputs come in order; a misdeed is an error that says what happened; nothing is sent twice."""
    if not served.bounded:
        yield Problem("the rollout does not end in time", "", f"about {request.infer_timeout_s:g} seconds", "longer")
    twice = sorted(n for n, count in Counter(n for p in served.posts for n in p).items() if count > 1)
    if twice and request.misdeed != "swapped":  # judged on a whole step, which may ask for a sample twice on purpose
        yield Problem("requests are sent to the server again", "", "once each", twice)
    if request.misdeed == "none":
        if served.error or served.outputs != list(range(request.requests)):
            yield Problem("a sound server's outputs are not returned in order", "", "in order", served.outputs)
    elif not served.error:
        yield Problem("no error is raised", "", "an error", served.outputs)
    elif not any(word in f"{served.error} {served.message}".lower() for word in NAMED[request.misdeed]):
        text = f"{served.error}: {served.message}"
        yield Problem("the error does not say what happened", "", " or ".join(NAMED[request.misdeed]), text)
    elif request.misdeed in TRANSPORT and SERVER not in served.message:
        text = "the error does not say which server failed"
        yield Problem(text, "", "its address", served.message, severity="P2", authority="practice", kind=text)


def together_problems(ended: s.RanksEnded) -> Iterator[Problem]:
    """Once one rank has raised, both have, and in time."""
    if len(ended.ranks) != RANKS:
        yield Problem("a rank is missing", "", RANKS, len(ended.ranks))
    elif not ended.bounded:
        yield Problem(
            "a rank is still waiting long after the other has failed", "", "both raise", _endings(ended.ranks)
        )
    elif any(not r.error for r in ended.ranks):
        yield Problem("one rank goes on after the other has failed", "", "both raise", _endings(ended.ranks))
    elif any(not r.message.strip() for r in ended.ranks):
        yield Problem("a rank raises without a message", "", "a message", _endings(ended.ranks))


def _endings(ranks: Sequence[s.RankEnd]) -> list[str]:
    return [r.error or (r.events[-1] if r.events else "nothing") for r in ranks]


def union_problems(given: Sequence[dict[str, float]], ended: s.RanksEnded) -> Iterator[Problem]:
    """Both ranks end with one set of keys, and no key that either gave is lost."""
    if any(r.error for r in ended.ranks) or not ended.bounded or len(ended.ranks) != RANKS:
        yield Problem("reducing metrics fails", "", "metrics", [r.message or r.error for r in ended.ranks])
        return
    keys = [set(r.metrics) for r in ended.ranks]
    if keys[0] != keys[1]:
        yield Problem(
            "the ranks report different metrics", "", [], [sorted(keys[0] - keys[1]), sorted(keys[1] - keys[0])]
        )
    wanted = {k for m in given for k in m if not k.rpartition("/")[2].startswith("_")}
    for i, have in enumerate(keys):
        if wanted - have and keys[0] == keys[1]:
            yield Problem(f"metrics are lost on rank {i}", "", sorted(wanted), sorted(have))


def channel_problems(ended: s.RanksEnded, steps: int) -> Iterator[Problem]:
    """Both ranks choose a channel, and the same one, for every step."""
    chosen = [r.channels for r in ended.ranks]
    if len(chosen) != RANKS or chosen[0] != chosen[1] or len(chosen[0]) != steps:
        text = "the ranks do not choose one channel for every step"
        yield Problem(text, "", "equal", chosen or ended.bounded)


def reach_problems(reached: s.Reached, timeout_s: float) -> Iterator[Problem]:
    """Connecting to a server that cannot be reached is an error, in bounded time."""
    if not reached.bounded:
        yield Problem("the wait is not bounded", "", f"about {timeout_s} seconds", "longer")
    if not reached.error or not reached.message.strip():
        yield Problem("connecting does not fail", "", "an error", reached.error)
