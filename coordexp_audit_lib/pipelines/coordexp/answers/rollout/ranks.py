"""Two ranks of a step as two real processes in a gloo group on loopback, each running the tree's own trainer code.

The processes are forked from the worker, which has the tree imported already. What a rank raises ends its process at
once, as an uncaught error does. Stand-ins: the pending metrics, the HTTP sessions, and ms-swift's own `log`.
"""

import contextlib
import re
import tempfile
import time
import types

from coordexp_audit_lib.kit import ranks
from coordexp_audit_lib.kit.model import settle
from coordexp_audit_lib.kit.stand_ins import replaced
from coordexp_audit_lib.pipelines.api import Unbound, binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.answers.rollout import stage
from coordexp_audit_lib.pipelines.coordexp.harness.trainer import upstream_bases

LIMIT_S = 30.0
GROUP_S = 90.0  # longer than the limit: a rank that only this ends has been left waiting
HASTE = 24.0  # a bound that the tree itself sets passes this much faster, so that 12 minutes are within the limit
LOST = re.compile(r"gloo|connection (closed|reset)|peer|broken pipe|socket|timed out", re.IGNORECASE)
REDUCERS = {"stage2": symbols.REDUCE_PENDING, "rollout_matching": symbols.ROLLOUT_REDUCE.member}


@binds(
    "rollout.two_ranks",
    reduce=symbols.STAGE2_REDUCE_OF_ANY_NAME,
    trainer=symbols.STAGE2_TRAINER_OF_ANY_NAME,
    aligned=symbols.ROLLOUT_TRAINER_OF_ANY_NAME,
)
def two_ranks(request, here):
    cls = here.aligned if request["reducer"] == "rollout_matching" else here.trainer
    for name in (REDUCERS[request["reducer"]], symbols.ROLLOUT_MANY.member, symbols.SYNC_WEIGHTS.member):
        if not hasattr(cls, name):
            raise Unbound("the trainer has no %s" % name)
    settle()
    begun = time.monotonic()  # one clock for both: they are forked from this process
    with tempfile.TemporaryDirectory(dir=here.scratch) as folder:
        bodies = [lambda r=r: ending(lambda events: run(request, cls, r, folder, events), begun) for r in (0, 1)]
        ends = [rank.answer for rank in ranks.collected([ranks.Rank(b) for b in bodies], LIMIT_S)]
    return {"ranks": [e or {"events": ["does not end"]} for e in ends], "bounded": all(ends)}


class Events(list[str]):
    """What a rank did, in its order, each with the seconds since `begun`."""

    def __init__(self, begun):
        super().__init__()
        self.begun, self.seconds = begun, []

    def append(self, event):
        super().append(event)
        self.seconds.append(round(time.monotonic() - self.begun, 4))


def ending(body, begun):
    """How a rank ended, as the surface has it."""
    events = Events(begun)
    try:
        value = body(events)
    except BaseException as error:
        events.append("raises")
        message = str(error) or type(error).__name__
        lost = bool(LOST.search(message)) and type(error).__module__.split(".")[0] in ("builtins", "torch")
        kind = type(error).__name__
        if lost and "status" not in message:  # how the kernel tells it differs from run to run
            kind, message = "CollectiveFailed", "a collective failed: the other rank ended"
        return {"events": events, "seconds": events.seconds, "error": kind, "message": message[:500]}
    events.append("goes on")
    return {"events": events, "seconds": events.seconds, **value}


def run(request, cls, rank, folder, events):
    """What one rank does; runs in its own process."""
    dist = ranks.join(rank, 2, folder, GROUP_S)
    events.append("joins")
    quiet_log(cls)
    made = stage.trainer(types.SimpleNamespace(trainer=cls), ["https://rollout.test"], step=3)
    made.stage2_ab_cfg = {"schedule": {"b_ratio": request["b_ratio"]}}
    with hurried(dist):
        value = SCENARIOS[request["scenario"]](made, request, rank, events) or {}
    with contextlib.suppress(RuntimeError, ValueError):
        dist.barrier()  # whoever goes on is there for the other to its end; how this ends says nothing of the tree
    return value


@contextlib.contextmanager
def hurried(dist):
    """Let the timeouts that the tree gives for a group or a barrier of its own pass faster; who gives none waits."""

    def faster(function):
        def call(*args, timeout=None, **kwargs):
            told = {} if timeout is None else {"timeout": timeout / HASTE}
            return function(*args, **told, **kwargs)

        return call

    named = ("new_group", "monitored_barrier")
    with replaced(dist, **{name: faster(getattr(dist, name)) for name in named}):
        yield


def quiet_log(cls):
    """Let ms-swift's and transformers' own `log` do nothing: it wants a whole training run."""
    for base in upstream_bases(cls, "log"):
        base.log = lambda self, *args, **kwargs: None


@contextlib.contextmanager
def noted(events, what):
    """Note that something begins and, unless it raises, that it ends."""
    events.append("begins " + what)
    yield
    events.append("ends " + what)


def portable(values):
    return {"metrics": {k: float(v) for k, v in values.items()}}


def logged(made, request, rank, events, *, pending=True, broken=False):
    """The trainer's own `log` at the end of a step."""

    def finalize(**_):
        if broken:
            events.append("fails in metrics")
            raise RuntimeError("a metric is no number")
        return dict(request["metrics"][rank])

    logs, kept = {"loss": 1.0}, {made.state.global_step: types.SimpleNamespace(finalize=finalize)}
    if not pending:
        kept.clear()
        events.append("has nothing to log")
    made._stage2_pending_train_logs, made._rm_pending_train_logs = dict(kept), dict(kept)
    made._build_train_rollout_log_payload = lambda kept: kept.finalize()
    with noted(events, "log"):
        made.log(logs)
    return portable(logs)


def weight_sync(made, request, rank, events):
    made.model = types.SimpleNamespace(device="cpu")
    made._stage2_skip_vllm_server_sync, made._vllm_server_last_synced_step = False, -1

    def refuse(*args, **kwargs):
        events.append("fails in weight sync")
        raise RuntimeError("the server refused the weights")

    made._vllm_server_client = types.SimpleNamespace(init_communicator=refuse, sessions=[])
    with noted(events, "weight sync"):
        made._sync_vllm_server_rollout_model_if_needed()


def rollout_fails(made, request, rank, events):
    _, sessions = stage.connected(made)
    if rank == 1:
        reply = stage.Reply([])
        reply.status_code, reply.text = 500, "Internal Server Error"
        sessions.sessions[0].post = lambda *args, **kwargs: reply
    with noted(events, "rollout"):
        made._rollout_many(stage.numbered(2))
    return logged(made, request, rank, events)


def metrics(made, request, rank, events):
    with noted(events, "reduction"):
        reduced = getattr(made, REDUCERS[request["reducer"]])(dict(request["metrics"][rank]))
    return portable(reduced)


def channel(made, request, rank, events):
    return {"channels": "".join(made._stage2_channel_for_step(s) for s in range(request["steps"]))}


SCENARIOS = {
    "not_ready": lambda made, request, rank, events: logged(made, request, rank, events, pending=rank == 0),
    "before_metrics": lambda made, request, rank, events: logged(made, request, rank, events, broken=rank == 1),
    **{"weight_sync": weight_sync, "rollout_fails": rollout_fails, "metrics": metrics, "channel": channel},
}
