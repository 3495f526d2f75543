"""How the workers of a training data loader begin: their random numbers, and a stream's first samples.

Each leaves one small file in the inbox's folder, which is read when an epoch ends and then gone. Only the training
loader is listened to. Standard library only at import time.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SUFFIX = ".worker"
ROWS = 8


class LoaderWatch:
    """Listens to a loader's workers. folder: where they leave what they tell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found: dict[int, list[dict[str, Any]]] = {}

    def began(self, loader: Any) -> None:
        """Before the loader starts its workers."""
        inner = getattr(loader, "base_dataloader", loader)
        if getattr(inner, "num_workers", 0) < 2:
            return
        started = Started(inner.worker_init_fn, self.folder)
        inner.worker_init_fn = started
        if is_stream(inner.dataset):
            inner.collate_fn = FirstRows(inner.collate_fn, self.folder)

    def read(self) -> None:
        """Take in what the workers left."""
        for file in sorted(self.folder.glob(f"*{SUFFIX}")):
            try:
                told = json.loads(file.read_text(encoding="utf-8"))
            except ValueError:  # it is being written
                continue
            self.found.setdefault(told["loader"], []).append(told)
            file.unlink(missing_ok=True)
        while len(self.found) > 2:  # of the first passes over the data
            self.found.popitem()

    def seen(self) -> list[dict[str, Any]]:
        """What is known of each pass over the data, as the fields of `epochs.Workers`."""
        made: list[dict[str, Any]] = []
        for told in self.found.values():
            states: dict[str, dict[int, str]] = {}
            rows = {t["worker"]: t["rows"] for t in told if "rows" in t}
            for one in (t for t in told if "states" in t):
                for source, state in one["states"].items():
                    states.setdefault(source, {})[one["worker"]] = state
            made.append({"states": states, "rows": rows})
        return made


class Started:
    """A worker's own beginning, and then what its random numbers are."""

    def __init__(self, begin: Callable[[int], Any] | None, folder: Path) -> None:
        self.begin, self.folder = begin, folder

    def __call__(self, worker: int) -> None:
        if self.begin is not None:
            self.begin(worker)
        left(self.folder, "states", random_states())


class FirstRows:
    """A collator that tells, in a worker, which samples it is given first. Its attributes are the collator's."""

    def __init__(self, collate: Callable[[Any], Any], folder: Path) -> None:
        self.collate, self.folder, self.told = collate, folder, False

    def __call__(self, rows: Any) -> Any:
        if not self.told and isinstance(rows, list):
            self.told = True
            known = [digest for row in rows[:ROWS] if (digest := digest_of(row))]
            left(self.folder, "rows", known)
        return self.collate(rows)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "collate":
            raise AttributeError(name)
        return getattr(self.collate, name)


def left(folder: Path, what: str, value: Any) -> None:
    """Leave a file, if this is a worker. A folder that can't be written costs this check and nothing else."""
    from torch.utils.data import get_worker_info

    info = get_worker_info()
    if info is None:
        return
    told = {"loader": info.seed - info.id, "worker": info.id, what: value}
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        waiting = folder / f".{what}-{info.seed}"
        waiting.write_text(json.dumps(told), encoding="utf-8")
        waiting.replace(folder / f"{what}-{info.seed}{SUFFIX}")
    except OSError:
        return


def random_states() -> dict[str, str]:
    """A digest of each source of random numbers in this process."""
    import torch

    states: dict[str, Any] = {"random": random.getstate(), "torch": torch.get_rng_state().numpy().tobytes()}
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        states["numpy.random"] = numpy.random.get_state()
    return {name: digest_of(state) for name, state in states.items()}


def digest_of(value: Any) -> str:
    """A digest of a value's content; empty where it can't be read."""
    try:
        content = pickle.dumps(value, protocol=4)
    except Exception:  # whatever a sample's own code raises
        return ""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def is_stream(dataset: Any) -> bool:
    """Whether a data set is read one after the other."""
    from torch.utils.data import IterableDataset

    return isinstance(dataset, IterableDataset)
