"""From the word that a user gives for a target to the target."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.target import Target
from coordexp_audit_lib.sandbox.limits import Limits
from coordexp_audit_lib.targets.recording import SUFFIX, Recording, RecordingTarget, packaged, read_recording
from coordexp_audit_lib.targets.reference import ReferenceTarget


def default() -> str:
    """The target that is audited where none is named: the first recording that comes along."""
    return next(iter(packaged()))


@lru_cache(maxsize=1)  # what comes along stays as it is, and each page of a run opens it anew
def _comes_along(path: Path) -> Recording:
    return read_recording(path)


def open_target(
    word: str = "",
    *,
    python: str | None = None,
    adapter: Path | None = None,
    config: str = "",
    limits: Limits | None = None,
) -> Target:
    """Open a target: `reference`, a packaged recording's name, a recording file, or a checkout's folder.

    Args:
        word: "" is the `default`; with an adapter, the folder of the pipeline's source or "".
        python: the checkout's or adapter's interpreter. limits: of its processes.
        adapter: a file that describes the pipeline. config: what it is given.

    Raises:
        UsageError: the word names nothing that can be audited, or an interpreter is named for what has none.
    """
    if adapter is not None:
        from coordexp_audit_lib.targets.adapter import AdapterTarget

        if word and not Path(word).expanduser().is_dir():
            raise UsageError("there is no such folder", where=word, remedy="give that of the pipeline's source")
        root = Path(word).expanduser() if word else None
        return AdapterTarget(adapter, python=python, root=root, config=config, limits=limits)
    word = word or default()
    if python and not Path(word).expanduser().is_dir():
        remedy = "leave it out, or give a checkout's folder as the target"
        raise UsageError("an interpreter has no effect on a target that is no checkout", where=word, remedy=remedy)
    if word == "reference":
        return ReferenceTarget()
    if word in packaged():
        return RecordingTarget(_comes_along(packaged()[word]), word)
    path = Path(word).expanduser()
    if path.is_file() and path.name.endswith(SUFFIX):
        recording = read_recording(path)
        return RecordingTarget(recording, recording.target.name)
    if path.is_dir():
        from coordexp_audit_lib.targets.checkout import CheckoutTarget

        return CheckoutTarget(path, python=python, limits=limits)
    known = ", ".join(["reference", *packaged()])
    raise UsageError(f"no target is called {word!r}", where=word, remedy=f"give a checkout's folder or one of: {known}")
