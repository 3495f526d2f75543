"""A hostile tree as a target, with small limits."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from coordexp_audit_lib.core import surface as registry
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.sandbox.limits import Limits
from coordexp_audit_lib.targets.checkout import CheckoutTarget

sys.path.insert(0, str(Path(__file__).parent))
import hostile_tree

LIMITS = Limits(
    first_seconds=20.0, seconds=20.0, memory=900 << 20, disk=64 << 20, frame=1 << 20, flood=4 << 20, processes=40
)
NAMES = ("deed", "moved", "missing", "broken", "wrong", "shy", "unknown")


class Deed(msgspec.Struct):
    deed: str
    pids: str


class Said(msgspec.Struct):
    said: Any


class Standing(NamedTuple):
    """`target(start)`: a target with small limits whose workers are `started` by themselves or `forked`. noted: a
    folder where they may write."""

    target: Callable[[str], CheckoutTarget]
    noted: Path


@pytest.fixture(scope="module")
def questions() -> Iterator[dict[str, Surface[Deed, Said]]]:
    """The surfaces of the hostile tree, declared for the tests of a file."""
    made = {n: Surface(name=f"hostile.{n}", request=Deed, response=Said, summary="") for n in NAMES}
    with pytest.MonkeyPatch.context() as patch:
        for question in made.values():
            patch.setitem(registry._SURFACES, question.name, question)
        yield made


def write_tree(root: Path) -> Path:
    for name, text in hostile_tree.FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def write_bindings(folder: Path) -> Path:
    folder.mkdir()
    (folder / "hostile.py").write_text(hostile_tree.BINDING)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "tree")


@pytest.fixture
def bindings_dir(tmp_path: Path) -> Path:
    return write_bindings(tmp_path / "bindings")


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, questions: object) -> Iterator[Standing]:
    """Targets that stay open for the tests of a file, each of which gets workers of its own."""
    folder = tmp_path_factory.mktemp("standing")
    tree, bindings, noted = write_tree(folder / "tree"), write_bindings(folder / "bindings"), folder / "noted"
    noted.mkdir()
    limits = msgspec.structs.replace(LIMITS, writable=(str(noted),))

    @cache
    def opened(start: str) -> CheckoutTarget:
        made = closing.enter_context(CheckoutTarget(tree, python=sys.executable, bindings_dir=bindings, limits=limits))
        assert start != "forked" or made.spread(2)
        made._end_worker()
        return made

    with ExitStack() as closing:
        yield Standing(lambda start: opened(start).apart(), noted)


@pytest.fixture
def target(
    tree: Path, bindings_dir: Path, questions: object, limits: Callable[..., Limits]
) -> Iterator[CheckoutTarget]:
    with CheckoutTarget(tree, python=sys.executable, bindings_dir=bindings_dir, limits=limits()) as opened:
        yield opened


@pytest.fixture
def forking(target: CheckoutTarget) -> CheckoutTarget:
    """The same with a fork server, from which its workers come."""
    assert target.spread(2)
    target._end_worker()
    return target


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    """Where the hostile tree writes the process ids of its children (and, beside it, those of its workers)."""
    (tmp_path / "noted").mkdir()
    return tmp_path / "noted" / "pids"


@pytest.fixture
def limits(pids: Path) -> Callable[..., Limits]:
    """The small limits, some of them changed; where the process ids are noted may be written to."""
    return partial(msgspec.structs.replace, LIMITS, writable=(str(pids.parent),))


@pytest.fixture
def alive() -> Callable[[Path], list[int]]:
    """The processes noted in a file that still run; they get a moment to be gone."""

    def running(file: Path) -> list[int]:
        told = [line.split(":") for line in file.read_text().split()] if file.exists() else []
        noted = [pid for space, number in told for pid in _outside(int(space), number)]
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline and any(map(_runs, noted)):
            time.sleep(0.02)
        return list(filter(_runs, noted))

    return running


def _outside(space: int, number: str) -> list[int]:
    """The process by the number that it has here."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and (folder / "ns" / "pid").stat().st_ino == space:
                names = next(n for n in (folder / "status").read_text().splitlines() if n.startswith("NSpid:"))
                found += [int(folder.name)] if names.split()[-1] == number else []
        except (OSError, StopIteration):
            continue
    return found


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except (OSError, IndexError):
        return False
