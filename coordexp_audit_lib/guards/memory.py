"""A batch's tensors as NumPy reads them, in memory that nobody gives back while they are judged.

A loader's process sends its batches from a thread of its own, which moves each storage to shared memory and gives the
old memory back. A collator that hands out a tensor twice has it judged while that thread moves it. So what is judged is
copied, in one call of C from the pointer to the last byte: CPython runs no other thread meanwhile. Only what is large
is read where it lies, and only if there is no other thread.

Of a device's tensors, what the claims read comes over in one copy, which is waited for once. Pixel rows stay where they
are: their shape and dtype are judged, and whether all are numbers.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing.artifact import TENSORS, Array, Outline, Stray, from_bfloat16, stray
from coordexp_audit_lib.core.errors import UsageError

PIXELS = ("pixel_values", "pixel_values_videos")
ALWAYS_COPIED = 1 << 20
CHUNK = 512 << 10  # stays in the processor's cache between being copied and being read
WIDEST = 4  # bytes of an integer that is never too large for a pixel


def arrays(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of `TENSORS` in a batch: arrays, outlines of pixel rows, and what is no tensor as it is.

    Args:
        batch: by name, tensors of torch on any device, arrays, or what NumPy makes an array of. Arrays are read where
            they lie; one over a tensor's memory is copied as the tensor is. NumPy does not tell of one that came by
            dlpack whose memory it is.

    Raises:
        UsageError: a tensor has no entries that can be read (it is sparse, or on no device), or an array's memory has
            been given back.
    """
    given = {n: batch[n] for n in TENSORS if n in batch}
    torch = sys.modules.get("torch")  # without it there is no tensor, and it takes long to import
    if torch is None:
        return given
    away: dict[Any, dict[str, Any]] = {}
    for name, value in given.items():
        if isinstance(value, torch.Tensor):
            tensor = _readable(name, value)
            if tensor.device.type == "cpu":
                given[name] = _outline(tensor) if name in PIXELS else _here(tensor)
            else:
                away.setdefault(tensor.device, {})[name] = tensor
        elif isinstance(value, np.ndarray):
            given[name] = _of_array(name, value)
    on_the_way = [Pulled(device, tensors) for device, tensors in away.items()]
    for pulled in on_the_way:
        given.update(pulled.arrays())
    return given


def columns(pixels: Any, count: int) -> Array | None:
    """About `count` columns of pixel rows, spread over their width, as an array [rows, columns]; None of rows that are
    on another device, or of another shape."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(pixels, torch.Tensor):
        if pixels.device.type != "cpu" or pixels.layout != torch.strided or pixels.ndim != 2 or not pixels.shape[1]:
            return None
        return _copied(pixels.detach()[:, :: max(1, pixels.shape[1] // count)])
    if isinstance(pixels, (list, tuple)):
        width = len(pixels[0]) if pixels and isinstance(pixels[0], (list, tuple)) else 0
        if not width or any(len(row) != width for row in pixels):
            return None
        return np.asarray([row[:: max(1, width // count)] for row in pixels])
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or not pixels.shape[1]:
        return None
    return pixels[:, :: max(1, pixels.shape[1] // count)]


def _readable(name: str, tensor: Any) -> Any:
    """A tensor without its gradient, if it has entries of a dtype that NumPy knows."""
    import torch

    lacking = "it has no data" if tensor.is_meta else "" if tensor.layout == torch.strided else str(tensor.layout)
    try:
        _dtype(_plain(tensor).dtype)
    except TypeError:
        lacking = str(tensor.dtype)
    if lacking:
        raise UsageError(f"can't be read: {lacking}", where=name, remedy="give a dense tensor of a common dtype")
    return tensor.detach()


def _here(tensor: Any) -> Array:
    """A tensor in this machine's memory, as an array."""
    large = tensor.numel() * tensor.element_size() > ALWAYS_COPIED
    return _decoded(_plain(tensor).numpy(), tensor) if large and _alone() else _copied(tensor)


def _alone() -> bool:
    """Whether no other thread runs that could move a storage. That one is in shared memory already would not do: what
    came by a file's name is moved again to be sent by a descriptor."""
    return threading.active_count() == 1


def _copied(tensor: Any) -> Array:
    """A copy of a tensor's entries, safe from threads that move its storage: see the head of this module."""
    import torch

    plain = _plain(tensor)
    [content] = map(np.ndarray.tobytes, map(torch.Tensor.numpy, [plain]))
    return _decoded(np.ndarray(tuple(plain.shape), _dtype(plain.dtype), content), tensor)


def _plain(tensor: Any) -> Any:
    """A tensor of a dtype that NumPy knows: of bfloat16 its bits."""
    import torch

    return tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor


def _decoded(array: Array, tensor: Any) -> Array:
    """What `_plain` made of a tensor, as numbers."""
    import torch

    return from_bfloat16(array.view(np.uint16)) if tensor.dtype == torch.bfloat16 else array


@lru_cache
def _dtype(dtype: Any) -> np.dtype[Any]:
    """NumPy's dtype of a tensor's."""
    import torch

    made: np.dtype[Any] = torch.empty(0, dtype=dtype).numpy().dtype
    return made


def _outline(tensor: Any) -> Outline | Array:
    """What is judged of pixel rows; integers that could be too large are read as any tensor is."""
    floats = tensor.is_floating_point()
    if not floats and tensor.element_size() > WIDEST:
        return _here(tensor)
    return Outline(tuple(tensor.shape), _name(tensor), _stray(tensor) if floats else None)


def _name(tensor: Any) -> str:
    """Of the dtype that the tensor's entries have as an array."""
    import torch

    return "float32" if tensor.dtype == torch.bfloat16 else str(_dtype(tensor.dtype))


def _stray(tensor: Any) -> Stray | None:
    """What of a tensor's floats is no number, read piece by piece."""
    import torch

    rows = tensor.view(-1) if tensor.is_contiguous() else tensor
    width = rows[:1].numel()
    whole = _alone() and tensor.dtype != torch.bfloat16
    step = len(rows) if whole else max(1, CHUNK // max(1, width * tensor.element_size()))
    total, first = 0, None
    for at in range(0, len(rows), max(1, step)):
        part = rows[at : at + step]
        found = stray(part.numpy() if whole else _copied(part))
        if found is not None:
            total, first = total + found.total, first or found._replace(first=at * width + found.first)
    return first and first._replace(total=total)


def _of_array(name: str, array: Array) -> Array:
    """An array as it is, or, over a tensor's memory, a copy from where the tensor's storage is now.

    Raises:
        UsageError: the storage has been moved, so that the array reads memory that was given back.
    """
    import torch

    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    owner = root.base
    if not isinstance(owner, torch.Tensor):
        return array
    found = array if _alone() else _copied_from(owner, root, array)
    if owner.data_ptr() != _address(root):
        what = "this array's memory has been given back: its tensor was moved to shared memory to be sent"
        raise UsageError(what, where=name, remedy="hand out the tensor, or a copy of the array")
    return found


def _copied_from(owner: Any, root: Array, array: Array) -> Array:
    """A copy of an array over a tensor's memory. root: the array that the tensor gave, of which `array` is a view."""
    import torch

    offset = owner.storage_offset() * owner.element_size() + _address(array) - _address(root)
    reach = [(n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)] if array.size else []
    low = offset + sum(r for r in reach if r < 0)
    high = offset + sum(r for r in reach if r > 0) + (array.itemsize if array.size else 0)
    content = _copied(torch.empty(0, dtype=torch.uint8).set_(owner.untyped_storage())[low:high])
    return np.ndarray(array.shape, array.dtype, content, offset - low, array.strides)


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


class Pulled:
    """Tensors on their way from one device to this machine: one flat buffer, copied once; `arrays` waits for it."""

    def __init__(self, device: Any, tensors: Mapping[str, Any]) -> None:
        import torch

        self.tensors, self.stream, self.host = tensors, None, torch.empty(0, dtype=torch.uint8)
        # What is wider comes first, so that each part begins where its dtype may.
        parts = {n: part for n, t in tensors.items() if (part := _needed(n, t)) is not None}
        self.parts = dict(sorted(parts.items(), key=lambda item: -item[1].element_size()))
        if not self.parts:
            return
        flat = torch.cat([part.reshape(-1).view(torch.uint8) for part in self.parts.values()])
        if device.type == "cuda":
            self.host = torch.empty(flat.numel(), dtype=torch.uint8, pin_memory=True)
            self.host.copy_(flat, non_blocking=True)
            self.stream = torch.cuda.current_stream(device)
        else:
            self.host = flat.cpu()

    def arrays(self) -> dict[str, Any]:
        """What came over, by name; of pixel rows an outline."""
        if self.stream is not None:
            self.stream.synchronize()
        content, at, came = self.host.numpy(), 0, {}
        for name, part in self.parts.items():
            end = at + part.numel() * part.element_size()
            raw = content[at:end].view(_dtype(_plain(part).dtype)).reshape(tuple(part.shape))
            came[name], at = _decoded(raw, part), end
        return {n: self._outline(t, came.get(n)) if _stands_for(n, t) else came[n] for n, t in self.tensors.items()}

    def _outline(self, tensor: Any, extremes: Array | None) -> Outline:
        import torch

        found = None
        if extremes is not None and not np.isfinite(extremes).all():
            wrong = ~torch.isfinite(tensor).reshape(-1)
            count, first = int(wrong.sum()), int(wrong.to(torch.uint8).argmax())
            found = Stray(count, first, float(tensor.reshape(-1)[first])) if count else None
        return Outline(tuple(tensor.shape), _name(tensor), found)


def _stands_for(name: str, tensor: Any) -> bool:
    """Whether an outline is all that is judged of a tensor on a device."""
    return name in PIXELS and (tensor.is_floating_point() or tensor.element_size() <= WIDEST)


def _needed(name: str, tensor: Any) -> Any:
    """What has to come over: a tensor itself; of pixel rows the least and the greatest, one of which shows what is no
    number; of such that can't be wrong nothing."""
    import torch

    if not _stands_for(name, tensor):
        return tensor
    return torch.stack(torch.aminmax(tensor)).float() if tensor.is_floating_point() and tensor.numel() else None
