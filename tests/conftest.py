"""Fixtures that every boundary's tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.target import Target
from coordexp_audit_lib.targets.reference import Memory
from coordexp_audit_lib.targets.resolve import open_target

STAGE1 = "configs/stage1/ablation/geometry_first_coco80.yaml"
STAGE2 = "configs/stage2_ab/prod/ab_mixed.yaml"


@pytest.fixture(scope="session", autouse=True)
def _declared() -> None:
    boundaries.load()


@pytest.fixture(scope="session")
def memory() -> Memory:
    """The unbroken reference's answers: many proofs ask it the same questions. Files whose tests take it run in one
    process."""
    return {}


@pytest.fixture(scope="session")
def checkout() -> Iterator[Target]:
    """The CoordExp checkout that COORDEXP_REPO and COORDEXP_PYTHON name; tests that use it are marked `checkout`."""
    repo, python = os.environ.get("COORDEXP_REPO"), os.environ.get("COORDEXP_PYTHON")
    if not repo or not python:
        pytest.skip("set COORDEXP_REPO and COORDEXP_PYTHON to run the tests that need a CoordExp checkout")
    with open_target(repo, python=python) as target:
        yield target


@pytest.fixture(scope="session")
def lines_run() -> Callable[[Callable[[], object]], int]:
    """`lines_run(call)`: how many lines of this library a call runs, as a measure of work that no machine changes."""

    def count(call: Callable[[], object]) -> int:
        lines = 0

        def inside(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal lines
            lines += event == "line"
            return inside

        def entered(frame: FrameType, event: str, arg: Any) -> Any:
            return inside if "coordexp_audit_lib" in frame.f_code.co_filename else None

        before = sys.gettrace()
        sys.settrace(entered)
        try:
            call()
        finally:
            sys.settrace(before)
        return lines

    return count


def only_at_reference(target: Target) -> None:
    """Go on at the reference commit only: what is expected was read in its code."""
    if not target.info().commit.startswith("b46e74f"):
        pytest.skip("what is expected was read at b46e74f")
