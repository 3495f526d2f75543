"""Folders that we write to: files are whole or absent, and what is ours to remove is told by a marker and a list.

A folder of ours holds a marker, `.coordexp-audit`: a first line that says what the folder is, then a line of JSON for
each file that was written into it, with the digest of what was written. A line stands there before its file does, so
that the list is right whenever a process ends. What is not on it, or was changed since, is the user's and is never
removed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from coordexp_audit_lib.core.errors import UsageError, unusable
from coordexp_audit_lib.core.reading import content

MARKER = ".coordexp-audit"
SCHEMA = "coordexp-audit-folder/1"
PASSING = "*"  # in the place of a digest: of a random name, under which only we write for a while
MOST_LISTED = 64 << 20
_NAME = re.compile(r"(?:(?!\.\.?/)[^/]+/)*\.passing-[0-9a-f]{16}(?:\.\w+)?")  # below the folder, whoever wrote the line
NEW = "move it away, or give a new folder"


class OwnFolder:
    """A folder that bears our marker.

    Raises:
        UsageError: it bears none, or that of a folder of another kind.
    """

    def __init__(self, root: Path, kind: str) -> None:
        self.root, self.list = root.absolute(), root.absolute() / MARKER
        self._lock: int | None = None
        try:
            first, *lines = content(self.list, MOST_LISTED).decode("utf-8").splitlines()
            said = json.loads(first)
            rows = [json.loads(line) for line in lines]
            known = [(str(d), str(n)) for d, n in rows if d != PASSING or _NAME.fullmatch(str(n))]
            if self.list.is_symlink():
                raise ValueError("the marker is a link")
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(f"it holds no {kind} of ours", where=str(root), remedy=NEW) from error
        if not isinstance(said, dict) or said.get("schema") != SCHEMA or said.get("kind") != kind:
            raise UsageError(f"it holds no {kind} of ours", where=str(root), remedy=NEW)
        self.known = set(known)

    @classmethod
    def claim(cls, root: Path, kind: str) -> OwnFolder:
        """The folder as ours: one that bears our marker already, or a new or empty one.

        Raises:
            UsageError: it is a file, cannot be made, or holds anything else.
        """
        root = root.resolve() if root.is_dir() else root
        with usable(root):
            if not (root / MARKER).exists():
                if any(root.iterdir()):
                    raise UsageError(f"it is not empty and holds no {kind} of ours", where=str(root), remedy=NEW)
                _new(root / MARKER, json.dumps({"schema": SCHEMA, "kind": kind}).encode() + b"\n")
        return cls(root, kind)

    def lock(self) -> None:
        """Have it alone until `unlock` or the end of this process, and remove what another left half-done.

        Raises:
            UsageError: another process has it.
        """
        self._lock = os.open(self.list, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.unlock()
            remedy = "wait until it has ended, or give another folder"
            raise UsageError("another process of ours is writing to it", where=str(self.root), remedy=remedy) from error
        except OSError:  # a file system without locks
            pass
        self.sweep()

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def note(self, path: Path, digest: str) -> None:
        """Put on the list what is about to be written."""
        name = path.absolute().relative_to(self.root).as_posix()
        self.known.add((digest, name))
        line = json.dumps([digest, name]).encode() + b"\n"
        fd = os.open(self.list, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.write(fd, line)
        finally:
            os.close(fd)

    def passing(self, suffix: str = "", below: str = "") -> Path:
        """A name for a file or folder of ours that is not to stay; `sweep` removes what is left of it."""
        path = self.root / below / f".passing-{secrets.token_hex(8)}{suffix}"
        self.note(path, PASSING)
        return path

    def adopt(self, path: Path, place: Path) -> None:
        """Put a passing folder at its place, where nothing is, with every file of it on the list."""
        for file in _entries(path):
            self.note(place / file.relative_to(path), _digest(file))
        path.replace(place)

    def drop(self, folder: Path) -> None:
        """Remove a folder below, if it is there.

        Raises:
            UsageError: it holds something that is not ours.
        """
        if folder.exists():
            self.refuse_foreign(folder)
            removed(folder)

    def sweep(self) -> None:
        """Remove what is passing."""
        for digest, name in self.known:
            if digest == PASSING:
                removed(self.root / name)

    def refuse_foreign(self, below: Path | None = None) -> None:
        """Refuse to go on where the folder, or one below it, holds what is not ours. Folders of ours in it answer for
        themselves.

        Raises:
            UsageError: it does.
        """
        entries = _entries(below or self.root)
        inner = {p.parent: o for p in entries if p.name == MARKER and p != self.list and (o := _known(p.parent))}
        foreign = [p for p in entries if not next((inner[f] for f in p.parents if f in inner), self).knows(p)]
        if foreign:
            more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
            first = foreign[0].relative_to(self.root).as_posix()
            what = f"it holds files that we did not write, or that were changed since: {first}{more}"
            raise UsageError(what, where=str(self.root), remedy="move them away, or give a new folder")

    def knows(self, path: Path) -> bool:
        """Whether a file below is ours: on the list, as it was written."""
        name = path.relative_to(self.root)
        if path == self.list or any((PASSING, part.as_posix()) in self.known for part in (name, *name.parents)):
            return True
        return not path.is_symlink() and path.is_file() and (_digest(path), name.as_posix()) in self.known

    def clear(self) -> None:
        """Remove what is ours, which must be all, and the folder with it.

        Raises:
            UsageError: it holds something else; then nothing is removed.
        """
        self.refuse_foreign()
        self.sweep()
        for path in _entries(self.root):
            if path != self.list:
                path.unlink(missing_ok=True)
        self.list.unlink(missing_ok=True)  # last, so that it can be gone on with
        for folder, _, _ in os.walk(self.root, topdown=False):
            with contextlib.suppress(OSError):  # one that is not empty stays
                Path(folder).rmdir()

    def leave_empty(self) -> None:
        """Remove the folder if it holds nothing but the marker."""
        if [p.name for p in self.root.iterdir()] == [MARKER]:
            self.clear()


def write_atomically(path: Path, text: str | bytes) -> Path:
    """Write UTF-8 text (or bytes) so that a reader never sees half of it; the folder is made if need be.

    Raises:
        UsageError: it cannot be written; what was there before is still there.
    """
    return write_together({path: text})[0]


def write_together(texts: Mapping[Path, str | bytes]) -> list[Path]:
    """Write several files, none of them if one can't be written.

    Raises:
        UsageError: one cannot be written; what was there before is still there.
    """
    waiting: dict[Path, Path] = {}
    with contextlib.ExitStack() as folders:
        try:
            for path, text in texts.items():
                with _told(path):
                    folders.enter_context(made(path.parent))
                    data = text.encode("utf-8") if isinstance(text, str) else text
                    waiting[path] = temporary = path.with_name(f".passing-{secrets.token_hex(8)}")
                    owner = _owner(path)
                    if owner is not None:
                        owner.note(temporary, PASSING)
                        owner.note(path, hashlib.sha256(data).hexdigest())
                    _new(temporary, data)
            for path, temporary in waiting.items():
                with _told(path):
                    temporary.replace(path)
        finally:
            for temporary in waiting.values():
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
    return list(texts)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the system refuses meanwhile is told of this path."""
    try:
        yield
    except OSError as error:
        raise unusable(error, str(path)) from error


@contextlib.contextmanager
def usable(folder: Path) -> Iterator[Path]:
    """The folder, made if need be and known to be writable.

    Raises:
        UsageError: it cannot be made or written to.
    """
    with made(folder):
        probe = folder / f".passing-{secrets.token_hex(8)}"
        with _told(folder):
            _new(probe, b"x")
            probe.unlink()
        yield folder


@contextlib.contextmanager
def made(folder: Path) -> Iterator[Path]:
    """The folder, made if need be; what was made of it is gone again at the end if nothing came into it.

    Raises:
        UsageError: it cannot be made.
    """
    new: list[Path] = []
    try:
        try:
            for place in [*reversed(folder.parents), folder]:
                if not place.exists():
                    place.mkdir()
                    new.append(place)
            if not folder.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "it is a file, not a folder", str(folder))
        except FileExistsError as error:
            raise UsageError("it is a link that leads nowhere", where=str(folder), remedy=NEW) from error
        except OSError as error:
            raise unusable(error, str(folder)) from error
        yield folder
    finally:
        for place in reversed(new):
            with contextlib.suppress(OSError):
                place.rmdir()


def _owner(path: Path) -> OwnFolder | None:
    """The folder of ours that the path is to lie in."""
    return next((o for f in [*path.absolute().parents][:4] if (f / MARKER).is_file() and (o := _known(f))), None)


def _known(folder: Path) -> OwnFolder | None:
    """A folder of ours of whatever kind; None where it is none."""
    try:
        kind = json.loads(content(folder / MARKER, MOST_LISTED).split(b"\n", 1)[0])["kind"]
        return OwnFolder(folder, kind)
    except (OSError, ValueError, TypeError, KeyError, UsageError):
        return None


def _new(path: Path, data: bytes) -> None:
    """Write a file that was not there; on failure there is none."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def _digest(path: Path) -> str:
    made = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            made.update(part)
    return made.hexdigest()


def _entries(root: Path) -> list[Path]:
    """Everything below that is no folder; of an unreadable folder, the folder."""
    found: list[Path] = []

    def unread(error: OSError) -> None:
        found.append(Path(str(error.filename)))

    for folder, folders, files in os.walk(root, onerror=unread):
        found += [Path(folder) / name for name in files]
        found += [Path(folder) / name for name in folders if (Path(folder) / name).is_symlink()]
    return sorted(found)


def removed(path: Path) -> None:
    """Remove a file or a folder of ours with all that is in it; links are not followed."""
    with contextlib.suppress(OSError):
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink()
            return
        for folder, folders, files in os.walk(path, topdown=False):
            for name in files + [f for f in folders if (Path(folder) / f).is_symlink()]:
                (Path(folder) / name).unlink()
            Path(folder).rmdir()
