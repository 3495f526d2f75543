"""Answers in the form that the surfaces of packing and template want, made of what a pipeline's functions return.

Tensors, arrays and lists are taken alike. Standard library only at import time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from coordexp_audit_lib.kit import influence, picture, profile, prompt_trace, shift, tokenizer

HIDDEN = -50  # added to a logit before the softmax, it leaves a weight of 2e-22
ROUNDING = 1e-5  # of float32, as a share of the numbers it is of
Packs = Sequence[Sequence[int]]


class TooShort(Exception):
    """The model was called with fewer tokens than the samples have."""


class Ran(NamedTuple):
    """One call of a model: what was seen of it, the trainer's loss, and the labels [L], unshifted."""

    seen: influence.Seen
    loss: Any
    labels: Any


def plan(
    packs: Packs,
    *,
    ranks: Packs | None = None,
    copies: Sequence[Packs] | None = None,
    aligned: Packs | None = None,
    repeated: Sequence[int] = (),
    single_long: int | None = None,
    skipped_long: int | None = None,
    dropped: int | None = None,
) -> dict[str, Any]:
    """`packing.plan`: the packs as sample numbers.

    ranks: of `aligned`, which each rank's sampler yields; by default one rank takes all. copies: the plan as each rank
    computes it; by default one plan is shared. aligned: the packs after they were filled up or cut for the ranks, by
    default as planned; repeated: numbers of those appended for that. Counts that the pipeline does not keep are None.
    """
    aligned = packs if aligned is None else aligned
    ranks = [list(range(len(aligned)))] if ranks is None else ranks
    own = copies if copies is not None else [packs] * len(ranks)
    return {
        **{"packs": _lists(packs), "aligned": _lists(aligned), "ranks": _lists(ranks), "repeated": _list(repeated)},
        "rank_digests": [hashlib.sha256(repr(_lists(one)).encode()).hexdigest()[:16] for one in own],
        **{"single_long": single_long, "skipped_long": skipped_long, "dropped": dropped},
    }


def stream(packs: Packs, **counts: int | None) -> dict[str, Any]:
    """`packing.stream`: the packs in order of emission. counts: single_long, skipped_long, dropped, where there are."""
    return {"packs": _lists(packs), **{k: counts.get(k) for k in ("single_long", "skipped_long", "dropped")}}


def drain(packs: Packs) -> dict[str, Any]:
    """`packing.drain`: the packs in the order taken."""
    return {"packs": _lists(packs)}


def sample(encoded: Mapping[str, Any], images: Any = None) -> dict[str, Any]:
    """One encoded sample of `packing.encode`: input_ids, labels and, where there are pictures, image_grid_thw and
    pixel_values.

    images: the image processor, to tell pixel rows by; without one they are not told.
    """
    ids, pixels = _list(encoded["input_ids"]), encoded.get("pixel_values")
    told = {"input_ids": ids, "labels": _list(encoded["labels"]), "grid": _lists(encoded.get("image_grid_thw"))}
    rows = picture.digests(pixels, images) if pixels is not None and images is not None else []
    return {**told, "length": int(encoded.get("length", len(ids))), "pixel_rows": rows}


def encoded(samples: Sequence[Mapping[str, Any]], images: Any = None) -> dict[str, Any]:
    """`packing.encode`: each sample by itself."""
    return {"encoded": [sample(one, images) for one in samples]}


def batch(members: Sequence[int], tensors: Mapping[str, Any], images: Any = None) -> dict[str, Any]:
    """One packed batch: which samples are in it, in order, and its tensors: integers in full, pixel rows by digest.

    Plain numbers count as tensors without a dimension.
    """
    found, pixels = arrays(tensors), tensors.get("pixel_values")
    plain = [k for k, v in tensors.items() if isinstance(v, int) and not isinstance(v, bool)]
    told = shaped(found)
    told["shapes"].update((k, []) for k in plain)
    told["dtypes"].update((k, "int64") for k in plain)
    ints = {k: v.tolist() for k, v in found.items() if "float" not in str(v.dtype)}
    mask = found.get("attention_mask")
    if mask is not None and mask.ndim == 4 and "float" in str(mask.dtype):  # added to the logits: what it lets through
        ints["attention_mask"] = [
            [[[int(v > HIDDEN) for v in row] for row in head] for head in one] for one in mask.tolist()
        ]
        told["dtypes"]["attention_mask"] = "bool"
    return {
        "members": _list(members),
        "ints": {**ints, **{k: tensors[k] for k in plain}},
        **told,
        "pixel_rows": None if pixels is None else picture.digests(pixels, images),
    }


def batches(packed: Iterable[tuple[Sequence[int], Mapping[str, Any]]], images: Any = None) -> dict[str, Any]:
    """`packing.batch` and `packing.join`: for each pack the samples in it and the collated tensors."""
    return {"batches": [batch(members, tensors, images) for members, tensors in packed]}


def arrays(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a batch's values that are tensors."""
    return {k: v for k, v in tensors.items() if hasattr(v, "dtype")}


def shaped(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Shape and dtype of each tensor of a batch."""
    found = arrays(tensors)
    dtypes = {k: str(v.dtype).replace("torch.", "") for k, v in found.items()}
    return {"shapes": {k: list(v.shape) for k, v in found.items()}, "dtypes": dtypes}


def ran(model: Any, labels: Any, loss: Callable[[], Any]) -> Ran:
    """Call the trainer's own loss and see what the model is called with.

    labels: [L] or [1, L], unshifted. loss: computes the loss of one batch with a call of `model`.
    """
    kept = labels.reshape(-1).clone()
    with influence.watching(model) as seen:
        return Ran(seen, loss(), kept)


def pack(
    members: Sequence[int], packed: Ran, unpacked: Any, by_token: bool = False, lengths: Sequence[int] | None = None
) -> dict[str, Any]:
    """One pack of `packing.forward`. packed: its own run. unpacked: those of all samples by themselves, by number.

    lengths: tokens of every sample, by number, where a pipeline pads what it runs by itself (on the right).

    Raises:
        TooShort: the model was called with fewer tokens than the samples have.
    """
    seen, loss, labels = packed
    others = [unpacked[m] for m in members]
    sizes = [one.logits.shape[1] for one, _, _ in others] if lengths is None else [lengths[m] for m in members]
    bounds = list(itertools.pairwise(itertools.accumulate(sizes, initial=0)))
    if seen.logits.shape[1] < sum(sizes):
        raise TooShort("the model was called with fewer tokens than the samples have")
    largest = float(seen.logits.abs().max())
    parts = zip(bounds, others, strict=True)
    differences = [
        influence.largest_difference(seen.logits[:, a:b], s.logits[:, : b - a]) for (a, b), (s, _, _) in parts
    ]
    counts = [influence.supervised_rows(value, s.logits) for s, value, _ in others]
    losses, whole = portable_losses([float(value) for _, value, _ in others], counts, float(loss))
    return {
        **{"members": _list(members), "lengths": sizes, "keys": seen.keys(), "position_rows": seen.position_rows()},
        "use_cache": bool(seen.kwargs.get("use_cache", False)),
        "differences": [rounded(d, ROUNDING * max(1.0, largest)) for d in differences],
        "largest_logit": rounded(largest),
        "influence": [[rounded(v) for v in row] for row in influence.influence(seen, labels, bounds)],
        "loss": whole,
        "supervised": influence.supervised_rows(loss, seen.logits),
        "tokens": influence.by_token(seen) if by_token else [],
        "called": seen.called(),
        "unpacked": [
            {"loss": value, "supervised": n, **_shift(one)}
            for value, n, one in zip(losses, counts, others, strict=True)
        ],
    }


def _shift(one: Ran) -> dict[str, int]:
    """How far the labels are shifted in a loss that is clearly shifted by another number than one; else nothing."""
    found = shift.misplaced(float(one.loss), one.seen.kwargs.get("input_ids"), one.seen.logits, one.labels)
    return {} if found is None else {"shift": found}


def forward(packs: Sequence[Mapping[str, Any]], sdpa_accepted: bool = True) -> dict[str, Any]:
    """`packing.forward`. packs: what `pack` made. sdpa_accepted: whether packed training may run without a kernel that
    is told the segments."""
    return {"packs": list(packs), "sdpa_accepted": sdpa_accepted}


def rounded(value: float, floor: float = 0.0) -> float:
    """What processors share: three significant digits, 0.0 up to `floor`; infinity and NaN as they are."""
    return 0.0 if abs(value) <= floor else float("%.3g" % value)


def portable_losses(losses: Sequence[float], counts: Sequence[int], whole: float) -> tuple[list[float], float]:
    """The samples' losses with four digits, and a packed loss as far from their mean as the measured one is."""

    def mean(values: Sequence[float]) -> float:
        return sum(n * value for n, value in zip(counts, values, strict=True)) / (sum(counts) or 1)

    shared = [float("%.4g" % value) for value in losses]
    return shared, mean(shared) + rounded(whole - mean(losses), ROUNDING * abs(mean(losses)))


def records(
    samples: Sequence[Mapping[str, Any]], padded: Mapping[str, Any] | None = None, pad: int = -1
) -> dict[str, Any]:
    """`template.encode`: each record by itself (as for `sample`), and one padded batch of all: input_ids and labels
    [records, longest], None where the pipeline never pads. pad: the id that fills up."""
    plain = [{k: v for k, v in sample(one).items() if k in ("input_ids", "labels", "grid")} for one in samples]
    whole = {k: [p[k] for p in plain] for k in ("input_ids", "labels")} if padded is None else padded
    rows = {f"padded_{name}": _lists(whole[key]) for name, key in (("ids", "input_ids"), ("labels", "labels"))}
    return {"unpacked": plain, **rows, "pad": int(pad)}


def rollout_prompt(generated: Any, trained: Any, labels: Any, ignore: int = profile.IGNORE_INDEX) -> dict[str, Any]:
    """`template.rollout_prompt`. generated: the ids that generation begins with. trained, labels: of the same chat as
    it is trained on."""
    asked, ids, marks = _list(generated), _list(trained), _list(labels)
    at = next((i for i, y in enumerate(marks) if y != ignore), len(marks))
    one, other = (dataclasses.asdict(prompt_trace.trace(part)) for part in (asked, ids[: len(asked)]))
    return {"generated": one, "teacher_forced": other, "answer_at": at}


def limit(cut: Mapping[str, Any], whole: Mapping[str, Any], ignore: int = profile.IGNORE_INDEX) -> dict[str, Any]:
    """`template.limit`: one sample encoded with the limit, and without."""
    ids, labels = _list(cut["input_ids"]), _list(cut["labels"])
    return {
        **{"length": len(ids), "answer": sum(y != ignore for y in labels), "ended": tokenizer.IM_END in labels},
        "whole_length": len(_list(whole["input_ids"])),
        "whole_answer": sum(y != ignore for y in _list(whole["labels"])),
    }


def _list(values: Any) -> list[Any]:
    """A list of a tensor, an array or a sequence; [] of None."""
    return [] if values is None else values.tolist() if hasattr(values, "tolist") else list(values)


def _lists(values: Any) -> list[list[Any]]:
    return [_list(row) for row in (() if values is None else values)]
