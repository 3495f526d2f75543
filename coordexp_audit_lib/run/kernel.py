"""A kernel that several notebooks share, one after the other: each finds an empty namespace and imported modules.

Starting a kernel and importing costs more than all that most pages compute. This is papermill's own extension point
for engines; the notebooks do not notice.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop
from nbclient.util import run_sync
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines

from coordexp_audit_lib.core.folder import removed
from coordexp_audit_lib.run.notebooks import EMPTY
from coordexp_audit_lib.sandbox.supervisor import SET_PDEATHSIG
from coordexp_audit_lib.sandbox.walls import control

ENGINE = "coordexp-audit-shared-kernel"
CELL_TIMEOUT = 600  # seconds
QUIET = [
    "--IPKernelApp.log_level=50",  # it warns on stderr, where the progress bar is, that loopback is not encrypted
    "--InlineBackend.print_figure_kwargs={'bbox_inches': None}",  # our figures lay themselves out; no second drawing
]


class SharedKernel:
    """One worker's kernel; used from one thread only, because its client lives on that thread's event loop.

    Args:
        folder: for what a kernel writes for itself (connection, history, temporary files); removed at the end.
    """

    def __init__(self, folder: Path) -> None:
        self._manager: Any = None
        self.folder = folder

    def manager(self) -> Any:
        """The running kernel's manager; a kernel that died is replaced."""
        if self._manager is None or not run_sync(self._manager._async_is_alive)():
            self.close()
            self.folder.mkdir(mode=0o700, exist_ok=True)
            connection = str(self.folder / "connection.json")
            self._manager = AsyncKernelManager(kernel_name="python3", connection_file=connection)
            start = run_sync(self._manager._async_start_kernel)
            start(extra_arguments=QUIET, env=_environment(self.folder), preexec_fn=_bound_to(os.getpid()))
        return self._manager

    def kill(self) -> None:
        """End the kernel from another thread; who waits for its answer is told that it died."""
        process = getattr(getattr(self._manager, "provisioner", None), "process", None)
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the kernel at once: nothing in it is worth a grace period."""
        if self._manager is not None:
            run_sync(self._manager._async_shutdown_kernel)(now=True)
            self._manager = None
        removed(self.folder)

    def __enter__(self) -> SharedKernel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
        ensure_event_loop().close()  # the clients made one for this thread and leave it open


def _environment(folder: Path) -> dict[str, str]:
    """Ours, but that the kernel keeps what it writes in the folder; matplotlib's cache only where it has no home."""
    own = {"IPYTHONDIR": str(folder / "ipython"), "TMPDIR": str(folder)}
    if not os.access(Path.home(), os.W_OK):
        own["MPLCONFIGDIR"] = str(folder / "matplotlib")
    return {**os.environ, **own}


def _bound_to(parent: int) -> Callable[[], None]:
    """What the kernel's process does first: it is never to outlive the one that started it."""

    def prepare() -> None:
        control(SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


class _Client(PapermillNotebookClient):  # type: ignore[misc]
    """Empties the namespace before the first cell."""

    def papermill_execute_cells(self) -> None:
        self.wait_for_reply(self.kc.execute(EMPTY, silent=True, store_history=False))
        super().papermill_execute_cells()


class _Engine(NBClientEngine):  # type: ignore[misc]
    """Executes on the kernel whose manager is given as `km`."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, km: Any = None, **_: Any) -> Any:
        client = _Client(nb_man, km=km, kernel_name=kernel_name, timeout=CELL_TIMEOUT)
        try:
            return client.execute()
        finally:
            if client.kc is not None:
                client.kc.stop_channels()


papermill_engines.register(ENGINE, _Engine)
