"""Two ranks of a step as two real processes in a gloo group on loopback, each running the tree's own trainer code.

The processes are forked from the worker, which has the tree imported already. What a rank raises ends its process at
once, as an uncaught error does. Stand-ins: the pending metrics, the HTTP sessions, and ms-swift's own `log`.
"""

import contextlib
import json
import os
import re
import select
import signal
import tempfile
import time
import types

from coordexp_audit_lib.pipelines.api import Unbound, binds
from coordexp_audit_lib.pipelines.coordexp.answers import rollout_stage as stage
from coordexp_audit_lib.pipelines.coordexp.answers import trainer_harness as harness

LIMIT_S = 10.0
GROUP_S = 30.0  # longer than the limit: a rank that only this ends has been left waiting
LOST = re.compile(r"gloo|connection (closed|reset)|peer|broken pipe|socket|timed out", re.IGNORECASE)
REDUCERS = {
    "stage2": "_reduce_stage2_pending_metrics_global",
    "rollout_matching": "_reduce_train_rollout_log_payload_global",
}


@binds(
    "rollout.two_ranks",
    reduce=stage.method(REDUCERS["stage2"], stage.STAGE2),
    trainer=stage.STAGE2,
    aligned=stage.ALIGNED,
)
def two_ranks(request, here):
    cls = here.aligned if request["reducer"] == "rollout_matching" else here.trainer
    for name in (REDUCERS[request["reducer"]], "_rollout_many", "_sync_vllm_server_rollout_model_if_needed"):
        if not hasattr(cls, name):
            raise Unbound("the trainer has no %s" % name)
    harness.settle()
    with tempfile.TemporaryDirectory(dir=here.scratch) as folder:
        meeting = "file://%s/meeting" % folder
        ranks = [Forked(lambda events, r=r: run(request, cls, r, meeting, events)) for r in (0, 1)]
        ends = collected(ranks)
    return {"ranks": [e or {"events": ["does not end"]} for e in ends], "bounded": all(ends)}


class Forked:
    """A process that runs `body(events)` and tells how it ended through a pipe."""

    def __init__(self, body):
        self.fd, told = os.pipe()
        self.data = b""
        self.pid = os.fork()
        if self.pid:
            os.close(told)
            return
        os.close(self.fd)
        try:
            os.write(told, json.dumps(ending(body)).encode())
        finally:
            os._exit(0)  # nothing of the worker's own may run here


def ending(body):
    """How a rank ended, as the surface has it."""
    events: list[str] = []
    try:
        value = body(events)
    except BaseException as error:
        events.append("raises")
        message = str(error) or type(error).__name__
        lost = bool(LOST.search(message)) and type(error).__module__.split(".")[0] in ("builtins", "torch")
        if lost and "status" not in message:  # how the kernel tells it differs from run to run
            return {
                "events": events,
                "error": "CollectiveFailed",
                "message": "a collective failed: the other rank ended",
            }
        return {"events": events, "error": type(error).__name__, "message": message[:500]}
    events.append("goes on")
    return {"events": events, **value}


def collected(ranks):
    """Each rank's ending, None for one that had to be killed. No process is left."""
    deadline = time.monotonic() + LIMIT_S
    waiting = {r.fd: r for r in ranks}
    while waiting and time.monotonic() < deadline:
        ready, _, _ = select.select(list(waiting), [], [], 0.2)
        for fd in ready:
            part = os.read(fd, 1 << 16)
            waiting[fd].data += part
            if not part:
                del waiting[fd]
    for rank in ranks:
        if rank.fd in waiting:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rank.pid, signal.SIGKILL)
        os.waitpid(rank.pid, 0)
        os.close(rank.fd)
    return [json.loads(r.data) if r.fd not in waiting and r.data else None for r in ranks]


def run(request, cls, rank, meeting, events):
    """What one rank does; runs in its own process."""
    import datetime

    import torch.distributed as dist

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=2, timeout=datetime.timedelta(seconds=GROUP_S)
    )
    events.append("joins")
    quiet_log(cls)
    made = stage.trainer(types.SimpleNamespace(trainer=cls), ["https://rollout.test"], step=3)
    made.stage2_ab_cfg = {"schedule": {"b_ratio": request["b_ratio"]}}
    value = SCENARIOS[request["scenario"]](made, request, rank, events) or {}
    with contextlib.suppress(RuntimeError, ValueError):
        dist.barrier()  # whoever goes on is there for the other to its end; how this ends says nothing of the tree
    return value


def quiet_log(cls):
    """Let ms-swift's and transformers' own `log` do nothing: it wants a whole training run."""
    for base in cls.__mro__:
        if base.__module__.split(".")[0] in ("swift", "transformers") and "log" in vars(base):
            base.log = lambda self, *args, **kwargs: None


def logged(made, request, rank, events, *, pending=True, broken=False):
    """The trainer's own `log` at the end of a step."""

    def finalize(**_):
        if broken:
            events.append("fails in metrics")
            raise RuntimeError("a metric is no number")
        return dict(request["metrics"][rank])

    step = made.state.global_step
    kept = types.SimpleNamespace(finalize=finalize)
    for name in ("_stage2_pending_train_logs", "_rm_pending_train_logs"):
        setattr(made, name, {step: kept} if pending else {})
    made._build_train_rollout_log_payload = lambda kept: kept.finalize()
    if not pending:
        events.append("has nothing to log")
    events.append("begins log")
    logs = {"loss": 1.0}
    made.log(logs)
    events.append("ends log")
    return {"metrics": {k: float(v) for k, v in logs.items()}}


def not_ready(made, request, rank, events):
    return logged(made, request, rank, events, pending=rank == 0)


def before_metrics(made, request, rank, events):
    return logged(made, request, rank, events, broken=rank == 1)


def weight_sync(made, request, rank, events):
    def refuse(*args, **kwargs):
        events.append("fails in weight sync")
        raise RuntimeError("the server refused the weights")

    made._vllm_server_client = types.SimpleNamespace(init_communicator=refuse, sessions=[])
    made._stage2_skip_vllm_server_sync, made._vllm_server_last_synced_step = False, -1
    made.model = types.SimpleNamespace(device="cpu")
    events.append("begins weight sync")
    made._sync_vllm_server_rollout_model_if_needed()
    events.append("ends weight sync")


def rollout_fails(made, request, rank, events):
    sessions = stage.Sessions(1)
    made._vllm_server_client, made._vllm_server_cached_world_sizes = sessions, [1]
    if rank == 1:
        reply = stage.Reply([])
        reply.status_code, reply.text = 500, "Internal Server Error"
        sessions.sessions[0].post = lambda *args, **kwargs: reply
    events.append("begins rollout")
    made._rollout_many(stage.numbered(2))
    events.append("ends rollout")
    return logged(made, request, rank, events)


def metrics(made, request, rank, events):
    events.append("begins reduction")
    reduced = getattr(made, REDUCERS[request["reducer"]])(dict(request["metrics"][rank]))
    events.append("ends reduction")
    return {"metrics": {k: float(v) for k, v in reduced.items()}}


def channel(made, request, rank, events):
    return {"channels": "".join(made._stage2_channel_for_step(s) for s in range(request["steps"]))}


SCENARIOS = {
    "not_ready": not_ready,
    "before_metrics": before_metrics,
    "weight_sync": weight_sync,
    "rollout_fails": rollout_fails,
    "metrics": metrics,
    "channel": channel,
}
