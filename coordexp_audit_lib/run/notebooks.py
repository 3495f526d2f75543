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

from coordexp_audit_lib.core.errors import AuditError, UsageError, one_line
from coordexp_audit_lib.core.evidence import digest

PARAMETERS = ("target", "python", "config", "out", "seed", "fail_on")  # what every notebook takes
WORKERS = 2


class Job(msgspec.Struct, frozen=True):
    """One notebook with its parameters, and where the executed one goes."""

    source: Path
    output: Path
    parameters: dict[str, Any]

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
    jobs: Sequence[Job], *, workers: int = WORKERS, progress: Callable[[str], None] | None = None
) -> list[Failed]:
    """Run the jobs that are not done; returns those that raised (their output shows the error)."""
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
    failed: list[Failed] = []
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=workers) as pool, _quiet():
        futures = [pool.submit(_work, waiting, stop, failed, progress) for _ in range(min(workers, len(todo)))]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            stop.set()
            raise
    return sorted(failed, key=lambda f: f.job.output.name)


def _work(
    waiting: queue.SimpleQueue[Job], stop: threading.Event, failed: list[Failed], progress: Callable[[str], None] | None
) -> None:
    """Run jobs on one kernel until none is left."""
    from coordexp_audit_lib.run.kernel import SharedKernel  # papermill takes 1.2 s to import

    with SharedKernel() as kernel:
        while not stop.is_set():
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            reason = _run(job, kernel.manager())
            if reason:
                failed.append(Failed(job, reason))
            if progress:
                progress(job.output.stem)


def is_done(job: Job) -> bool:
    """Whether the output is there, complete, and of this very notebook and these parameters."""
    if not job.output.is_file():
        return False
    try:
        notebook = nbformat.read(job.output, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, OSError, UnicodeDecodeError):
        return False
    return bool(notebook.metadata.get("coordexp_audit") == job.key)


def _run(job: Job, manager: Any) -> str:
    """Execute one notebook on a running kernel; returns why it failed, or nothing."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import execute_notebook

    from coordexp_audit_lib.run.kernel import ENGINE

    job.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = job.output.with_name(f".{job.output.name}")
    reason = ""
    try:
        execute_notebook(
            str(job.source),
            str(temporary),
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
    normalise(notebook)
    if not reason:
        notebook.metadata["coordexp_audit"] = job.key
    nbformat.write(notebook, temporary)
    temporary.replace(job.output)
    return reason


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


def require_outputs(path: Path) -> None:
    """Refuse a notebook whose code cells carry no outputs: nbval would compare nothing.

    Raises:
        AuditError: no code cell has run, or none has an output.
    """
    notebook = nbformat.read(path, as_version=4)
    code = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
    if not code or not any(c.outputs for c in code) or any(c.execution_count is None for c in code):
        raise AuditError("its outputs are stripped", where=path.name, remedy="execute it and commit it with outputs")
