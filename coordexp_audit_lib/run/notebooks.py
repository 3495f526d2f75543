"""Run notebooks with papermill, side by side, from one process; what is done already is not run again."""

from __future__ import annotations

import contextlib
import logging
import queue
import re
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import msgspec
import nbformat

from coordexp_audit_lib.core.errors import UsageError, one_line
from coordexp_audit_lib.core.evidence import digest
from coordexp_audit_lib.core.folder import OwnFolder, write_atomically

PARAMETERS = ("target", "python", "config", "out", "seed", "fail_on")  # what every notebook takes
WORKERS = 2
# What a kernel runs before each notebook that shares it: an empty namespace, and modules that stay imported. To look
# for cycles took a quarter of a page's time, and frees little: 24 pages in one process take 550 MB without.
EMPTY = """
import gc, sys
gc.set_threshold(500_000, 20, 1000)
if "matplotlib.pyplot" in sys.modules:
    sys.modules["matplotlib.pyplot"].close("all")
    sys.modules["matplotlib"].rcdefaults()
    get_ipython().run_line_magic("matplotlib", "inline")
get_ipython().reset(new_session=True)
"""


class Job(msgspec.Struct, frozen=True):
    """One notebook with its parameters, and where the executed one goes."""

    source: Path
    output: Path
    parameters: dict[str, Any]
    findings: Path = Path()  # what it is to leave beside its output

    @property
    def key(self) -> str:
        """Changes when the notebook or a parameter does; kept in the executed notebook, so that a run can resume."""
        return digest([digest(self.source.read_bytes()), self.parameters])


class Failed(msgspec.Struct, frozen=True):
    """A notebook that raised."""

    job: Job
    reason: str


def check_parameters(source: Path, given: dict[str, Any]) -> None:
    """Refuse parameters that the notebook does not have: papermill would only warn, and its defaults would win.

    Raises:
        UsageError: no cell is tagged `parameters`, or a name is unknown.
    """
    notebook = nbformat.read(source, as_version=4)
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if len(tagged) != 1:
        remedy = "tag the cell with the defaults `parameters`"
        raise UsageError(f"{len(tagged)} cells are tagged `parameters`, not 1", where=source.name, remedy=remedy)
    from papermill.inspection import inspect_notebook  # 1.2 s to import, so only where it is needed

    known = inspect_notebook(str(source))
    for name in given:
        if name not in known:
            raise UsageError(
                f"the notebook has no parameter {name!r}", where=source.name, remedy=f"use {', '.join(known)}"
            )


def run_jobs(
    jobs: Sequence[Job], own: OwnFolder, *, workers: int = WORKERS, progress: Callable[[str], None] | None = None
) -> list[Failed]:
    """Run the jobs that are not done; returns those that raised (their output shows the error).

    Args:
        own: the folder that the outputs lie in; what kernels write for themselves goes to a folder in it, too.
    """
    todo = [job for job in jobs if not is_done(job)]
    for source, names in {(job.source, tuple(job.parameters)) for job in todo}:
        check_parameters(source, dict.fromkeys(names))
    if progress:
        for job in jobs:
            if job not in todo:
                progress(job.output.stem)
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in todo:
        waiting.put(job)
    crew = Crew(own, waiting, progress)
    with ThreadPoolExecutor(max_workers=workers) as pool, _quiet():
        futures = [pool.submit(crew.work) for _ in range(min(workers, len(todo)))]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            crew.stop()
            raise
    return sorted(crew.failed, key=lambda f: f.job.output.name)


class Crew:
    """Threads that run jobs, each on one kernel until none is left."""

    def __init__(
        self, own: OwnFolder, waiting: queue.SimpleQueue[Job], progress: Callable[[str], None] | None = None
    ) -> None:
        self.own, self.waiting, self.progress = own, waiting, progress
        self.failed: list[Failed] = []
        self.kernels: list[Any] = []
        self.stopped = threading.Event()

    def stop(self) -> None:
        """End at once: what is under way is not waited for."""
        self.stopped.set()
        for kernel in self.kernels:
            kernel.kill()

    def work(self) -> None:
        from coordexp_audit_lib.run.kernel import SharedKernel  # papermill takes 1.2 s to import

        with SharedKernel(self.own.passing()) as kernel:
            self.kernels.append(kernel)
            while not self.stopped.is_set():
                try:
                    job = self.waiting.get_nowait()
                except queue.Empty:
                    return
                reason = _run(job, kernel.manager(), self.own)
                if self.stopped.is_set():
                    return
                if reason:
                    self.failed.append(Failed(job, reason))
                if self.progress:
                    self.progress(job.output.stem)


def is_done(job: Job) -> bool:
    """Whether the output is there, complete, and of this very notebook and these parameters, with its findings."""
    if not job.output.is_file() or (job.findings.name and not job.findings.is_file()):
        return False
    try:
        notebook = nbformat.read(job.output, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, OSError, UnicodeDecodeError):
        return False
    return bool(notebook.metadata.get("coordexp_audit") == job.key)


def _run(job: Job, manager: Any, own: OwnFolder) -> str:
    """Execute one notebook on a running kernel; returns why it failed, or nothing."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import execute_notebook

    from coordexp_audit_lib.run.kernel import ENGINE

    temporary = own.passing(".ipynb")
    reason = ""
    try:
        execute_notebook(
            _literal(job.source),
            _literal(temporary),
            parameters=job.parameters,
            progress_bar=False,
            log_output=False,
            request_save_on_cell_execute=False,
            kernel_name="python3",
            engine_name=ENGINE,
            km=manager,
        )
    except PapermillExecutionError as error:
        reason = one_line(f"{error.ename}: {error.evalue}")
    except (DeadKernelError, CellTimeoutError) as error:
        reason = one_line(f"{type(error).__name__}: {error}")
        shutil.copyfile(job.source, temporary)
    notebook = nbformat.read(temporary, as_version=4)
    temporary.unlink()
    normalise(notebook)
    if not reason:
        notebook.metadata["coordexp_audit"] = job.key
    write_atomically(job.output, nbformat.writes(notebook) + "\n")
    return reason


def _literal(path: Path) -> str:
    """A path as papermill takes it: absolute, for it knows schemes; and it fills in parameters between braces."""
    return str(path.absolute()).replace("{", "{{").replace("}", "}}")


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Remove what differs from run to run: papermill's times, paths and ids, and the kernel's version."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata["language_info"] = {"name": "python"}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.source = _without_paths(cell.source)


def _without_paths(source: str) -> str:
    """The injected parameters as a reader should see them: folders of this machine are left out."""
    lines = [line for line in source.splitlines() if not line.startswith(("# Parameters", "out = "))]
    return "\n".join(re.sub(r'^(target|python) = ".*/', r'\1 = "', line) for line in lines)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep papermill's and the kernel client's chatter off stderr, where the progress bar is."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(before)


def lacking_outputs(path: Path) -> str:
    """Why a notebook's page would show nothing, or an empty text."""
    notebook = nbformat.read(path, as_version=4)
    code = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
    if not code or not any(c.outputs for c in code) or any(c.execution_count is None for c in code):
        return "its outputs are stripped"
    return ""
