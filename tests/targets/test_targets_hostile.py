"""A target that misbehaves costs one `error` finding each time, and nothing is left of it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordexp_audit_lib.core.claim import Claim, Context
from coordexp_audit_lib.core.errors import SurfaceFailed, UsageError
from coordexp_audit_lib.core.finding import Finding, Violation
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.sandbox.walls import landlock_version
from coordexp_audit_lib.targets.checkout import CheckoutTarget

SECONDS = 30.0  # for a question that fails, its clean-up and the next worker's start, on a busy machine

SOON = 0.5  # seconds until a question that is not answered fails
CONFINED = landlock_version() >= 6  # then the kernel lets no signal out

# What it does -> a part of the reason that the finding gives.
DEEDS = {
    "flood stderr": "printed more than",
    "flood stdout": "printed more than",
    "sleep": f"did not answer within {SOON} seconds",
    "spin": f"did not answer within {SOON} seconds",
    "exit": r"exit status 3; it printed last: \x1b[31mlast words\x07",
    "segfault": "ended by SIGSEGV",
    "SystemExit": "SystemExit: 0",
    "KeyboardInterrupt": "KeyboardInterrupt",
    "hostile exception": "",
    "children": "left 2 processes running",
    "children, then exit": "exit status 0",
    "many children": "more than 40 processes",
    "200 MB": "larger than the limit",
    "200 MB frame": "200000000 bytes at once",
    "many small lists": "strict JSON",
    "NaN": "strict JSON",
    "infinity": "strict JSON",
    "lone surrogate": "strict JSON",
    "raw NaN": "strict JSON",
    "raw surrogate": "strict JSON",
    "deep": "strict JSON",
    "rather deep": "nested deeper",
    "raw deep": "strict JSON",
    "cycle": "strict JSON",
    "not JSON": "strict JSON",
    "memory": "memory",
    "memory of children": "bytes of memory",
    "many files": "it stored more than",
    "unlinked files": "it stored more than",
    "close all": "closed the private pipe",
    "kill the parent": "left 2 processes running" if CONFINED else "its supervisor was killed",
    "stop the parent": "left 1 processes running" if CONFINED else "did not answer within",
    "garbage frames": "",
    "a second answer": "private pipe",
}


def finding_of(target: CheckoutTarget, question: Surface[Any, Any], deed: str, pids: Path) -> Finding:
    """Judge the claim that the target does what it is asked."""

    def check(ctx: Context) -> Iterator[Violation]:
        ctx.judged()
        if ctx.value(question, question.request(deed=deed, pids=str(pids))).said != "done":
            yield Violation("it said something else")

    claim = Claim("hostile.done", "It is done.", check, severity="P1", kind="B", remedy="Do it.")
    return judge(target, claim, "")


@pytest.mark.parametrize("start", ["started", "forked"])
@pytest.mark.parametrize("deed", DEEDS)
def test_hostile_deed_is_one_error(
    *, deed: str, start: str, standing: Any, tmp_path: Path, questions: Any, alive: Any
) -> None:
    question, pids, started = questions["deed"], standing.noted / tmp_path.name, time.monotonic()
    target = standing.target(start)
    target._worker, limits = target._started(), target.limits
    if "did not answer" in DEEDS[deed]:
        target.limits = msgspec.structs.replace(limits, first_seconds=SOON)
    bases = [target._worker.base]

    finding = finding_of(target, question, deed, pids)

    assert finding.status == "error"
    assert DEEDS[deed] in finding.note
    assert "\n" not in finding.note and finding.note.isprintable()
    assert alive(pids) == []
    target.limits = limits
    assert finding_of(target, question, "honest", pids).status == "held"
    assert target._worker.base.name.startswith("forked-") == (start == "forked")
    assert time.monotonic() - started < SECONDS
    bases.append(target._worker.base)
    target.close()
    assert alive(Path(f"{pids}.worker")) == []
    assert [base for base in bases if base.exists()] == []


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGKILL, "its supervisor was killed"), (signal.SIGSTOP, "did not answer within")]
)
def test_without_its_supervisor_it_is_found_all_the_same(
    *, number: int, reason: str, target: Any, questions: Any, pids: Path, alive: Any, limits: Any
) -> None:
    target.limits = limits(first_seconds=4.0 if number == signal.SIGKILL else 2.0)

    def strike() -> None:
        while not pids.exists() or len(pids.read_text().split()) < 2:
            time.sleep(0.01)
        os.kill(target._worker.supervisor.pid, number)

    striker = threading.Thread(target=strike)
    striker.start()
    finding = finding_of(target, questions["deed"], "children, then sleep", pids)
    striker.join()

    assert finding.status == "error" and reason in finding.note
    assert len(pids.read_text().split()) == 2 and alive(pids) == []
    assert finding_of(target, questions["deed"], "honest", pids).status == "held"


def test_when_the_audit_is_killed_nothing_is_left(tree: Path, bindings_dir: Path, pids: Path, alive: Any) -> None:
    program = (
        "import sys; from pathlib import Path; from coordexp_audit_lib.targets.checkout import CheckoutTarget, Limits\n"
        "tree, bindings, pids = sys.argv[1:]\n"
        "limits = Limits(writable=(str(Path(pids).parent),))\n"
        "target = CheckoutTarget(tree, python=sys.executable, bindings_dir=Path(bindings), limits=limits)\n"
        "print(target._worker.base, flush=True)\n"
        "chosen = {'module': 'hostile', 'surface': 'hostile.deed', 'chosen': {'do': 'src.deeds:do'}}\n"
        "target._exchange(chosen | {'request': {'deed': 'children, then sleep', 'pids': pids}}, 60.0)\n"
    )
    command = [sys.executable, "-c", program, str(tree), str(bindings_dir), str(pids)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as audit:
        base = Path((audit.stdout.readline() if audit.stdout else "").strip())
        assert base.is_dir()
        while not pids.exists() or len(pids.read_text().split()) < 2:
            assert audit.poll() is None
            time.sleep(0.01)
        audit.kill()
    assert alive(pids) == [] and alive(Path(f"{pids}.worker")) == []
    deadline = time.monotonic() + 5
    while base.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not base.exists()


def test_own_memory_stays_bounded(target: Any, questions: Any, pids: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for deed in ("200 MB", "200 MB frame", "many small lists", "flood stderr"):
        finding_of(target, questions["deed"], deed, pids)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # in KiB


def test_garbage_on_stdout_does_not_reach_the_answer(target: Any, questions: Any, pids: Path) -> None:
    assert finding_of(target, questions["deed"], "garbage on stdout", pids).status == "held"


def test_a_file_larger_than_the_limit_is_refused(
    tree: Path, bindings_dir: Path, questions: Any, pids: Path, limits: Any
) -> None:
    small = limits(file=1 << 20)
    with CheckoutTarget(tree, python=sys.executable, bindings_dir=bindings_dir, limits=small) as target:
        answer = target.ask(questions["deed"], questions["deed"].request(deed="big file", pids=str(pids)))
        assert answer.refused and answer.refusal.type == "OSError"


@pytest.mark.skipif(landlock_version() < 3, reason="this kernel cannot confine writes")
@pytest.mark.parametrize("deed", ["write into the tree", "cut a file of the tree"])
def test_it_cannot_write_into_the_tree(deed: str, target: Any, questions: Any, pids: Path) -> None:
    question = questions["deed"]
    before = {p: p.read_bytes() for p in target.tree.root.rglob("*") if p.is_file()}
    refusal = target.ask(question, question.request(deed=deed, pids=str(pids))).refusal
    assert refusal is not None and refusal.type in ("PermissionError", "OSError")
    assert {p: p.read_bytes() for p in target.tree.root.rglob("*") if p.is_file()} == before


def test_it_can_write_into_the_scratch(target: Any, questions: Any, pids: Path) -> None:
    found = finding_of(target, questions["deed"], "write into the scratch", pids)
    assert found.status == "held", found.note


def test_scratch_without_rights_is_removed(target: Any, questions: Any, pids: Path) -> None:
    assert finding_of(target, questions["deed"], "rights", pids).status == "held"
    base = target._worker.base
    target.close()
    assert not base.exists()


def test_after_hangs_in_a_row_nothing_more_is_waited_for(
    tree: Path, bindings_dir: Path, questions: Any, pids: Path, limits: Any
) -> None:
    with CheckoutTarget(
        tree, python=sys.executable, bindings_dir=bindings_dir, limits=limits(first_seconds=0.8, seconds=0.8, hangs=2)
    ) as target:
        notes = [finding_of(target, questions["deed"], "sleep", pids).note for _ in range(3)]
        started = time.monotonic()
        notes.append(finding_of(target, questions["deed"], "honest", pids).note)
        assert time.monotonic() - started < 0.5
    assert ["did not answer" in note for note in notes] == [True, True, False, False]
    assert all("not asked" in note for note in notes[2:])


def test_after_failed_starts_in_a_row_none_is_tried(target: Any, questions: Any, pids: Path) -> None:
    target.close()
    target.python = "/bin/false"
    notes = [finding_of(target, questions["deed"], "honest", pids).note for _ in range(5)]
    assert ["exit status 1" in note for note in notes] == [True, True, True, False, False]
    assert all("could not be started 3 times" in note for note in notes[3:])


def test_a_crash_in_the_scratch_is_named_without_its_path(target: Any, questions: Any, pids: Path) -> None:
    with pytest.raises(SurfaceFailed) as caught:
        target.ask(questions["wrong"], questions["wrong"].request(deed="", pids=str(pids)))
    assert str(caught.value) == "hostile.wrong: KeyError: 'no such key' (hostile.py:24)"


@pytest.mark.parametrize("python", ["/bin/true", "/bin/cat", "/no/such/python"])
def test_an_unusable_interpreter_is_a_usage_error(python: str, tree: Path, bindings_dir: Path) -> None:
    with pytest.raises(UsageError) as caught:
        CheckoutTarget(tree, python=python, bindings_dir=bindings_dir)
    assert "Remedy: give" in str(caught.value)
