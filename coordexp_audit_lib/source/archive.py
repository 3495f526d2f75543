"""Archives that are read in place. Nothing is ever extracted, and no member's name can point outside."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import IO

from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.reading import regular

MAX_MEMBER = 2 << 20  # bytes of one source file, unpacked
MAX_MEMBERS = 100_000
MAX_TOTAL = 256 << 20  # bytes of all files of one source that are read
WHEEL, SDIST = (".whl", ".zip"), (".tar.gz", ".tgz", ".tar.bz2", ".tar")
_BROKEN = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, KeyError, zlib.error)


class Files:
    """The readable files of a source: POSIX paths, and a way to read one."""

    def __init__(self, names: Iterable[str], read: Callable[[str], bytes], where: str) -> None:
        self.names, self._read, self.where = frozenset(names), read, where
        self._texts: dict[str, str] = {}
        self._unreadable: dict[str, str] = {}  # it is unpacked once to find out
        self._total = 0

    def text(self, name: str) -> str | None:
        """A file's text; None where there is no such file.

        Raises:
            Unreadable: it is there, but too large, cut off or no UTF-8.
        """
        if name not in self.names:
            return None
        if name in self._unreadable:
            raise Unreadable(self._unreadable[name])
        if name not in self._texts:
            try:
                data = self._read(name)
                self._total += len(data)
                if self._total > MAX_TOTAL:
                    raise ValueError(f"more than {MAX_TOTAL} bytes of this source were read before")
                self._texts[name] = data.decode("utf-8-sig")
            except (*_BROKEN, zipfile.BadZipFile, tarfile.TarError) as error:
                broken = isinstance(error, UnicodeDecodeError)
                why = "is no UTF-8" if broken else f"cannot be read: {type(error).__name__}: {error}"
                self._unreadable[name] = f"{name} {why}"
                raise Unreadable(self._unreadable[name]) from error
        return self._texts[name]


class Unreadable(Exception):
    """A file of a package cannot be read or parsed, so that what it defines is not decidable."""


def open_archive(path: Path) -> Files:
    """A wheel or sdist, opened in place. Of an sdist, names are relative to its one top folder (and to its `src/`).

    Raises:
        UsageError: it is none, is cut off, is empty, or has a member whose name leaves the archive.
    """
    try:
        made = _zip(path) if path.name.endswith(WHEEL) else _tar(path)
    except (*_BROKEN, zipfile.BadZipFile, tarfile.TarError) as error:
        what = f"no readable archive: {type(error).__name__}: {error}"
        raise UsageError(what, where=str(path), remedy="download it again") from error
    if not any(n.endswith(".py") for n in made.names):
        raise UsageError("no Python file in it", where=str(path), remedy="give a wheel or an sdist of the package")
    return made


def _zip(path: Path) -> Files:
    regular(path).close()  # it has an end; a `ZipFile` closes only what it opened itself
    archive = zipfile.ZipFile(path)
    sizes = {i.filename: i.file_size for i in archive.infolist() if not i.is_dir()}
    _refuse_strange(sizes, path)

    def read(name: str) -> bytes:
        with archive.open(name) as member:
            return _bounded(member)

    return Files(sizes, read, path.name)


def _tar(path: Path) -> Files:
    """All Python files in one pass: a compressed stream would be unpacked from its beginning for each of them."""
    kept: dict[str, bytes | None] = {}
    total = 0
    with regular(path) as file, tarfile.open(fileobj=file) as archive:
        for count, member in enumerate(archive):
            name = member.name.removeprefix("./")
            if not member.isfile():
                continue
            _refuse_strange([name], path)
            wanted = name.endswith((".py", "PKG-INFO")) and member.size <= MAX_MEMBER
            kept[name] = _bounded(archive.extractfile(member) or io.BytesIO()) if wanted else None
            total += len(kept[name] or b"")
            if total > MAX_TOTAL or count > MAX_MEMBERS:
                raise UsageError("too much for a package", where=str(path), remedy="this is no package's archive")
    return _inside_top(kept, path)


def _inside_top(kept: dict[str, bytes | None], path: Path) -> Files:
    """The files by their names below the one top folder, and below its `src/` where the package lies there."""
    tops = {PurePosixPath(n).parts[0] for n in kept}
    prefix = f"{tops.pop()}/" if len(tops) == 1 else ""
    if any(n.startswith(f"{prefix}src/") and n.endswith("/__init__.py") for n in kept):
        kept = {n.removeprefix(prefix).removeprefix("src/"): data for n, data in kept.items()}
    else:
        kept = {n.removeprefix(prefix): data for n, data in kept.items()}

    def read(name: str) -> bytes:
        data = kept[name]
        if data is None:
            raise ValueError(f"larger than {MAX_MEMBER} bytes")
        return data

    return Files(kept, read, path.name)


def _bounded(stream: IO[bytes]) -> bytes:
    """At most `MAX_MEMBER` bytes, whatever a header says: a small member can unpack to gigabytes."""
    data = stream.read(MAX_MEMBER + 1)
    if len(data) > MAX_MEMBER:
        raise ValueError(f"larger than {MAX_MEMBER} bytes")
    return data


def _refuse_strange(names: Iterable[str], path: Path) -> None:
    listed = list(names)
    if len(listed) > MAX_MEMBERS:
        raise UsageError(f"{len(listed)} members", where=str(path), remedy="this is no package's archive")
    for name in listed:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name or name[1:2] == ":":
            what = f"the member {name!r} points outside the archive"
            raise UsageError(what, where=str(path), remedy="do not install or read this file")


def open_folder(root: Path, prefix: str = "") -> Files:
    """The files below a folder, each name with a prefix; links are left out, so that nothing outside is read."""
    names = []
    for top, inside, files in os.walk(root):
        folder = Path(top)
        inside[:] = sorted(d for d in inside if not d.startswith(".") and not (folder / d).is_symlink())
        names += [prefix + (folder / f).relative_to(root).as_posix() for f in files if not (folder / f).is_symlink()]
        if len(names) > MAX_MEMBERS:
            raise UsageError("too many files", where=str(root), remedy="give the folder that holds the package")

    def read(name: str) -> bytes:
        with regular(root / name.removeprefix(prefix)) as stream:
            return _bounded(stream)

    return Files(names, read, root.name)
