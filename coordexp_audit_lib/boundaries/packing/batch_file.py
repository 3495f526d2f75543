"""Read a packed batch from an npz or safetensors file: the known tensors, each as a NumPy array."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing.row import TENSORS, Array
from coordexp_audit_lib.core.errors import UsageError

ZIP, NPY = b"PK", b"\x93NUMPY"
MOST = 16 << 30
REMEDY = f"save a dict with any of {', '.join(TENSORS)} as npz (numpy.savez) or safetensors"


def read(path: Path | str) -> dict[str, Array]:
    """The tensors of `TENSORS` that the file holds; others are left unread. bfloat16 becomes float32.

    Raises:
        UsageError: the file is missing, empty, truncated, of another format, or holds none of the tensors.
    """
    file = Path(path)
    try:
        with file.open("rb") as opened:
            head = opened.read(8)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path), remedy="name a file") from error
    if not head:
        raise UsageError("the file is empty", where=str(path), remedy=REMEDY)
    if head.startswith(NPY[:6]):
        raise UsageError("it holds one array without a name", where=str(path), remedy=REMEDY)
    try:
        found = _npz(file) if head.startswith(ZIP) else _safetensors(file)
    except UsageError:
        raise
    except Exception as error:  # damaged files raise whatever the decoder met first
        kind = "npz" if head.startswith(ZIP) else "safetensors"
        what = f"is no whole {kind} file: {type(error).__name__}: {error}"
        raise UsageError(what, where=str(path), remedy="write it again; it may be truncated") from error
    if not found:
        raise UsageError("holds no tensor of a packed batch", where=str(path), remedy=REMEDY)
    return found


def _npz(file: Path) -> dict[str, Array]:
    with zipfile.ZipFile(file) as parts:
        sizes = {i.filename.removesuffix(".npy"): i.file_size for i in parts.infolist()}
    _bounded(file, {n: s for n, s in sizes.items() if n in TENSORS})
    found: dict[str, Array] = {}
    with np.load(file, allow_pickle=False) as arrays:
        for name in TENSORS:
            if name in arrays.files:
                try:
                    found[name] = np.asarray(arrays[name])
                except (ValueError, EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
                    what = f"{name} can't be read: {error}"
                    raise UsageError(what, where=str(file), remedy="write it again as a plain numeric array") from error
    return found


def _safetensors(file: Path) -> dict[str, Array]:
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        there = set(opened.keys())
        kinds = {n: str(opened.get_slice(n).get_dtype()) for n in TENSORS if n in there}
        found = {n: np.asarray(opened.get_tensor(n)) for n, kind in kinds.items() if kind != "BF16"}
    return found | {n: _bfloat16(file, n) for n, kind in kinds.items() if kind == "BF16"}


def _bfloat16(file: Path, name: str) -> Array:
    """NumPy has no bfloat16: its bits are the upper half of a float32."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        entry: dict[str, Any] = json.loads(opened.read(size))[name]
        start, stop = entry["data_offsets"]
        opened.seek(8 + size + start)
        bits = np.frombuffer(opened.read(stop - start), dtype="<u2").astype(np.uint32) << 16
    return bits.view(np.float32).reshape(entry["shape"])


def _bounded(file: Path, sizes: dict[str, int]) -> None:
    if sum(sizes.values()) > MOST:
        what = f"unpacks to {sum(sizes.values()) >> 30} GiB, more than {MOST >> 30}"
        raise UsageError(what, where=str(file), remedy="leave pixel_values out")
