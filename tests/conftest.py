"""Fixtures that every boundary's tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.target import Target
from coordexp_audit_lib.targets.resolve import open_target

STAGE1 = "configs/stage1/ablation/geometry_first_coco80.yaml"
STAGE2 = "configs/stage2_ab/prod/ab_mixed.yaml"


@pytest.fixture(scope="session", autouse=True)
def _declared() -> None:
    boundaries.load()


@pytest.fixture(scope="session")
def checkout() -> Iterator[Target]:
    """The CoordExp checkout that COORDEXP_REPO and COORDEXP_PYTHON name; tests that use it are marked `checkout`."""
    repo, python = os.environ.get("COORDEXP_REPO"), os.environ.get("COORDEXP_PYTHON")
    if not repo or not python:
        pytest.skip("set COORDEXP_REPO and COORDEXP_PYTHON to run the tests that need a CoordExp checkout")
    with open_target(repo, python=python) as target:
        yield target
