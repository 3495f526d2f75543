"""Read a run's folder that is not trusted: bounded, without following links out of it, each defect in one line."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.provenance.predicates.checkpoints import INDEX
from coordexp_audit_lib.boundaries.provenance.surfaces import Checkpoint
from coordexp_audit_lib.core.errors import UsageError

MAX_DOCUMENT = 64 << 20
MAX_DEPTH = 64


class Unreadable(Exception):
    """A file that is no sound document; the message is one line and says what is wrong with it."""


class Saved(msgspec.Struct, frozen=True):
    """A checkpoint that is to be judged: a folder by its name. save_only_model: it was to hold the weights alone."""

    root: Path
    name: str
    save_only_model: bool


class Document(msgspec.Struct, frozen=True):
    """A JSON document: its value if it could be read at all, and what is wrong with it."""

    value: Any = None
    defects: list[str] = []
    missing: bool = False


def inside(root: Path, relative: str, limit: int = MAX_DOCUMENT) -> bytes | None:
    """The bytes of a file of the folder; None if there is none.

    Raises:
        Unreadable: it is no regular file, too large, unreadable, or a link that leads out of the folder.
    """
    path = root / relative
    try:
        real = path.resolve()
        if not os.path.lexists(path):
            return None
        if not real.is_relative_to(root.resolve()):
            raise Unreadable("it is a link that leads out of the run's folder")
        status = real.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("it is no regular file")
        if status.st_size > limit:
            raise Unreadable(f"it has {status.st_size} bytes, more than {limit}")
        return real.read_bytes()
    except (OSError, RuntimeError, ValueError) as error:
        raise Unreadable(f"it cannot be read: {getattr(error, 'strerror', None) or error}") from error


def document(root: Path, relative: str) -> Document:
    """Read a JSON document strictly: what JSON does not allow is a defect, even where the value can be understood."""
    try:
        raw = inside(root, relative)
    except Unreadable as error:
        return Document(defects=[str(error)])
    if raw is None:
        return Document(missing=True)
    return parsed(raw)


def parsed(raw: bytes) -> Document:
    """JSON text that must be one object, in UTF-8 without a byte order mark, with unique keys and finite numbers."""
    defects: list[str] = []
    if raw.startswith(b"\xef\xbb\xbf"):
        defects.append("it starts with a byte order mark")
        raw = raw[3:]
    try:
        value = _decoded(raw, defects)
        if not isinstance(value, dict):
            raise Unreadable("it is not an object")
        if too_deep(value):
            raise Unreadable(f"it is nested more than {MAX_DEPTH} deep")
    except Unreadable as error:
        return Document(defects=[*defects, str(error)])
    return Document(value, defects)


def _decoded(raw: bytes, defects: list[str]) -> Any:
    """The JSON value; what JSON does not allow but can be understood goes to `defects`."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) != len(items):
            seen: set[str] = set()
            twice = next(k for k, _ in items if k in seen or seen.add(k))  # type: ignore[func-returns-value]
            defects.append(f"the key {twice[:80]!r} stands twice in one object")
        return made

    def constant(name: str) -> None:
        defects.append(f"it holds {name}, which is no JSON number")

    if not raw.strip():
        raise Unreadable("it is empty")
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is not UTF-8 text (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise Unreadable(f"it is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from error
    except (RecursionError, ValueError, MemoryError) as error:
        raise Unreadable(f"it cannot be parsed: {type(error).__name__}") from error


def too_deep(value: Any) -> bool:
    """Whether mappings and lists are nested deeper than any config is."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [b for v in level for b in (v.values() if isinstance(v, dict) else v) if isinstance(b, (dict, list))]
    return bool(level)


def run_root(folder: Path) -> Path:
    """The folder of a run.

    Raises:
        UsageError: it is none.
    """
    try:
        if folder.is_dir():
            return folder.resolve()
    except (OSError, ValueError):
        pass
    raise UsageError("no such folder", where=str(folder), remedy="give the folder that a run wrote to")


def checkpoints(root: Path) -> list[str]:
    """The names of the checkpoint folders, by step; links are left out."""
    found = [p for p in root.glob("checkpoint-*") if p.is_dir() and not p.is_symlink()]
    return sorted((p.name for p in found), key=lambda n: (len(n), n))


_BITS = {"F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16}
_BITS |= {"I16": 16, "U16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "I8": 8, "U8": 8, "BOOL": 8, "F8_E8M0": 8, "F4": 4}


def header(path: Path) -> dict[str, int]:
    """Tensor names and sizes in bytes of a safetensors file.

    Raises:
        ValueError: it is no whole safetensors file; the message is one line.
    """
    from safetensors import SafetensorError, safe_open

    made = {}
    try:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118  not a mapping
                part = file.get_slice(name)
                size = _BITS.get(str(part.get_dtype()), 8)
                for n in part.get_shape():
                    size *= n
                made[name] = size // 8
    except (SafetensorError, OSError, UnicodeError) as error:
        raise ValueError(" ".join(str(error).split())[:200]) from error
    return made


def checkpoint(root: Path, name: str) -> Checkpoint:
    """What a checkpoint's folder holds."""
    folder = root / name
    files = sorted(p.name for p in folder.iterdir())
    tensors, broken = {}, {}
    for file in files:
        if not file.endswith(".safetensors"):
            continue
        path = folder / file
        try:
            if not path.is_file() or not path.resolve().is_relative_to(root):
                raise ValueError("it is no regular file of the run's folder")
            tensors[file] = header(path)
        except (OSError, ValueError) as error:
            broken[file] = str(error)
    index = document(root, f"{name}/{INDEX}")
    for defect in index.defects:
        broken[INDEX] = defect
    return Checkpoint(files, tensors, broken, None if index.missing else index.value)
