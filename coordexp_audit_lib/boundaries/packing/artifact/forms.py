"""Of what dtype, shape and values a tensor of a packed batch must be to be judged, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from coordexp_audit_lib.core.problem import Problem

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
    "cu_seq_lens_padded": Form(INTEGERS, (1,)),
    "seq_idx": Form(INTEGERS, (1, 2)),
    "document_ids": Form(INTEGERS, (1, 2)),
    "mm_token_type_ids": Form(INTEGERS, (1, 2), 0),
    "loss_mask": Form(NUMBERS, (1, 2)),
    "max_length_q": Form(INTEGERS, (0, 1), 0),
    "max_length_k": Form(INTEGERS, (0, 1), 0),
    "attention_mask": Form(NUMBERS, (1, 2, 3, 4)),
    "lengths": Form(INTEGERS, (1,), 1),
    "image_grid_thw": Form(INTEGERS, (2,), 1),
    "pixel_values": Form("iuf", (2, 3, 4, 5)),
    "video_grid_thw": Form(INTEGERS, (2,), 1),
    "pixel_values_videos": Form("iuf", (2, 3, 4, 5)),
    "second_per_grid_ts": Form("iuf", (1,)),
    "num_items_in_batch": Form("iuf", (0, 1)),
}
TENSORS = tuple(FORMS)
NUMBERS_ALONE = ("max_length_q", "max_length_k", "num_items_in_batch")


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


def flaws(name: str, a: Array, ignore_index: int, outline: Outline | None = None) -> Iterator[Problem]:
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
    elif name in NUMBERS_ALONE and a.size != 1:
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
