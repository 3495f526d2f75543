"""A packed batch as it lies in a file or in memory: one row of L tokens, cut into segments, one segment per sample."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.judge import Artifact
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.profile import Profile, of_batch

Array = npt.NDArray[Any]
LARGEST = 1 << 40
INTEGERS, NUMBERS = "iu", "biuf"


class Form(msgspec.Struct, frozen=True):
    """Of a tensor that can be judged. kinds: NumPy's dtype kinds. dims: how many dimensions. least: value."""

    kinds: str
    dims: tuple[int, ...]
    least: int | None = None


FORMS: dict[str, Form] = {
    "input_ids": Form(INTEGERS, (1, 2), 0),
    "labels": Form("i", (1, 2)),
    "position_ids": Form(INTEGERS, (1, 2, 3)),
    "text_position_ids": Form(INTEGERS, (1, 2)),
    "cu_seq_lens_q": Form(INTEGERS, (1,)),
    "cu_seq_lens_k": Form(INTEGERS, (1,)),
    "max_length_q": Form(INTEGERS, (0, 1), 0),
    "max_length_k": Form(INTEGERS, (0, 1), 0),
    "attention_mask": Form(NUMBERS, (1, 2, 3, 4)),
    "lengths": Form(INTEGERS, (1,), 1),
    "image_grid_thw": Form(INTEGERS, (2,), 1),
    "pixel_values": Form("iuf", (2, 3, 4, 5)),
    "video_grid_thw": Form(INTEGERS, (2,), 1),
    "pixel_values_videos": Form("iuf", (2, 3, 4, 5)),
    "second_per_grid_ts": Form("iuf", (1,)),
}
TENSORS = tuple(FORMS)


class Stray(NamedTuple):
    """Entries of a tensor that are no numbers: how many, the first one's place in the flat tensor, and what that is."""

    total: int
    first: int
    value: float


class Outline(msgspec.Struct, frozen=True):
    """What is judged of pixel rows that are compared with no samples, without the rows themselves.

    dtype: as NumPy names it. stray: what of them is no number, if anything is.
    """

    shape: tuple[int, ...]
    dtype: str
    stray: Stray | None = None

    def array(self) -> Array:
        """An array of that shape and dtype that takes no memory; it equals nothing, so that nothing it is compared with
        holds."""
        return np.broadcast_to(np.array(np.nan if "float" in self.dtype else 0).astype(self.dtype), self.shape)


class Unpacked(msgspec.Struct, frozen=True):
    """One sample as it is encoded outside any pack: `input_ids` and `labels` [n], `grid` [images, 3], a digest or the
    content of each pixel row."""

    input_ids: Any
    labels: Any
    grid: Any
    pixel_rows: Any


class PackedRow:
    """Views of the tensors of one packed batch. Nothing is copied but what must be flattened.

    Args:
        tensors: any of `TENSORS`. `input_ids`, `labels`, `text_position_ids`: [1, L] or [L]. `position_ids`: [1, L] or
            [L] (text only), [3, 1, L] or [3, L] (mRoPE), [4, 1, L] or [4, L] (text row, then mRoPE).
            `cu_seq_lens_*`: [S+1]. `lengths`: the samples' own lengths [S]. `pixel_values`: [rows, …].
        profile: of the model's family; by default what the batch itself shows of it. samples: those in the pack, in
            order, as each is encoded by itself. packing_length: the pack's capacity in tokens.
        flaws: tensors that cannot be judged, each with the reason; they are not among `tensors`.
    """

    def __init__(
        self,
        tensors: Mapping[str, Array],
        profile: Profile | None = None,
        *,
        samples: Sequence[Unpacked] = (),
        packing_length: int | None = None,
        flaws: Mapping[str, Problem] | None = None,
    ) -> None:
        self.tensors = {name: np.asarray(a) for name, a in tensors.items() if a is not None}
        self.samples, self.packing_length, self.flaws = samples, packing_length, dict(flaws or {})
        self.profile = profile or of_batch(self.tensors)

    def get(self, name: str) -> Array | None:
        return self.tensors.get(name)

    def missing(self, *names: str) -> list[str]:
        return [n for n in names if n not in self.tensors]

    @cached_property
    def rows(self) -> int:
        """Batch size; a packed batch has one row."""
        a = next((self.tensors[n] for n in ("input_ids", "labels") if n in self.tensors), None)
        return a.shape[0] if a is not None and a.ndim == 2 else 1

    @cached_property
    def length(self) -> int | None:
        """L, the number of tokens."""
        told = [self.get(n) for n in ("input_ids", "labels", "text_position_ids", "position_ids")]
        length = next((int(a.shape[-1]) for a in told if a is not None and a.ndim), None)
        cu = self.get("cu_seq_lens_q")
        return int(cu[-1]) if length is None and cu is not None and cu.size else length

    def flat(self, name: str) -> Array | None:
        """A [1, L] or [L] tensor as [L]; None if it is absent or of another shape."""
        a = self.get(name)
        return a.reshape(-1) if a is not None and a.size == self.length and a.shape[-1:] == (self.length,) else None

    @cached_property
    def labels(self) -> Array | None:
        """The labels [L], unshifted: entry i is the token at i, or is ignored. Where the profile says that they are
        shifted already, the first entry is ignored, and what the last one predicts is not in the pack."""
        labels, shift = self.flat("labels"), self.profile.label_shift
        if labels is None or not shift:
            return labels
        return np.concatenate([np.full(shift, self.profile.ignore_index, labels.dtype), labels[:-shift]])

    @cached_property
    def position_rows(self) -> Array | None:
        """`position_ids` as [rows, L]; None if absent or if it has more than one sequence."""
        a = self.get("position_ids")
        if a is None or a.ndim == 0 or a.shape[-1] != self.length or (a.ndim == 3 and a.shape[1] != 1):
            return None
        return a.reshape(-1, a.shape[-1])

    @cached_property
    def text_positions(self) -> Array | None:
        """The text row [L]: `text_position_ids`, or the row of `position_ids` that is one."""
        if "text_position_ids" in self.tensors:
            return self.flat("text_position_ids")
        rows = self.position_rows
        return rows[0] if rows is not None and len(rows) in (1, self.profile.position_rows) else None

    @cached_property
    def mrope(self) -> Array | None:
        """The temporal, height and width rows [3, L]."""
        rows, count = self.position_rows, self.profile.mrope_rows
        given = rows is not None and count > 0 and len(rows) in (count, self.profile.position_rows)
        return rows[-count:] if given and rows is not None else None

    @cached_property
    def flat_mask(self) -> Array | None:
        """`attention_mask` [L] if it has a value for each token: a flag or a segment's number, 0 where it is hidden.
        None if it is added to the logits, be it of every query alike."""
        mask, flat = self.get("attention_mask"), self.flat("attention_mask")
        added = mask is None or (mask.ndim > 2 and mask.dtype.kind == "f")
        return None if added or flat is None or flat.min(initial=0) < 0 else flat

    @cached_property
    def padding(self) -> int:
        """Where trailing padding begins; L if there is none.

        Padding shows as a rest beyond `lengths`, as zeros at the end of `attention_mask`, or as a run of at least two
        text positions 0 at the end, none of them supervised.
        """
        total = self.length or 0
        lengths, mask, positions, labels = (self.get("lengths"), self.flat_mask, self.text_positions, self.labels)
        found = [total, total if lengths is None else int(lengths.sum())]
        found.append(total if mask is None else total - _tail(mask == 0))
        if positions is not None:
            idle = _tail((positions == 0) & (labels is None or labels == self.profile.ignore_index))
            found.append(total - idle if idle > 1 else total)
        return min(found)

    @cached_property
    def starts(self) -> dict[str, Array]:
        """First tokens of the segments, ascending, as each tensor at hand tells them."""
        found: dict[str, Array] = {}
        for name in ("cu_seq_lens_q", "cu_seq_lens_k"):
            cu = self.get(name)
            if cu is not None and cu.ndim == 1 and cu.size:
                found[name] = cu[:-1]
        if self.text_positions is not None:
            found["text positions"] = np.flatnonzero(self.text_positions == 0)
        if self.mrope is not None:
            found["mRoPE rows"] = np.flatnonzero((self.mrope == 0).all(axis=0))
        lengths = self.get("lengths")
        if lengths is not None:
            ends = np.cumsum(lengths.reshape(-1))
            inner = ends[:-1] if ends.size and ends[-1] >= (self.length or 0) else ends
            found["lengths"] = np.concatenate([[0], inner])
        return found

    @cached_property
    def segments(self) -> Array:
        """Every first token that any tensor names, padding left out: where a context may begin anew."""
        if not self.starts:
            return np.zeros(0, dtype=np.int64)
        union = np.unique(np.concatenate([s.astype(np.int64) for s in self.starts.values()]))
        return union[(union >= 0) & (union < max(self.padding, 1))]


def _tail(flags: Array) -> int:
    """How many of the last entries are true."""
    stops = np.flatnonzero(~flags)
    return len(flags) - int(stops[-1]) - 1 if stops.size else len(flags)


def packed(tensors: Mapping[str, Any], profile: Profile | None = None, packing_length: int | None = None) -> PackedRow:
    """The tensors of a batch from anywhere, apart from those that cannot be judged. Unknown names are left out.

    A tensor of the wrong dtype, shape or values breaks `fields_aligned` and its own claim, and decides no other. An
    `Outline` stands for pixel rows.
    """
    outlines = {n: t for n in TENSORS if isinstance(t := tensors.get(n), Outline)}
    there = [n for n in TENSORS if tensors.get(n) is not None]
    given = {n: outlines[n].array() if n in outlines else np.asarray(tensors[n]) for n in there}
    profile = profile or of_batch(given)
    found = {n: next(_flaws(n, a, profile.ignore_index, outlines.get(n)), None) for n, a in given.items()}
    flaws = {n: p for n, p in found.items() if p is not None}
    good = {n: a.reshape(()) if n.startswith("max_length") else a for n, a in given.items() if n not in flaws}
    return PackedRow(good, profile, packing_length=packing_length, flaws=flaws)


def of_tensors(
    tensors: Mapping[str, Any], packing_length: int | None = None, name: str = "batch", profile: Profile | None = None
) -> Artifact:
    """A batch for the judge, with the dtype and shape of each of its tensors as evidence.

    Args:
        tensors: any of `TENSORS` as arrays (shapes: `PackedRow`); other names are left out.
        packing_length: the pack's capacity, where it is known. name: what the findings call the batch.

    Raises:
        UsageError: none of the tensors is there.
    """
    if not any(n in tensors for n in TENSORS):
        raise UsageError("holds no tensor of a packed batch", where=name, remedy=f"give any of {', '.join(TENSORS)}")
    arrays = {n: np.asarray(tensors[n]) for n in TENSORS if n in tensors}
    shapes = [Evidence("fact", symbol=n, value=f"{a.dtype} {list(a.shape)}") for n, a in arrays.items()]
    return Artifact(packed(tensors, profile, packing_length), name, evidence=lambda: shapes)


def _flaws(name: str, a: Array, ignore_index: int, outline: Outline | None = None) -> Iterator[Problem]:
    """Each way in which a tensor is not of its form; of an outlined one, `a` has the shape and dtype only."""
    form = FORMS[name]
    if a.dtype.kind not in form.kinds:
        wanted = "numbers" if "f" in form.kinds else "signed integers" if form.kinds == "i" else "integers"
        yield Problem(f"{name} is {a.dtype}: {wanted} are expected", expected=wanted, actual=str(a.dtype))
    elif a.ndim not in form.dims:
        wanted = " or ".join(map(str, form.dims))
        yield Problem(f"{name} has {a.ndim} dimensions, {wanted} are expected", expected=wanted, actual=list(a.shape))
    elif a.size == 0:
        yield Problem(f"{name} is empty", expected="at least one entry", actual=list(a.shape))
    elif name.endswith("grid_thw") and a.shape[1] != 3:
        yield Problem(f"{name} has {a.shape[1]} columns: t, h and w are expected", expected=3, actual=a.shape[1])
    elif name.startswith("max_length") and a.size != 1:
        yield Problem(f"{name} has {a.size} values, one is expected", expected=1, actual=a.size)
    elif a.dtype.kind == "f":
        # A mask of floats may hold −inf where it hides; NaN means nothing anywhere.
        found = outline.stray if outline else stray(a, infinities=name == "attention_mask")
        if found is not None:
            first = ", ".join(map(str, np.unravel_index(found.first, a.shape)))
            text = f"{name}[{first}] is {found.value}, the first of {found.total}"
            yield Problem(text, expected="a number", actual=str(found.value))
    elif a.dtype.kind != "b" and outline is None:
        yield from _integers(name, a, form.least, ignore_index)


def stray(a: Array, *, infinities: bool = False) -> Stray | None:
    """The entries of an array of floats that are no numbers; `infinities` are some."""
    if a.dtype.itemsize > 2 and a.flags.c_contiguous:
        flat = a.reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(np.dot(flat, flat)):  # in one pass: whatever is not finite makes the sum so
                return None
    wrong = np.isnan(a) if infinities else ~np.isfinite(a)
    first = int(wrong.argmax())
    return Stray(int(wrong.sum()), first, float(a.flat[first])) if wrong.any() else None


def _integers(name: str, a: Array, least: int | None, ignore_index: int) -> Iterator[Problem]:
    low, high = int(a.min()), int(a.max())
    if high > LARGEST or low < -LARGEST:
        largest = high if high > LARGEST else low
        text = f"{name} holds {largest}, beyond any length or vocabulary"
        yield Problem(text, expected=f"up to {LARGEST}", actual=largest)
    elif least is not None and low < least:
        yield Problem(f"{name} holds {low}, less than {least}", expected=least, actual=low)
    elif name == "labels" and low < min(ignore_index, 0):
        yield Problem(f"{name} holds {low}, less than {ignore_index}", expected=ignore_index, actual=low)
    elif name == "labels" and (stray := a[(a < 0) & (a != ignore_index)]).size:
        text = f"labels hold {int(stray.flat[0])}: only {ignore_index} is ignored"
        yield Problem(text, expected=ignore_index, actual=int(stray.flat[0]))


ZIP, NPY = b"PK", b"\x93NUMPY"
MOST = 16 << 30
REMEDY = f"save a dict with any of {', '.join(TENSORS)} as npz (numpy.savez) or safetensors"


def read(path: Path | str) -> dict[str, Array]:
    """The tensors of `TENSORS` that an npz or safetensors file holds; others are left unread. bfloat16 becomes float32.

    Raises:
        UsageError: the file is missing, empty, truncated, of another format, or holds none of the tensors.
    """
    file, where = Path(path), str(path)
    try:
        with file.open("rb") as opened:
            head = opened.read(8)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=where, remedy="name a file") from error
    kind, decode = ("npz", _npz) if head.startswith(ZIP) else ("safetensors", _safetensors)
    try:
        found = decode(file) if head and not head.startswith(NPY) else {}
    except UsageError:
        raise
    except Exception as error:  # damaged files raise whatever the decoder met first
        what = f"is no whole {kind} file: {type(error).__name__}: {error}"
        raise UsageError(what, where=where, remedy="write it again; it may be truncated") from error
    if not found:
        unnamed = "it holds one array without a name" if head.startswith(NPY) else "holds no tensor of a packed batch"
        raise UsageError(unnamed if head else "the file is empty", where=where, remedy=REMEDY)
    return found


def _npz(file: Path) -> dict[str, Array]:
    with zipfile.ZipFile(file) as parts:
        sizes = {i.filename.removesuffix(".npy"): i.file_size for i in parts.infolist()}
    total = sum(s for n, s in sizes.items() if n in TENSORS)
    if total > MOST:
        what = f"unpacks to {total >> 30} GiB, more than {MOST >> 30}"
        raise UsageError(what, where=str(file), remedy="leave pixel_values out")
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
