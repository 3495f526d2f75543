"""in server mode the server's dtype, DP, TP, max model length, eager mode and memory utilisation are recorded as
launched

The rollout server samples what Channel B learns from. In another dtype or tensor split it samples other rollouts from
the same seed, and with a shorter context it cuts them.

Example: a server that is launched in float16 while the manifest holds the learner's bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from coordexp_audit_lib.boundaries.provenance import cases
from coordexp_audit_lib.boundaries.provenance.artifact.run import RunFolder
from coordexp_audit_lib.boundaries.provenance.faults import document, launches, writes
from coordexp_audit_lib.boundaries.provenance.predicates.documents import METADATA
from coordexp_audit_lib.boundaries.provenance.predicates.server import Server
from coordexp_audit_lib.boundaries.provenance.surfaces import LAUNCH, WRITE, Flags
from coordexp_audit_lib.core.claim import Context, Ledger, claim
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem, Undecided


@claim(severity="P0", kind="B", remedy="record each flag from the variable that the server's command line is made of")
def server_flags(ctx: Context) -> Iterator[Problem]:
    server = Server(ctx.contract["provenance.server"])
    for flags in (cases.FLAGS, {**cases.FLAGS, "dtype": "bfloat16", "eager": "false", "tensor_parallel": "1"}):
        launch = ctx.value(LAUNCH, Flags(flags))
        launched = server.canonical(launch.launched)
        missing = [name for name in flags if name not in launched]
        if missing:
            raise SurfaceUnbound(f"the launcher's command line sets no {', '.join(missing)}", where=LAUNCH.name)
        ctx.judged(len(flags))
        yield from cases.about(server.flags(launch.recorded, launched), "the launcher", flags)
    request = cases.baseline()
    written = cases.write(ctx, request)
    ctx.judged()
    metadata = written.documents.get(METADATA) or {}
    found = server.flags(metadata.get("launcher"), request.server)
    yield from cases.about(found, METADATA, None, cases.place(ctx, written))


def of_run(run: RunFolder, ledger: Ledger) -> Iterator[Problem]:
    server, resolved = Server(run.contract["provenance.server"]), run.resolved
    if not server.is_used(resolved):
        raise Undecided("the run's config names no rollout server, so that none of its flags are to be recorded")
    launcher = run.get(METADATA, "launcher")
    ledger.judged(len(server.names))
    yield from server.flags(launcher)


server_flags.on(RunFolder, of_run)


def _without(flag: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda flags: {k: v for k, v in flags.items() if k != flag}


LACKS = "the manifest lacks the flags that the command line sets over the config"
fault(server_flags, "flags_of_the_config", WRITE, LACKS)(
    writes(lambda request, w: document(w, METADATA, launcher=_without("eager")(w.documents[METADATA]["launcher"])))
)
fault(server_flags, "dtype_of_the_learner", LAUNCH, "the learner's dtype is recorded as the server's")(
    launches(lambda recorded: {**recorded, "dtype": "float32"})
)
fault(server_flags, "memory_not_recorded", LAUNCH, "the memory utilisation is not recorded")(
    launches(_without("memory_utilisation"))
)
