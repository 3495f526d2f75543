"""From the word that a user gives for a target to the target."""

from __future__ import annotations

from pathlib import Path

from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.target import Target
from coordexp_audit_lib.targets.recording import SUFFIX, RecordingTarget, packaged, read_recording
from coordexp_audit_lib.targets.reference import ReferenceTarget

DEFAULT = "coordexp-b46e74f"


def _from_file(path: Path) -> RecordingTarget:
    recording = read_recording(path)
    return RecordingTarget(recording, recording.target.name)


def open_target(word: str = DEFAULT, *, python: str | None = None) -> Target:
    """Open a target: `reference`, a packaged recording's name, a recording file, or a checkout's folder.

    Args:
        python: the checkout's interpreter; ignored for the other kinds.

    Raises:
        UsageError: the word names nothing that can be audited.
    """
    if word == "reference":
        return ReferenceTarget()
    if word in packaged():
        return RecordingTarget(read_recording(packaged()[word]), word)
    path = Path(word).expanduser()
    if path.is_file() and path.name.endswith(SUFFIX):
        return _from_file(path)
    if path.is_dir():
        from coordexp_audit_lib.targets.checkout import CheckoutTarget

        return CheckoutTarget(path, python=python)
    known = ", ".join(["reference", *packaged()])
    raise UsageError(f"no target is called {word!r}", where=word, remedy=f"give a checkout's folder or one of: {known}")
