"""A share of an audit, done by whoever has the target in reach: which claims to judge or figures to ask for, on what.

A worker of a cluster does it in a process of its own, `python -m coordexp_audit_lib.run.shares`, which gets the share
on standard input and says what came of it on standard output. That process ends when the worker does: it is told by
the end of its input. The target is opened there anew, so a group of claims sees the same wherever it is judged.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import Context, claims, exhibits
from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.target import Target
from coordexp_audit_lib.run.own_claims import load_claims
from coordexp_audit_lib.run.trees import tree_at
from coordexp_audit_lib.targets.contained import SECONDS, limits_of
from coordexp_audit_lib.targets.recording import Recorder
from coordexp_audit_lib.targets.resolve import open_target


class Opening(NamedTuple):
    """What a target is opened by, on any machine that has the same folders.

    word: as the user names it, a path absolute. commit: of the repository there, empty for the tree as it is.
    adapter, config: of an adapter. own: what the audit writes into the tree. names: of the boundaries that are loaded.
    """

    word: str = ""
    commit: str = ""
    python: str | None = None
    adapter: Path | None = None
    config: str = ""
    seconds: float = SECONDS
    readable: tuple[str, ...] = ()
    own: tuple[Path, ...] = ()
    names: tuple[str, ...] | None = None
    claims: tuple[Path, ...] = ()


class Share(NamedTuple):
    """asked: claims by id, each with its config. shown: names of figures of `boundary`. known: answers that are not to
    be asked again, where answers are kept; None where they are not."""

    opening: Opening
    configs: tuple[str, ...]
    seed: int
    asked: tuple[tuple[str, str], ...] = ()
    boundary: str = ""
    shown: tuple[str, ...] = ()
    known: Any = None


def done_apart(share: Share) -> tuple[list[Any], Any]:
    """Do a share in a process of its own; the findings, and what the target has to tell.

    Raises:
        AuditError: the process was killed, or whatever it raised.
    """
    given = pickle.dumps(share)
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(struct.pack(">Q", len(given)) + given)
            process.stdin.flush()  # and stays open: its end is the end of who asks
        said = process.stdout.read()
    if not said:
        remedy = "see whether memory is short"
        raise AuditError("it was killed", where="a process that judges", remedy=remedy)
    error, results, told = pickle.loads(said)
    if error is not None:
        raise error
    return results, told


def done(share: Share) -> tuple[list[Any], Any]:
    """Do a share here."""
    opening = share.opening
    boundaries.load(list(opening.names) if opening.names is not None else None)
    load_claims(opening.claims)
    by_id = {c.id: c for c in claims()}
    with _opened(opening) as live:
        target = live if share.known is None else Recorder(live)
        target.audited = share.configs
        if isinstance(target, Recorder):
            target.know(share.known)
        results: list[Any] = [judge(target, by_id[name], config, share.seed) for name, config in share.asked]
        for name in share.shown:
            show(target, name, share.boundary, share.configs, share.seed)
        return results, target.told()


def show(target: Target, name: str, boundary: str, configs: Sequence[str], seed: int) -> None:
    """Ask what a figure asks."""
    function = exhibits(boundary)[name]
    for config in configs or ("",):
        # The notebook shows why; what was asked is kept. What an adapter leaves unanswered, a figure may not expect.
        with contextlib.suppress(AuditError if target.declaration() is None else Exception):
            function(Context(target, config, seed, name))


@contextlib.contextmanager
def _opened(opening: Opening) -> Iterator[Target]:
    limits = limits_of(opening.seconds, opening.readable)
    with contextlib.ExitStack() as until:
        word = opening.word
        if opening.commit:
            word = str(until.enter_context(tree_at(Path(word), opening.commit)))
        told: dict[str, Any] = {"python": opening.python, "adapter": opening.adapter, "config": opening.config}
        target = until.enter_context(open_target(word, limits=limits, **told))
        target.own = opening.own
        yield target


def _end_with_input(source: int) -> None:
    os.read(source, 1)
    os.kill(os.getpid(), signal.SIGINT)  # as an exception in the main thread, so that what was begun is put away


def _serve() -> None:
    with os.fdopen(os.dup(0), "rb", closefd=False) as given:
        (size,) = struct.unpack(">Q", given.read(8))
        share = pickle.loads(given.read(size))
        said, answer = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        os.dup2(answer, 1)  # what a library prints is no answer
        threading.Thread(target=_end_with_input, args=(given.fileno(),), daemon=True).start()
        try:
            told: tuple[Any, ...] = (None, *done(share))
        except Exception as error:
            told = (
                error if isinstance(error, AuditError) else AuditError(f"{type(error).__name__}: {error}"),
                [],
                None,
            )
    with os.fdopen(said, "wb") as out:
        out.write(pickle.dumps(told))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        _serve()
