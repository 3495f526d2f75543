"""The questions of the rollout boundary, with their input and output."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from coordexp_audit_lib.core.surface import surface
from coordexp_audit_lib.source import collectives, routes

MAX_INT32 = 2**31 - 1


class Outcome(msgspec.Struct, frozen=True):
    """How one item ended: error type and message, empty where it was accepted; then what was read from it."""

    error: str = ""
    message: str = ""
    prompt_token_ids: list[Any] = []
    token_ids: list[Any] = []
    text: str = ""


class ParseRequest(msgspec.Struct, frozen=True):
    """Read these items of an `/infer/` response, each by itself."""

    items: list[Any]


class Parsed(msgspec.Struct, frozen=True):
    outcomes: list[Outcome]


class Image(msgspec.Struct, frozen=True):
    """kind: `path`, `data_url`, `url` (texts), `pil` (an image object), `bytes` (a mapping of raw bytes)."""

    kind: Literal["path", "data_url", "url", "pil", "bytes"]
    value: str


class Sample(msgspec.Struct, frozen=True):
    """A dataset sample. turns: (role, text). parts: contents are lists of parts, as an OpenAI message has them.

    tuples: the containers of parts and images are tuples, as some datasets make them.
    """

    turns: list[tuple[str, str]]
    images: list[Image] = []
    parts: bool = False
    tuples: bool = False


class PayloadRequest(msgspec.Struct, frozen=True):
    """What is posted to `/infer/` for this sample?"""

    sample: Sample


class Payload(msgspec.Struct, frozen=True):
    """turns: (role, text) of what is posted; a text that the sample does not hold is written as its digest.

    images: what each request names. config: the request config. unsound: paths whose value JSON would change, with the
    value's type. keys: the payload's.
    """

    turns: list[tuple[str, str]]
    images: list[Any]
    config: dict[str, Any]
    unsound: list[str]
    keys: list[str]


class Topology(msgspec.Struct, frozen=True, array_like=True):
    """requests: of each rank. servers: world size of each. ranks: of learners. decode_batch_size: per rollout GPU."""

    requests: int
    servers: list[int]
    ranks: int
    decode_batch_size: int


class DispatchRequest(msgspec.Struct, frozen=True):
    """Roll out `requests` numbered requests on every rank of each topology.

    step: `call` asks the rollout function once; `train` runs the trainer's own Channel-B step. repeat: asks again.
    """

    cases: list[Topology]
    seed: int = 0
    global_step: int = 0
    step: Literal["call", "train"] = "call"
    repeat: int = 0


class Call(msgspec.Struct, frozen=True, array_like=True):
    """One POST. round: calls of one round are under way together. requests: numbers, in order."""

    round: int
    server: int
    seed: int | None
    requests: list[int]


class RankRun(msgspec.Struct, frozen=True, array_like=True):
    """calls: by first request. outputs: numbers of the requests that the outputs belong to. error: type and message."""

    calls: list[Call]
    outputs: list[int]
    error: str = ""


class Dispatched(msgspec.Struct, frozen=True):
    """runs: for each case, one per rank."""

    runs: list[list[RankRun]]


class Timeouts(msgspec.Struct, frozen=True):
    """Values of the config keys `timeout_s` and `infer_timeout_s`; null where the key is null."""

    timeout_s: Any
    infer_timeout_s: Any


class TimeoutsRequest(msgspec.Struct, frozen=True):
    values: list[Timeouts]


class TimeoutOutcome(msgspec.Struct, frozen=True):
    """What became of one pair: an error, or the numbers used; null is none. posted: read timeout of `/infer/`."""

    error: str = ""
    message: str = ""
    timeout_s: float | None = None
    infer_timeout_s: float | None = None
    posted: float | None = None


class TimeoutsRead(msgspec.Struct, frozen=True):
    outcomes: list[TimeoutOutcome]


Trouble = Literal["closed", "/health/", "/get_world_size/"]


class ReachRequest(msgspec.Struct, frozen=True):
    """Connect to a server that cannot be reached: nothing listens (`closed`), or a route takes the call and is mute."""

    trouble: Trouble
    timeout_s: float


class Reached(msgspec.Struct, frozen=True):
    """bounded: it ended before the silent server lost patience (`kit.rollout_stub.PATIENCE`)."""

    error: str
    message: str
    bounded: bool


class ServerRequest(msgspec.Struct, frozen=True):
    """Roll out `requests` samples on one server that does `misdeed` on every /infer/.

    alike: all prompts have the same tokens, as prompts over images of one size have; else each differs.
    """

    misdeed: str
    requests: int
    infer_timeout_s: float
    alike: bool = False


class Served(msgspec.Struct, frozen=True):
    """error, message: empty if nothing was raised. outputs: numbers of the requests that the outputs belong to.

    posts: the numbers in each POST that the server got. bounded: it ended before the server lost patience.
    """

    error: str
    message: str
    outputs: list[int]
    posts: list[list[int]]
    bounded: bool


Scenario = Literal["not_ready", "weight_sync", "rollout_fails", "before_metrics", "metrics", "channel"]


class RanksRequest(msgspec.Struct, frozen=True):
    """Two ranks go through one scenario.

    not_ready: rank 1 has no metrics to log. weight_sync: rank 0 cannot push weights. rollout_fails: rank 1's server
    answers 500, then the step is logged. before_metrics: rank 1 raises where the metrics are reduced. metrics: each
    rank reduces its metrics. channel: each rank chooses the channel of steps 0 … `steps`−1 of a schedule.
    reducer: whose metrics code runs, by the name that the pipeline gives it; empty for the reference's own.
    """

    scenario: Scenario
    reducer: str = ""
    metrics: list[dict[str, float]] = []
    b_ratio: float = 0.5
    steps: int = 0


class RankEnd(msgspec.Struct, frozen=True):
    """How one rank ended. events: in its order. error, message: empty if it went on. channels: a letter a step.
    seconds: of each event, since both ranks were started; empty where that was not measured. No verdict rests on it.
    """

    events: list[str]
    error: str = ""
    message: str = ""
    metrics: dict[str, float] = {}
    channels: str = ""
    seconds: list[float] = []


class RanksEnded(msgspec.Struct, frozen=True):
    """bounded: both ended by themselves in time; else they were killed."""

    ranks: list[RankEnd]
    bounded: bool


class RoutesServedRequest(msgspec.Struct, frozen=True):
    """Which HTTP routes does the rollout server that is installed declare?"""


class RoutesServed(msgspec.Struct, frozen=True):
    """routes: (method, path), sorted. package, version: whose server it is."""

    routes: list[tuple[str, str]]
    package: str
    version: str


PARSE = surface("rollout.parse_response", ParseRequest, Parsed, "token ids of each item of a server's response")
PAYLOAD = surface("rollout.request", PayloadRequest, Payload, "what is posted to the server for one sample")
DISPATCH = surface("rollout.dispatch", DispatchRequest, Dispatched, "which requests go where, when, with which seed")
TIMEOUTS = surface("rollout.timeouts", TimeoutsRequest, TimeoutsRead, "what the configured timeouts become")
REACH = surface("rollout.reach", ReachRequest, Reached, "how connecting to an unreachable server ends")
SERVER = surface("rollout.server", ServerRequest, Served, "how a rollout on a misbehaving server ends")
TWO_RANKS = surface("rollout.two_ranks", RanksRequest, RanksEnded, "how two ranks go through a step together")
ROUTES_SERVED = surface("rollout.routes_served", RoutesServedRequest, RoutesServed, "routes of the installed server")
ROUTES_USED = surface(
    "rollout.routes_used",
    routes.RoutesRequest,
    routes.Routes,
    "routes that launchers and trainers name in source",
    static=routes.used,
)
COLLECTIVES = surface(
    "rollout.collectives",
    collectives.ScanRequest,
    collectives.Scan,
    "each collective, and whether every rank reaches it",
    static=collectives.scan,
)
