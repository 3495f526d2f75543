"""What a user is told of the walls around a target's processes, and what a user may grant them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from coordexp_audit_lib.core.target import LIVE, TargetInfo
from coordexp_audit_lib.sandbox.limits import Limits
from coordexp_audit_lib.sandbox.walls import TOLD

SECONDS = Limits().waiting


def limits_of(seconds: float = SECONDS, readable: Sequence[str] = ()) -> Limits:
    """The limits of a target's processes.

    Args:
        seconds: for answers that do not come, in all. readable: paths that they may read beside their own.
    """
    places = tuple(str(Path(p).expanduser().resolve()) for p in readable)
    each = min(seconds, Limits().seconds)
    return msgspec.structs.replace(Limits(), waiting=seconds, first_seconds=seconds, seconds=each, readable=places)


def told_walls(info: TargetInfo) -> str:
    """A line on the walls that stand around the processes and on those that this machine does not give; empty for a
    target that has no processes."""
    if info.kind not in LIVE:
        return ""
    lacking = [text for name, text in TOLD.items() if name not in info.walls]
    told = "; ".join(TOLD[name] for name in info.walls) or "none"
    return f"walls around the target: {told}" + (f". Not on this machine: {'; '.join(lacking)}" if lacking else "")
