"""What frameworks write in another form than the one that is judged: bounds filled up, lengths of places, masks
in which true hides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing.artifact.forms import NUMBERS_ALONE, Array, Outline
from coordexp_audit_lib.boundaries.packing.artifact.names import Named
from coordexp_audit_lib.boundaries.packing.artifact.rows import without_filling

CU = ("cu_seq_lens_q", "cu_seq_lens_k", "cu_seq_lens_padded")
UNPADDED = ("cu_seqlens_unpadded", "cu_seqlens_q_unpadded")
PLACES = ("seq_lens_padded", "seqlens_padded")
KERNELS_OWN = ("packed_seq_params.", "cu_seqlens_argmin")  # names of what a kernel reads that looks at no mask


def translated(known: Named) -> tuple[Named, dict[str, str]]:
    """The tensors in the form that is judged, and what was read otherwise than it stands there, by name."""
    made: dict[str, Any] = {n: _plain(t) for n, t in known.tensors.items() if t is not None}
    extra = {n.rpartition(".")[2]: _plain(t) for n, t in known.others.items() if t is not None}
    told: dict[str, str] = {}
    _unpadded(made, extra)
    _places(made, extra, told)
    for name in (*CU, "lengths"):
        theirs = name in known.renamed or name not in known.tensors
        if name in made and theirs:
            made[name] = _one_row(made[name])
    for name in NUMBERS_ALONE:
        if name in made and made[name].size == 1:
            made[name] = made[name].reshape(())
    _mask(made, known, told)
    told |= dict(_not_used(made))
    return Named(made, known.renamed, known.unknown, known.others), told


def _plain(tensor: Any) -> Any:
    return tensor if isinstance(tensor, Outline) else np.asarray(tensor)


def _one_row(bounds: Array) -> Array:
    """Bounds of one row, without what fills them up."""
    if not bounds.size or bounds.dtype.kind not in "iu" or (bounds.ndim == 2 and len(bounds) != 1):
        return bounds
    return without_filling(bounds.reshape(-1)) if bounds.ndim in (1, 2) else bounds


def _unpadded(made: dict[str, Any], extra: dict[str, Any]) -> None:
    """Megatron-Bridge: `cu_seqlens` places the sequences, `cu_seqlens_unpadded` counts their real tokens."""
    real = next((extra[n] for n in UNPADDED if n in extra), None)
    if real is not None and "cu_seq_lens_q" in made and "cu_seq_lens_padded" not in made:
        made |= {"cu_seq_lens_padded": made["cu_seq_lens_q"], "cu_seq_lens_q": real}


def _places(made: dict[str, Any], extra: dict[str, Any], told: dict[str, str]) -> None:
    """NeMo Automodel: real lengths, and those of the places that the sequences are given."""
    places, real = next((extra[n] for n in PLACES if n in extra), None), made.get("lengths")
    if places is None or real is None or any(a.dtype.kind not in "iu" or len(a) != 1 for a in (places, real)):
        return
    for name, lengths in (("cu_seq_lens_padded", places), ("cu_seq_lens_q", real)):
        kept = without_filling(lengths[0] if lengths.ndim == 2 else lengths)
        made.setdefault(name, np.concatenate([[0], np.cumsum(kept)]).astype(np.int32))
    del made["lengths"]
    told["the bounds"] = "made from seq_lens and seq_lens_padded"


def _mask(made: dict[str, Any], known: Named, told: dict[str, str]) -> None:
    """Megatron: true hides; and where the kernel is given bounds, it reads no mask."""
    mask = made.get("attention_mask")
    if mask is None or isinstance(mask, Outline):
        return
    names = [*known.renamed.values(), *known.others]
    if "cu_seq_lens_q" in made and any(n.startswith(KERNELS_OWN) for n in names):
        del made["attention_mask"]
        told["attention_mask"] = "not read by a kernel that is given these bounds, so not judged"
    elif mask.dtype.kind == "b" and mask.ndim == 4 and mask.shape[-1] == mask.shape[-2] > 1 and _hides(mask):
        made["attention_mask"] = ~mask
        told["attention_mask"] = "true hides, as Megatron has it"


def _hides(mask: Array) -> bool:
    """Whether true hides: then no token is hidden from itself, and each from all before it."""
    count = mask.shape[-1]
    above = mask[..., np.arange(count - 1), np.arange(1, count)]
    return bool(not np.diagonal(mask, axis1=-2, axis2=-1).any() and above.all())


def _not_used(made: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "loss_mask" in made and "labels" not in made:
        yield "loss_mask", "there are no labels, and it does not say whether it is shifted: not judged"
