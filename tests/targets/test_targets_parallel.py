"""Workers forked from one that has imported already, and claims judged side by side."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordexp_audit_lib.core.claim import Claim, Context
from coordexp_audit_lib.core.errors import AuditError, SurfaceFailed
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Finding, Violation
from coordexp_audit_lib.core.judge import Asked, audit
from coordexp_audit_lib.run.parallel import grouped, side_by_side
from coordexp_audit_lib.sandbox.limits import FOLDERS
from coordexp_audit_lib.sandbox.walls import landlock_version
from coordexp_audit_lib.targets.checkout import CheckoutTarget
from coordexp_audit_lib.targets.recording import Recorder

PLACE = Where("src/deeds.py", 1, "src.deeds:do")


def ask(target: CheckoutTarget, questions: Any, pids: Path, deed: str) -> Any:
    return target.ask(questions["deed"], questions["deed"].request(deed=deed, pids=str(pids))).value.said


def claims_that(questions: Any, pids: Path, deeds: dict[str, list[str]]) -> list[Claim]:
    """By boundary, a claim for each deed: it says what was said, in a violation."""

    def made(boundary: str, number: int, deed: str) -> Claim:
        def check(ctx: Context) -> Iterator[Violation]:
            ctx.judged()
            question = questions["deed"]
            said = ctx.value(question, question.request(deed=deed, pids=str(pids))).said
            yield Violation(str(said), where=PLACE)  # then nothing is asked again to find it

        return Claim(f"{boundary}.n{number}", "", check, severity="P1", kind="B", remedy="")

    return [made(b, n, deed) for b, several in deeds.items() for n, deed in enumerate(several)]


def content(findings: list[Finding]) -> list[Finding]:
    return [msgspec.structs.replace(f, seconds=0) for f in findings]


def test_a_forked_worker_is_as_one_that_was_just_started(forking: CheckoutTarget, questions: Any, pids: Path) -> None:
    first, second = forking.apart(), forking.apart()
    assert [ask(first, questions, pids, "count") for _ in range(3)] == [1, 2, 3]
    assert ask(second, questions, pids, "count") == 1
    assert ask(first, questions, pids, "places") == ask(second, questions, pids, "places")
    first.close()
    assert ask(second, questions, pids, "count") == 2
    second.close()


def test_what_a_worker_prints_and_where_it_writes_is_its_own(
    forking: CheckoutTarget, questions: Any, pids: Path
) -> None:
    first, second = forking.apart(), forking.apart()
    homes = [ask(t, questions, pids, "environment")["HOME"] for t in (first, second)]
    assert homes[0] != homes[1] and all(Path(home).is_dir() for home in homes)
    with pytest.raises(SurfaceFailed, match="last words"):
        ask(first, questions, pids, "exit")
    assert ask(second, questions, pids, "honest") == "done" and not Path(homes[0]).exists()
    first.close()
    second.close()
    assert not Path(homes[1]).exists()


@pytest.mark.skipif(landlock_version() < 3, reason="this kernel cannot confine writes")
def test_a_worker_cannot_write_to_the_scratch_of_another(forking: CheckoutTarget, questions: Any, pids: Path) -> None:
    first, second = forking.apart(), forking.apart()
    ask(first, questions, pids, "honest")
    assert first._worker is not None
    question = questions["deed"]
    planted = Path(first._worker.base) / FOLDERS[-1] / "planted"
    request = question.request(deed=f"write to {planted}", pids=str(pids))
    refusal = second.ask(question, request).refusal
    assert refusal is not None and refusal.type in ("PermissionError", "OSError")
    first.close()
    second.close()


def test_a_supervisor_that_is_killed_costs_its_own_worker_only(
    forking: CheckoutTarget, questions: Any, pids: Path, alive: Any
) -> None:
    first, second = forking.apart(), forking.apart()
    ask(first, questions, pids, "honest")
    ask(second, questions, Path(f"{pids}.second"), "honest")
    assert first._worker is not None and second._worker is not None
    before = second._worker
    os.kill(first._worker.supervisor.pid, signal.SIGKILL)
    with pytest.raises(SurfaceFailed, match="its supervisor was killed"):
        ask(first, questions, pids, "children, then sleep")
    assert alive(pids) == [] and alive(Path(f"{pids}.worker")) == []
    assert ask(second, questions, pids, "honest") == "done" and second._worker is before
    assert ask(first, questions, pids, "honest") == "done"
    first.close()
    second.close()


def test_without_its_fork_server_a_worker_is_started_all_the_same(
    forking: CheckoutTarget, questions: Any, pids: Path
) -> None:
    assert forking._server is not None
    forking._server.end()
    apart = forking.apart()
    assert ask(apart, questions, pids, "honest") == "done"
    apart.close()


def test_when_the_audit_is_killed_no_forked_worker_is_left(
    tree: Path, bindings_dir: Path, pids: Path, alive: Any
) -> None:
    program = (
        "import sys; from pathlib import Path; from coordexp_audit_lib.targets.checkout import CheckoutTarget, Limits\n"
        "tree, bindings, pids = sys.argv[1:]\n"
        "limits = Limits(writable=(str(Path(pids).parent),))\n"
        "target = CheckoutTarget(tree, python=sys.executable, bindings_dir=Path(bindings), limits=limits)\n"
        "target.spread(1)\n"
        "print(target._server.base, flush=True)\n"
        "apart = target.apart()\n"
        "chosen = {'module': 'hostile', 'surface': 'hostile.deed', 'chosen': {'do': 'src.deeds:do'}}\n"
        "apart._exchange(chosen | {'request': {'deed': 'children, then sleep', 'pids': pids}}, 60.0)\n"
    )
    command = [sys.executable, "-c", program, str(tree), str(bindings_dir), str(pids)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        base = Path((killed.stdout.readline() if killed.stdout else "").strip())
        while not pids.exists() or len(pids.read_text().split()) < 2:
            assert killed.poll() is None
            time.sleep(0.01)
        killed.kill()
    assert alive(pids) == [] and alive(Path(f"{pids}.worker")) == []
    deadline = time.monotonic() + 5
    while base.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not base.exists()


def test_findings_are_the_same_whatever_the_number_of_processes(
    target: CheckoutTarget, questions: Any, pids: Path
) -> None:
    deeds = {
        "a": ["count", "count", "sleep a little"],
        "b": ["count", "exit", "count"],
        "c": ["places"],
        "d": ["count", "NaN"],
    }
    claims = claims_that(questions, pids, deeds)
    found = [content(audit(target, claims, ["x"], judges=side_by_side(jobs))) for jobs in (1, 2, 3)]
    assert found[0] == found[1] == found[2]
    assert [f.invariant for f in found[0]] == [c.id for c in claims]
    said = ["; ".join(v.message for v in f.violations) or f.note for f in found[0]]
    assert said[:2] == ["1", "2"] and said[3] == "1" and "exit status 3" in said[4] and said[5] == "1"


def test_a_recording_is_the_same_whatever_the_number_of_processes(
    target: CheckoutTarget, questions: Any, pids: Path
) -> None:
    """Also of answers that differ: they stand in the claims' order, not in that in which the processes were done."""
    claims = claims_that(questions, pids, {"a": ["sleep a little", "count", "count"], "b": ["count"], "c": ["count"]})
    made = []
    for jobs in (1, 3):
        recorder = Recorder(target)
        audit(recorder, claims, ["x"], judges=side_by_side(jobs))
        made.append(recorder.recording("", ""))
    assert made[0] == made[1] and made[0].count() == 2
    sequences = [a["sequence"] for a in made[0].answers["hostile.deed"].values() if "sequence" in a]
    assert [[one["value"]["said"] for one in s] for s in sequences] == [[1, 2, 1, 1]]


def test_a_process_that_dies_ends_the_audit_with_a_reason(target: CheckoutTarget, questions: Any, pids: Path) -> None:
    def check(ctx: Context) -> Iterator[Violation]:
        os._exit(9)
        yield Violation("never")

    claims = claims_that(questions, pids, {"a": ["honest"]})
    claims.append(Claim("b.dies", "", check, severity="P1", kind="B", remedy=""))
    with pytest.raises(AuditError, match="a process that judges: it was killed"):
        audit(target, claims, ["x"], judges=side_by_side(2))


def test_claims_that_only_read_are_judged_while_workers_import() -> None:
    def claim(name: str, kind: Any) -> Claim:
        return Claim(name, "", lambda ctx: iter(()), severity="P1", kind=kind, remedy="")

    asked: list[Asked] = list(
        zip([claim("a.x", "B"), claim("a.y", "S"), claim("b.x", "B"), claim("a.z", "B")], itertools.repeat("c"))
    )
    assert [sorted(group) for group in grouped([c for c, _ in asked])] == [[1], [0, 3], [2]]


def test_a_target_that_gains_nothing_is_judged_here() -> None:
    from coordexp_audit_lib.targets.reference import ReferenceTarget

    here: list[int] = []

    def check(ctx: Context) -> Iterator[Violation]:
        here.append(os.getpid())
        ctx.judged()
        yield from ()

    claims = [Claim(f"{b}.x", "", check, severity="P1", kind="B", remedy="") for b in "ab"]
    assert [f.status for f in audit(ReferenceTarget(), claims, ["x"], judges=side_by_side(2))] == ["held", "held"]
    assert here == [os.getpid()] * 2
