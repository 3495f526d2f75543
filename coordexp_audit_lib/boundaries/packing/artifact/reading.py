"""From a file to the tensors of a packed batch."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing.artifact.dialects import PLACES, UNPADDED
from coordexp_audit_lib.boundaries.packing.artifact.forms import TENSORS, Array
from coordexp_audit_lib.boundaries.packing.artifact.names import named
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.reading import regular

ZIP, NPY = b"PK", b"\x93NUMPY"
MOST = 16 << 30
READ = {*UNPADDED, *PLACES}
REMEDY = f"save a dict with any of {', '.join(TENSORS)} as npz (numpy.savez) or safetensors"


def read(path: Path | str, every: bool = False) -> dict[str, Array | None]:
    """The tensors that an npz or safetensors file holds, by their names in it: those that a judge reads under any name
    (`names.ALIASES`), and None for each other. bfloat16 becomes float32. every: all tensors, whatever their names.

    Raises:
        UsageError: the file is missing, empty, truncated, of another format, or holds none of the tensors.
    """
    file, where = Path(path), str(path)
    try:
        with regular(file) as opened:
            head = opened.read(8)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=where, remedy="name a file") from error
    kind, decode = ("npz", _npz) if head.startswith(ZIP) else ("safetensors", _safetensors)
    try:
        found = decode(file, every) if head and not head.startswith(NPY) else {}
    except UsageError:
        raise
    except Exception as error:  # damaged files raise whatever the decoder met first
        what = f"is no whole {kind} file: {type(error).__name__}: {error}"
        raise UsageError(what, where=where, remedy="write it again; it may be truncated") from error
    if all(tensor is None for tensor in found.values()):
        unnamed = "it holds one array without a name" if head.startswith(NPY) else "holds no tensor of a packed batch"
        raise UsageError(unnamed if head else "the file is empty", where=where, remedy=REMEDY)
    return found


def _wanted(names: Iterable[str]) -> set[str]:
    """Of the names in a file, those of tensors that a judge reads."""
    by_name = dict.fromkeys(names)
    made = named(by_name, TENSORS)
    return {made.renamed.get(n, n) for n in made.tensors} | {n for n in made.others if n.rpartition(".")[2] in READ}


def _npz(file: Path, every: bool) -> dict[str, Array | None]:
    with zipfile.ZipFile(file) as parts:
        sizes = {i.filename.removesuffix(".npy"): i.file_size for i in parts.infolist()}
    if any(name.endswith("data.pkl") for name in sizes):
        what = "was written by torch.save, and nothing is unpickled here"
        raise UsageError(what, where=str(file), remedy="write it with safetensors.torch.save_file")
    wanted = set(sizes) if every else _wanted(sizes)
    total = sum(s for n, s in sizes.items() if n in wanted)
    if total > MOST:
        what = f"unpacks to {total >> 30} GiB, more than {MOST >> 30}"
        raise UsageError(what, where=str(file), remedy="leave pixel_values out")
    found: dict[str, Array | None] = dict.fromkeys(sizes)
    with np.load(file, allow_pickle=False) as arrays:
        for name in sorted(wanted):
            try:
                found[name] = np.asarray(arrays[name])
            except (ValueError, EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
                what = f"{name} can't be read: {error}"
                raise UsageError(what, where=str(file), remedy="write it again as a plain numeric array") from error
    return found


def _safetensors(file: Path, every: bool) -> dict[str, Array | None]:
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        there = sorted(opened.keys())
        kinds = {n: str(opened.get_slice(n).get_dtype()) for n in (there if every else sorted(_wanted(there)))}
        found: dict[str, Array | None] = dict.fromkeys(there)
        found |= {n: np.asarray(opened.get_tensor(n)) for n, kind in kinds.items() if kind != "BF16"}
    return found | {n: _bfloat16(file, n) for n, kind in kinds.items() if kind == "BF16"}


def _bfloat16(file: Path, name: str) -> Array:
    """NumPy has no bfloat16."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        entry: dict[str, Any] = json.loads(opened.read(size))[name]
        start, stop = entry["data_offsets"]
        opened.seek(8 + size + start)
        bits = np.frombuffer(opened.read(stop - start), dtype="<u2")
    return from_bfloat16(bits).reshape(entry["shape"])


def from_bfloat16(bits: Array) -> Array:
    """float32 of the bits of bfloat16, uint16 in this machine's order: they are its upper half."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
