"""Ask a live target everything that the audit and its figures ask, and keep the answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from coordexp_audit_lib import __version__, boundaries
from coordexp_audit_lib.boundaries.policies import applicable
from coordexp_audit_lib.core.claim import exhibits
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import audit
from coordexp_audit_lib.core.target import Target
from coordexp_audit_lib.run.parallel import Cluster, in_groups, on_cluster, side_by_side
from coordexp_audit_lib.run.shares import Share, show
from coordexp_audit_lib.targets.recording import Recorder, Recording, read_recording, write_recording

SAVE_EVERY_S = 20.0


class Taken:
    """A recording in the making, with the findings that were judged on the way."""

    def __init__(self, recording: Recording, findings: list[Finding]) -> None:
        self.recording, self.findings = recording, findings


def take(
    live: Target,
    configs: Sequence[str],
    *,
    seed: int = 0,
    names: list[str] | None = None,
    partial: Path | None = None,
    jobs: int = 1,
    cluster: Cluster | None = None,
    progress: Callable[[str], None] | None = None,
) -> Taken:
    """Run every check and every figure's questions on `live`.

    Args:
        live: the target. configs: as the user names them. names: boundaries, all by default.
        jobs: processes that ask. cluster: who asks in their place.
        partial: where answers are kept meanwhile; an interrupted recording of the same clean commit goes on from there.
        progress: called with the name of what starts.
    """
    recorder = Recorder(live, _earlier(partial, live))
    configs = recorder.all_named(configs)
    saver = _Saver(recorder, partial)

    def report(name: str) -> None:
        saver.maybe()
        if progress:
            progress(name)

    chosen = [b.name for b in boundaries.load(names)]
    checks = [c for name in chosen for c in applicable(live.pipeline(), name)]
    judges = side_by_side(jobs, cluster)
    findings = audit(recorder, checks, configs, seed, lambda inv, config: report(inv.id), judges=judges)
    recorder.reuse()  # a figure shows what was judged
    shown = [(name, tuple(exhibits(name))) for name in chosen if exhibits(name)]

    def begun(group: int, at: int) -> None:
        report(shown[group][1][at])

    if cluster is not None:
        known, told = recorder.known(), tuple(configs)
        shares = [Share(cluster.opening, told, seed, (), boundary, figures, known) for boundary, figures in shown]
        on_cluster(recorder, shares, cluster, begun)
    else:
        works = [[lambda t, b=b, n=n: show(t, n, b, configs, seed) for n in figures] for b, figures in shown]
        in_groups(recorder, works, jobs if recorder.spread(jobs) else 1, begun)
    return Taken(recorder.recording(__version__, time.strftime("%Y-%m-%d", time.gmtime())), findings)


class _Saver:
    """Writes what is known so far, now and then, so that an interrupted recording can go on."""

    def __init__(self, recorder: Recorder, path: Path | None) -> None:
        self.recorder, self.path, self.last = recorder, path, time.monotonic()

    def maybe(self) -> None:
        if self.path is None or time.monotonic() - self.last < SAVE_EVERY_S:
            return
        known = self.recorder.recording(__version__, "")
        if known.count():
            write_recording(known, self.path)
        self.last = time.monotonic()


def _earlier(path: Path | None, live: Target) -> Recording | None:
    """What an interrupted recording knows, if it is of this very commit and the tree is clean."""
    try:
        before, now = read_recording(path) if path else None, live.info()
    except UsageError:  # there is none, or not a whole one
        return None
    if before is None:
        return None
    same = before.tool == __version__ and before.target.commit == now.commit and bool(now.commit)
    return before if same and now.dirty is False else None
