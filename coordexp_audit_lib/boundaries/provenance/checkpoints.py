"""What a checkpoint holds: weights only, and an index of every tensor in every file.

Only headers are read, without torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.provenance.predicates import Flaw, kind

INDEX = "model.safetensors.index.json"
# What trainers keep to go on with training: Hugging Face's, DeepSpeed's and FSDP's names.
_TRAINING_STATE = re.compile(
    r"^(optimizer(_\d+)?(\.(pt|bin|pth))?|scheduler\.(pt|bin)|scaler\.pt|rng_state(_\d+)?\.pth|random_states_\d+\.pkl"
    r"|.*_optim_states\.pt|.*zero_pp_rank_.*|global_step\d+|mp_rank_\d+_model_states\.pt|latest|zero_to_fp32\.py)$"
)


class Checkpoint(msgspec.Struct, frozen=True):
    """files: names in the folder. tensors: by safetensors file, its tensors with their sizes in bytes. broken: by
    safetensors file, why it cannot be read. index: the index as parsed, None if there is none."""

    files: list[str]
    tensors: dict[str, dict[str, int]]
    broken: dict[str, str] = {}
    index: Any = None


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


def weights_only(checkpoint: Checkpoint, *, save_only_model: bool) -> Iterator[Flaw]:
    """With `save_only_model` nothing of optimizer, scheduler or generators is kept; the weights are all indexed."""
    if save_only_model:
        for name in checkpoint.files:
            if _TRAINING_STATE.match(name):
                yield Flaw("a weights-only checkpoint holds state of the training loop", name, "weights only", name)
    for name, why in sorted(checkpoint.broken.items()):
        yield Flaw("a weights file cannot be read", name, "a whole safetensors file", why)
    if checkpoint.index is None:
        names = sorted(checkpoint.tensors)
        if not names and not checkpoint.broken:
            yield Flaw("the checkpoint holds no safetensors weights", "", "*.safetensors", "none")
        shards = [n for n in names if re.search(r"-of-\d+\.safetensors$", n)]
        if shards:
            yield Flaw("the weights are in shards and no index names them", INDEX, "an index", shards)
        return
    yield from _indexed(checkpoint)


def _indexed(checkpoint: Checkpoint) -> Iterator[Flaw]:
    index = checkpoint.index
    mapped = index.get("weight_map") if isinstance(index, Mapping) else None
    if not isinstance(mapped, Mapping) or not mapped:
        yield Flaw("the index maps no tensor", INDEX, "weight_map", kind(mapped))
        return
    sound = {
        t: f
        for t, f in mapped.items()
        if isinstance(f, str) and f not in ("", ".", "..") and not re.search(r"[/\\\0]", f)
    }
    for tensor in sorted(set(mapped) - set(sound)):
        yield Flaw("the index names something that is no file of the checkpoint", tensor, "a file name", mapped[tensor])
    for name in sorted(set(sound.values()) - set(checkpoint.files)):
        yield Flaw("the index names a file that is not there", name, "a file", "none")
    for tensor, name in sorted(sound.items()):
        if name in checkpoint.tensors and tensor not in checkpoint.tensors[name]:
            yield Flaw("the index names a tensor that its file does not hold", tensor, name, "not in it")
    for name, tensors in sorted(checkpoint.tensors.items()):
        for tensor in sorted(t for t in tensors if mapped.get(t) != name and _is_model(name)):
            yield Flaw("a file holds a tensor that the index does not name there", tensor, name, mapped.get(tensor))
    yield from _total(checkpoint, sound)


def _is_model(name: str) -> bool:
    return name.startswith("model")


def _total(checkpoint: Checkpoint, mapped: Mapping[str, str]) -> Iterator[Flaw]:
    metadata = checkpoint.index.get("metadata")
    stated = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    held = [checkpoint.tensors.get(name, {}).get(tensor) for tensor, name in mapped.items()]
    if stated is None or None in held:
        return
    total = sum(size for size in held if size is not None)
    if stated != total:
        yield Flaw("the index states another total size than the tensors have", f"{INDEX}: total_size", total, stated)
