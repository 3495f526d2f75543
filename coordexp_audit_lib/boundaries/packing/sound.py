"""Whether the tensors of a packed batch are of a kind that can be judged at all: dtype, dimensions, values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from coordexp_audit_lib.boundaries.packing.contract import Problem
from coordexp_audit_lib.boundaries.packing.row import IGNORE_INDEX, Array

LARGEST = 1 << 40
INTEGERS, NUMBERS = "iu", "biuf"


class Form(msgspec.Struct, frozen=True):
    """kinds: NumPy's dtype kinds. dims: how many dimensions. least: value. claim: of what else it is a matter."""

    kinds: str
    dims: tuple[int, ...]
    least: int | None = None
    claim: str = ""


_CU = Form(INTEGERS, (1,), None, "packing.cu_seqlens")
_LONGEST = Form(INTEGERS, (0, 1), 0, "packing.cu_seqlens")
FORMS: dict[str, Form] = {
    "input_ids": Form(INTEGERS, (1, 2), 0),
    "labels": Form("i", (1, 2), IGNORE_INDEX, "packing.no_cross_boundary_label"),
    "position_ids": Form(INTEGERS, (1, 2, 3), None, "packing.positions_restart"),
    "text_position_ids": Form(INTEGERS, (1, 2), None, "packing.positions_restart"),
    "cu_seq_lens_q": _CU,
    "cu_seq_lens_k": _CU,
    "max_length_q": _LONGEST,
    "max_length_k": _LONGEST,
    "attention_mask": Form(NUMBERS, (1, 2, 3, 4)),
    "lengths": Form(INTEGERS, (1,), 1, "packing.cu_seqlens"),
    "image_grid_thw": Form(INTEGERS, (2,), 1, "packing.vision_in_order"),
    "pixel_values": Form("iuf", (2, 3, 4, 5), None, "packing.vision_in_order"),
}


def sift(tensors: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, Problem]]:
    """Split into the tensors that can be judged, and what is wrong with each of the others; unknown names are left."""
    good: dict[str, Array] = {}
    bad: dict[str, Problem] = {}
    for name, value in tensors.items():
        if name in FORMS and value is not None:
            array = np.asarray(value)
            problem = next(flaws(name, array), None)
            if problem is None:
                good[name] = array.reshape(()) if name.startswith("max_length") else array
            else:
                bad[name] = problem
    return good, bad


def flaws(name: str, a: Array) -> Iterator[Problem]:
    """Each way in which a tensor is not of its form."""
    form = FORMS[name]
    if a.dtype.kind not in form.kinds:
        wanted = "numbers" if "f" in form.kinds else "signed integers" if form.kinds == "i" else "integers"
        yield Problem(f"{name} is {a.dtype}: {wanted} are expected", None, wanted, str(a.dtype))
    elif a.ndim not in form.dims:
        wanted = " or ".join(map(str, form.dims))
        yield Problem(f"{name} has {a.ndim} dimensions, {wanted} are expected", None, wanted, list(a.shape))
    elif a.size == 0:
        yield Problem(f"{name} is empty", None, "at least one entry", list(a.shape))
    elif name == "image_grid_thw" and a.shape[1] != 3:
        yield Problem(f"{name} has {a.shape[1]} columns: t, h and w are expected", None, 3, a.shape[1])
    elif name.startswith("max_length") and a.size != 1:
        yield Problem(f"{name} has {a.size} values, one is expected", None, 1, a.size)
    else:
        yield from _values(name, a, form.least)


def _values(name: str, a: Array, least: int | None) -> Iterator[Problem]:
    if a.dtype.kind == "f":
        # A mask of floats may hold −inf where it hides; NaN means nothing anywhere.
        wrong = ~np.isfinite(a) if name == "pixel_values" else np.isnan(a)
        if wrong.any():
            first = np.unravel_index(int(wrong.argmax()), a.shape)
            at = f"{name}[{', '.join(map(str, first))}]"
            yield Problem(f"{at} is {a[first]}, the first of {int(wrong.sum())}", None, "a number", str(a[first]))
        return
    if a.dtype.kind == "b":
        return
    if int(a.max()) > LARGEST or int(a.min()) < -LARGEST:
        largest = int(a.max()) if int(a.max()) > LARGEST else int(a.min())
        yield Problem(f"{name} holds {largest}, beyond any length or vocabulary", None, f"up to {LARGEST}", largest)
    elif least is not None and int(a.min()) < least:
        yield Problem(f"{name} holds {int(a.min())}, less than {least}", None, least, int(a.min()))
    elif name == "labels" and ((a < 0) & (a != IGNORE_INDEX)).any():
        stray = int(a[(a < 0) & (a != IGNORE_INDEX)].flat[0])
        yield Problem(f"labels hold {stray}: only {IGNORE_INDEX} is ignored", None, IGNORE_INDEX, stray)
