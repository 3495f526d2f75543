"""For every pytest run from here.

What takes longest comes first, so that of several processes none is left alone with it at the end. Two traps of nbval
are closed: nothing to compare, and rules that are not read. No generated example has a time limit, for a busy machine
would break it. And with `PYTHONPATH=.`, kernels and other processes that
start in another folder find the package all the same.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.report.outputs import check
from coordexp_audit_lib.report.sanitize import read_rules

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
LONGEST = ("test_detection.py", "test_anywhere.py", "test_nothing_vacuous.py", "test_guards_ranks.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True)
def _figures_closed() -> Iterator[None]:
    """pyplot keeps every figure until it is closed, and warns of many: of tests that share a process, not of one."""
    yield
    drawn = sys.modules.get("matplotlib.pyplot")
    if drawn is not None:
        drawn.close("all")


def pytest_configure(config: pytest.Config) -> None:
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if "." in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(str(Path(p).resolve()) for p in paths if p)
    rules = config.getoption("nbval_sanitize_with", None)
    if rules:
        try:
            read_rules(Path(rules))
        except (AuditError, OSError) as error:
            raise pytest.UsageError(str(error)) from error


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> None:
    """A notebook without outputs would pass without comparing anything."""
    if file_path.suffix == ".ipynb" and parent.config.getoption("nbval", False):
        check(json.loads(file_path.read_text(encoding="utf-8")), file_path.name)
