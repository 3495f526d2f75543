"""For every pytest run from here.

What takes longest comes first, so that of several processes none is left alone with it at the end. Two traps of nbval
are closed: nothing to compare, and rules that are not read. No generated example has a time limit, for a busy machine
would break it. And with `PYTHONPATH=.`, kernels and other processes that
start in another folder find the package all the same.
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.report.outputs import check
from coordexp_audit_lib.report.sanitize import read_rules

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
LONGEST = (
    *("test_detection.py", "test_targets_hostile.py", "test_hostile_book.py", "test_guards_ranks.py"),
    *("test_pipelines_example_shift.py", "test_pipelines_example.py", "test_cli.py", "test_guards_memory.py"),
)


DRAWN_ONCE = "%config InlineBackend.print_figure_kwargs = {'bbox_inches': None}"
KERNEL_S = 60
TAKES_MEMORY = re.compile(r"^def \w+\([^)]*\bmemory\b", re.MULTILINE)
_PLACES = {name: place for place, name in enumerate(LONGEST)}
_IMPORTED = [0]  # modules, when objects were last set aside


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (_PLACES.get(item.path.name, len(LONGEST)), not _shares(item.path)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Under `--dist loadfile` a file's tests stay in one process, and so do all files that share `memory`."""
    from xdist.scheduler import LoadFileScheduling

    class Sharing(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return "memory" if _shares(config.rootpath / file) else file

    return Sharing(config, log) if config.getvalue("dist") == "loadfile" else None


@cache
def _shares(file: Path) -> bool:
    """Whether something in a file takes the fixture `memory`."""
    return file.suffix == ".py" and TAKES_MEMORY.search(file.read_text(encoding="utf-8")) is not None


def pytest_collection_finish() -> None:
    _set_aside()


def pytest_runtest_logfinish() -> None:
    if len(sys.modules) > _IMPORTED[0] + 100:
        _set_aside()


def _set_aside() -> None:
    """Spare the collector the tests, torch and transformers, which stay: a trainer collects several times a run, and
    going over them took it half a second each time."""
    gc.collect()
    gc.freeze()
    _IMPORTED[0] = len(sys.modules)


@pytest.fixture(autouse=True)
def _figures_closed() -> Iterator[None]:
    """pyplot keeps every figure until it is closed, and warns of many: of tests that share a process, not of one."""
    yield
    drawn = sys.modules.get("matplotlib.pyplot")
    if drawn is not None:
        drawn.close("all")


def pytest_configure(config: pytest.Config) -> None:
    gc.set_threshold(100_000, 20, 50)  # as `coordexp-audit` runs
    if config.getoption("nbval", False):
        _share_kernels(config)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if "." in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(str(Path(p).resolve()) for p in paths if p)
    rules = config.getoption("nbval_sanitize_with", None)
    if rules:
        try:
            read_rules(Path(rules))
        except (AuditError, OSError) as error:
            raise pytest.UsageError(str(error)) from error


def _share_kernels(config: pytest.Config) -> None:
    """One kernel for the notebooks of a folder, emptied before each, as `coordexp-audit run` has it: starting one and
    importing takes longer than what a page computes."""
    from nbval import plugin

    from coordexp_audit_lib.run.notebooks import EMPTY

    running: dict[str, Any] = {}
    start = plugin.RunningKernel

    def kernel(name: str, cwd: str, **options: Any) -> Any:
        shared = running.get(cwd)
        if shared is None or not shared.is_alive():
            shared = running[cwd] = start(name, cwd=cwd, **options)
            _run(shared, DRAWN_ONCE)
        _run(shared, EMPTY)
        return shared

    def _run(shared: Any, code: str) -> None:
        asked = shared.execute_cell_input(code)
        shared.await_reply(asked, timeout=KERNEL_S)
        shared.await_idle(asked, KERNEL_S)

    def stop() -> None:
        for shared in running.values():
            if shared.is_alive():
                shared.stop()

    patch = pytest.MonkeyPatch()
    patch.setattr(plugin, "RunningKernel", kernel)
    patch.setattr(plugin.IPyNbFile, "teardown", lambda notebook: None)
    config.add_cleanup(patch.undo)
    config.add_cleanup(stop)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> None:
    """A notebook without outputs would pass without comparing anything."""
    if file_path.suffix == ".ipynb" and parent.config.getoption("nbval", False):
        check(json.loads(file_path.read_text(encoding="utf-8")), file_path.name)
