"""What a worker may use, and what it sees of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

PASSED_ON = ("PATH", "LD_LIBRARY_PATH")
FOLDERS = ("home", "tmp", "work")
TOKEN = "AUDIT_WORKER_TOKEN"


class Limits(msgspec.Struct, frozen=True):
    """Seconds for an answer, bytes and counts for the rest.

    start_seconds: until the worker itself runs. first_seconds: for the first answer of a surface, which includes
    imports. memory: of all its processes together, and private memory of each; address space may be three times that,
    for libraries are mapped larger than they are used.
    frame: one answer. flood: printed during one question. file: one file, disk: all files of the scratch together.
    writable, readable: what it may write to beside its scratch, and read beside its tree, interpreter and system.
    hangs: after so many questions in a row that were not answered in time, starts: after so many starts in a row that
    failed, no further one is tried. waiting: in all, for answers that do not come, whichever questions they are to.
    """

    start_seconds: float = 60.0
    first_seconds: float = 300.0
    seconds: float = 120.0
    memory: int = 8 << 30
    frame: int = 32 << 20
    flood: int = 64 << 20
    file: int = 1 << 30
    disk: int = 4 << 30
    open_files: int = 1024
    processes: int = 128
    writable: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    starts: int = 3
    hangs: int = 5
    waiting: float = 300.0

    def rlimits(self) -> dict[str, int]:
        """The names of `resource` limits with their values."""
        return {
            "RLIMIT_DATA": self.memory,
            "RLIMIT_AS": 3 * self.memory,
            "RLIMIT_FSIZE": self.file,
            "RLIMIT_NOFILE": self.open_files,
            "RLIMIT_CORE": 0,
        }


def environment(scratch: Path, token: str) -> dict[str, str]:
    """The worker's environment: nothing of ours but the search paths; offline, without a GPU, homes in the scratch.

    Threads are set to one and the hash seed is fixed, so that sums and orders are the same in every run.
    """
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    home = str(scratch / "home")
    return kept | {
        TOKEN: token,
        "HOME": home,
        "TMPDIR": str(scratch / "tmp"),
        "XDG_CACHE_HOME": f"{home}/.cache",
        "HF_HOME": f"{home}/huggingface",
        "MODELSCOPE_CACHE": f"{home}/modelscope",
        "USER": "audit",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "WANDB_MODE": "disabled",
        "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUTF8": "1",
    }
