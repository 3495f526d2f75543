"""What a target can reach of the machine and of the user, and that the audit says which walls stood."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib.core.target import TargetInfo
from coordexp_audit_lib.sandbox import cgroups, walls
from coordexp_audit_lib.targets.checkout import CheckoutTarget
from coordexp_audit_lib.targets.contained import limits_of, told_walls

MINE = "something of the user"


@pytest.fixture
def mine() -> Iterator[Path]:
    """A folder of the user's with a private file."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "id_ed25519").write_text(MINE)
        yield Path(folder)


@pytest.fixture
def listening() -> Iterator[int]:
    """The port of somebody else's server on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(params=["started", "forked"])
def asked(request: Any, target: CheckoutTarget, questions: Any, pids: Path) -> Any:
    """Have the target try an expression: `done`, or the name of what it raised."""
    if request.param == "forked":
        request.getfixturevalue("forking")
        target._worker = target._started()

    def ask(expression: str) -> str:
        question = questions["deed"]
        said: str = target.ask(question, question.request(deed=f"try {expression}", pids=str(pids))).value.said
        return said

    return ask


def needs(target: Any, *names: str) -> None:
    lacking = [name for name in names if name not in target.info().walls]
    if lacking:
        pytest.skip(f"this machine gives no wall of the kind: {', '.join(lacking)}")


def test_other_processes_keep_their_limits_and_their_secrets(asked: Any, target: CheckoutTarget) -> None:
    needs(target, walls.CALLS)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    for pid in ("os.getppid()", str(os.getpid())):
        assert asked(f"resource.prlimit({pid}, resource.RLIMIT_NOFILE, (3, 3))") == "PermissionError"
        assert asked(f"os.sched_setaffinity({pid}, [0])") == "PermissionError"
        assert asked(f"os.setpriority(os.PRIO_PROCESS, {pid}, 19)") == "PermissionError"
        if walls.WRITES in target.info().walls:
            said = asked(f"open('/proc/%d/environ' % {pid}, 'rb').read()")
            assert said in ("PermissionError", "FileNotFoundError")
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
    assert asked("resource.setrlimit(resource.RLIMIT_CORE, (0, 0))") == "done"


def test_other_processes_are_not_to_be_seen(asked: Any, target: CheckoutTarget) -> None:
    needs(target, walls.PROCESSES)
    assert asked(f"os.kill({os.getpid()}, 0)") == "ProcessLookupError"
    assert asked(f"os.stat('/proc/{os.getpid()}')") == "FileNotFoundError"
    assert asked("[] if len([n for n in os.listdir('/proc') if n.isdigit()]) < 9 else 1 / 0") == "done"
    assert asked("os.kill(1, 9)") in ("done", "PermissionError")  # the namespace's first process does not hear it
    assert asked("open('/proc/1/environ', 'rb').read()") == "PermissionError"


def test_groups_are_gone_with_what_was_in_them(tmp_path: Path) -> None:
    made = cgroups.made(64 << 20, 20)
    if not made:
        pytest.skip("this machine gives no control group")
    taken = "import sys; from coordexp_audit_lib.sandbox import cgroups; print(cgroups.joined(sys.argv[1:])); "
    program = [sys.executable, "-c", taken + "x = bytearray(200 << 20); print('all of it')", *made]
    ran = subprocess.run(program, capture_output=True, text=True, check=False)
    assert ran.returncode == -9 and "all of it" not in ran.stdout
    assert cgroups.killed(made)
    cgroups.removed(made)
    assert not any(map(os.path.exists, made))


def test_memory_that_no_limit_sees_is_not_to_be_had(asked: Any, target: CheckoutTarget) -> None:
    needs(target, walls.CALLS)
    assert asked("os.memfd_create('x')") == "OSError"
    assert asked("socket.socket(40, socket.SOCK_STREAM)") == "PermissionError"  # between virtual machines
    assert asked("socket.socketpair()") == "done"
    assert asked("subprocess.run(['true'], check=True)") == "done"


def test_files_of_the_user_are_neither_changed_nor_read(asked: Any, target: CheckoutTarget, mine: Path) -> None:
    needs(target, walls.MOUNTS, walls.READS)
    key = mine / "id_ed25519"
    before = key.stat()
    for deed in (f"os.chmod({str(key)!r}, 0)", f"os.utime({str(key)!r})", f"os.setxattr({str(key)!r}, 'user.x', b'')"):
        assert asked(deed) == "OSError"
    assert asked(f"open({str(key)!r}).read()") == "PermissionError"
    assert asked(f"os.listdir({str(mine)!r})") == "PermissionError"
    after = key.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_mode,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


def test_shared_memory_is_its_own(asked: Any, target: CheckoutTarget) -> None:
    needs(target, walls.MEMORY)
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as theirs:
        assert asked(f"os.unlink({theirs.name!r})") == "FileNotFoundError"
        assert Path(theirs.name).exists()
    assert asked("os.close(os.open('/dev/shm/left-behind', os.O_CREAT))") == "done"
    assert not Path("/dev/shm/left-behind").exists()
    assert asked("__import__('multiprocessing').Lock()") == "done"


def test_nothing_goes_out_also_not_to_this_machine(asked: Any, target: CheckoutTarget, listening: int) -> None:
    needs(target, walls.NETWORK)
    assert asked(f"socket.create_connection(('127.0.0.1', {listening}), 5)") == "ConnectionRefusedError"
    assert asked("socket.create_connection(('192.0.2.1', 80), 5)") == "OSError"
    assert (
        asked("[s := socket.create_server(('127.0.0.1', 0)), socket.create_connection(s.getsockname(), 5)]") == "done"
    )


WITHOUT_RIGHTS = """
import os, sys
from coordexp_audit_lib.sandbox import cgroups, walls
server, own = sys.argv[1:]
if os.geteuid() == 0:  # as a user whom the kernel refuses these calls outside a namespace of its own
    walls._drop_capabilities(1 << 31)  # it must have this one to map itself
print(*walls.enclose([server], "", forks=True), "|", *walls.enclose([own], "", inside=True))
for place in (own, server):
    try:
        os.chmod(place, 0o755)
        print("changed", end=" ")
    except OSError:
        print("refused", end=" ")
"""


def test_a_user_without_rights_has_the_same_walls(target: CheckoutTarget, tmp_path: Path) -> None:
    needs(target, walls.MOUNTS, walls.NETWORK)
    (tmp_path / "own").mkdir()
    command = [sys.executable, "-c", WITHOUT_RIGHTS, str(tmp_path), str(tmp_path / "own")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == "network mounts memory | mounts memory\nchanged refused "


def test_what_is_granted_can_be_read(
    *, tree: Path, bindings_dir: Path, questions: Any, pids: Path, limits: Any, mine: Path
) -> None:
    given = limits(readable=(str(mine),))
    with CheckoutTarget(tree, python=sys.executable, bindings_dir=bindings_dir, limits=given) as target:
        deed = f"try open({str(mine / 'id_ed25519')!r}).read()"
        assert target.ask(questions["deed"], questions["deed"].request(deed=deed, pids=str(pids))).value.said == "done"


@pytest.mark.parametrize("lacking", [(), tuple(walls.TOLD)])
def test_which_walls_stand_is_told(lacking: tuple[str, ...]) -> None:
    stood = tuple(name for name in walls.TOLD if name not in lacking)
    said = told_walls(TargetInfo(kind="checkout", name="x", walls=stood))
    for name, text in walls.TOLD.items():
        assert text in said.partition("Not on this machine")[2 if name in lacking else 0]
    assert told_walls(TargetInfo(kind="reference", name="x")) == ""


def test_where_the_machine_gives_no_wall_the_target_is_asked_all_the_same(
    *, tree: Path, bindings_dir: Path, questions: Any, pids: Path, limits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container without user namespaces, seccomp and Landlock: a supervisor that finds none."""
    bare = pids.parent / "bare"
    bare.mkdir()
    for name in ("supervisor.py", "walls.py", "cgroups.py"):
        text = Path(walls.__file__).with_name(name).read_text()
        (bare / name).write_text(
            text.replace('LINUX = sys.platform == "linux"', "LINUX = False") if name != "supervisor.py" else text
        )
    monkeypatch.setattr("coordexp_audit_lib.sandbox.process.supervisor.__file__", str(bare / "supervisor.py"))
    with CheckoutTarget(tree, python=sys.executable, bindings_dir=bindings_dir, limits=limits()) as target:
        assert (
            target.ask(questions["deed"], questions["deed"].request(deed="honest", pids=str(pids))).value.said == "done"
        )
        assert set(target.info().walls) <= {walls.READS}


def test_an_import_that_hangs_costs_one_time_limit(
    tree: Path, bindings_dir: Path, questions: Any, pids: Path, limits: Any
) -> None:
    """However many questions there are, and in however many processes."""
    given = limits(first_seconds=1.0, seconds=1.0, waiting=1.0)
    with CheckoutTarget(tree, python=sys.executable, bindings_dir=bindings_dir, limits=given) as target:
        ask = questions["deed"].request(deed="sleep", pids=str(pids))
        said = []
        for asked in (target, target.apart(), target.apart()):
            try:
                asked.ask(questions["deed"], ask)
            except Exception as error:
                said.append(str(error))
            asked.close()
    assert ["did not answer within 1 seconds" in s for s in said] == [True, False, False]
    assert all("not asked: 1 seconds were waited" in s and "--time-limit" in s for s in said[1:])


def test_the_options_reach_the_limits(tmp_path: Path) -> None:
    made = limits_of(7.0, [str(tmp_path)])
    assert (made.waiting, made.first_seconds, made.seconds, made.readable) == (7.0, 7.0, 7.0, (str(tmp_path),))
