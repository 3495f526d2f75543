"""Errors of the audit. Each is one line with four parts: what, where, expected and found, remedy."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any

_OTHER = "give a place that there is and that can hold it"
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free space there, or give another place"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "give a place that you may read and write"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit of open files (`ulimit -n`)"),
    errno.ENOMEM: "free memory",
    errno.EFBIG: "give a smaller file, or raise the limit of file sizes",
    errno.EILSEQ: "give a name in UTF-8",
}


class AuditError(Exception):
    """An error that a user can act on.

    Args:
        what: what is wrong, in one line, with what was expected and found.
        where: path, dotted key, token position or surface name; empty if there is none.
        remedy: what to do about it; empty only where nothing can be done.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(one_line(what, where, remedy))

    def __reduce__(self) -> tuple[Any, ...]:
        """An error of a worker's process reaches the process that waits for it whole."""
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[AuditError], args: tuple[Any, ...]) -> AuditError:
    return kind.__new__(kind, *args)


class UsageError(AuditError):
    """The command line, the config or the target is unusable (exit status 2)."""


class SurfaceUnbound(AuditError):
    """The target has no such surface. A finding becomes `unbound`, never `held`."""


class CaseUnsupported(SurfaceUnbound):
    """The target has the surface and not what this one case asks for: the other cases decide the claim without it."""


class SurfaceFailed(AuditError):
    """The target could not answer: crash, hang, flood, malformed answer. A finding becomes `error`."""


class TargetRefused(AuditError):
    """The target refused an input that it was expected to accept and no check judged the refusal."""


class InvariantViolation(AuditError):
    """Raised by a guard: a live object breaks an invariant, so training must not go on."""

    def __init__(
        self, invariant: str, what: str, *, where: str = "", remedy: str = "", expected: Any = None, actual: Any = None
    ) -> None:
        self.invariant, self.expected, self.actual = invariant, expected, actual
        super().__init__(f"[{invariant}] {what}", where=where, remedy=remedy)


def unusable(error: OSError, where: str = "") -> UsageError:
    """What the system refused, as a user can act on it.

    Args:
        where: the place, where the error names none or one of ours.
    """
    place = where or str(error.filename or "")
    what = error.strerror or str(error) or type(error).__name__
    return UsageError(f"{what[:1].lower()}{what[1:]}", where=place, remedy=_REMEDIES.get(error.errno or 0, _OTHER))


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """A remedy for a word that is not known: the nearest that is, else what else helps."""
    close = nearest(word, known)
    return f"did you mean {close}?" if close else otherwise


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like it; "" where none is."""
    import difflib  # only who errs needs it

    return next(iter(difflib.get_close_matches(word, list(known), n=1)), "")


def one_line(what: str, where: str = "", remedy: str = "") -> str:
    """Join the parts into one line without control characters."""
    text = f"{where}: {what}" if where else what
    if remedy:
        text = f"{text.rstrip('.')}. Remedy: {remedy}"
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
