"""A collator that looks at what it collates, also in the processes of a DataLoader."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from coordexp_audit_lib.core.errors import AuditError, UsageError
from coordexp_audit_lib.guards.batches import check_packed_batch, judge_batch, warn
from coordexp_audit_lib.guards.features import Feature, read_features
from coordexp_audit_lib.guards.ranks import error_of
from coordexp_audit_lib.kit.profile import Profile

NOTE = ".note"
UNPACKED = "have the collator return a mapping, or wrap it with packed=False if it does not pack"


_log = logging.getLogger(__name__)


class Inbox:
    """Where collators leave what they found: a list in the process that made it, files for those of a DataLoader.

    A deep copy is the same inbox, for its owner looks nowhere else; one that was unpickled leaves files, wherever it
    is. The files' folder is made by the first that has something to leave.
    """

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.folder = Path(tempfile.gettempdir()) / f"coordexp-audit-{secrets.token_hex(8)}"
        self._found: list[AuditError] = []
        self._notes: dict[str, None] = {}
        self._told = False
        self._name = ""  # of the file, where this one was unpickled

    def put(self, error: AuditError) -> None:
        if os.getpid() == self.owner and not self._name:
            self._found.append(error)
            return
        if self._told:  # a loader goes on collating until the run has stopped
            return
        self._told = True
        told = {n: getattr(error, n) for n in ("what", "where", "remedy")} | {"claim": getattr(error, "invariant", "")}
        self.folder.mkdir(mode=0o700, exist_ok=True)
        written(self.folder / f"{os.getpid()}{self._name}.json", told)

    def tell(self, what: str) -> None:
        """Leave something that stops nothing, once in each process; the process that finds it warns of it."""
        if what in self._notes:
            return
        self._notes[what] = None
        _log.warning("%s", what)
        if os.getpid() != self.owner or self._name:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            written(self.folder / f"{os.getpid()}{self._name}-{len(self._notes)}{NOTE}", {"what": what})

    def notes(self) -> list[str]:
        """What was told, in whatever process."""
        files = (json.loads(f.read_text(encoding="utf-8"))["what"] for f in sorted(self.folder.glob(f"*{NOTE}")))
        return list(dict.fromkeys([*self._notes, *files]))

    def first(self) -> AuditError | None:
        """What was found first, if anything was."""
        if self._found:
            return self._found[0]
        file = min(self.folder.glob("*.json"), default=None)
        return error_of(**json.loads(file.read_text(encoding="utf-8"))) if file else None

    def close(self) -> None:
        if os.getpid() == self.owner:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __deepcopy__(self, memo: dict[int, Any]) -> Inbox:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"owner": self.owner, "folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _found=[], _notes={}, _told=False, _name=f"-{secrets.token_hex(4)}")


def written(file: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document that appears whole or not at all."""
    waiting = file.parent / f".{file.stem}"  # not yet among `*.json`
    waiting.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    waiting.replace(file)


class GuardedCollator:
    """Calls a collator and judges every n-th batch by itself and against what it was made of, in whatever process.

    Args:
        collator: the trainer's own; its attributes stay reachable. every: judge the first batch and every n-th after.
        packing_length: capacity of a pack, in tokens. packed: a batch that is no pack is an error.
        profile: of the model's family, or its name; without it, what each batch shows.
        inbox: where to leave what is found, to be raised at the next check; without one it is raised at once.
    """

    def __init__(
        self,
        collator: Callable[[list[Any]], Any],
        *,
        every: int = 1,
        packing_length: int | None = None,
        packed: bool = True,
        profile: Profile | str | None = None,
        inbox: Inbox | None = None,
    ) -> None:
        self.collator, self.every, self.packing_length, self.profile = collator, every, packing_length, profile
        self.packed, self.inbox, self.seen = packed, inbox, 0
        self.decided = Counter[str]()

    def __call__(self, rows: list[Any], *args: Any, **kwargs: Any) -> Any:
        turn, self.seen = self.seen, self.seen + 1
        looks = bool(self.every) and turn % self.every == 0
        features = read_features(rows) if looks else []
        batch = self.collator(rows, *args, **kwargs)
        if looks:
            try:
                self._judge(batch, features)
            except AuditError as error:
                if self.inbox is None:
                    raise
                self.inbox.put(error)
        return batch

    def _judge(self, batch: Any, features: list[Feature]) -> None:
        if not isinstance(batch, Mapping):
            if self.packed:
                raise UsageError(f"is {type(batch).__name__}, not tensors by name", where="batch", remedy=UNPACKED)
            return
        judge = check_packed_batch if self.packed else judge_batch
        tell = self.inbox.tell if self.inbox is not None else warn
        self.decided.update(judge(batch, self.packing_length, self.profile, features=features, tell=tell))

    def __getattr__(self, name: str) -> Any:
        # How it is copied and pickled is its own affair, and the collator is not there yet while it is unpickled.
        if name == "collator" or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)
        return getattr(self.collator, name)
