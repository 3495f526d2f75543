"""What a checkpoint holds: weights only, and an index of every tensor in every file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from coordexp_audit_lib.boundaries.provenance.predicates.documents import kind
from coordexp_audit_lib.boundaries.provenance.surfaces import Checkpoint
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem

INDEX = "model.safetensors.index.json"
# What trainers keep to go on with training: Hugging Face's, DeepSpeed's and FSDP's names.
_TRAINING_STATE = re.compile(
    r"^(optimizer(_\d+)?(\.(pt|bin|pth))?|scheduler\.(pt|bin)|scaler\.pt|rng_state(_\d+)?\.pth|random_states_\d+\.pkl"
    r"|.*_optim_states\.pt|.*zero_pp_rank_.*|global_step\d+|mp_rank_\d+_model_states\.pt|latest|zero_to_fp32\.py)$"
)


def weights_only(checkpoint: Checkpoint, ledger: Ledger, *, save_only_model: bool) -> Iterator[Problem]:
    """With `save_only_model` nothing of optimizer, scheduler or generators is kept; the weights are all indexed."""
    if save_only_model:
        for name in checkpoint.files:
            if _TRAINING_STATE.match(name):
                yield Problem("a weights-only checkpoint holds state of the training loop", name, "weights only", name)
    for name, why in sorted(checkpoint.broken.items()):
        yield Problem("a weights file cannot be read", name, "a whole safetensors file", why)
    if checkpoint.index is None:
        names = sorted(checkpoint.tensors)
        if not names and not checkpoint.broken:
            yield Problem("the checkpoint holds no safetensors weights", "", "*.safetensors", "none")
        shards = [n for n in names if re.search(r"-of-\d+\.safetensors$", n)]
        if shards:
            yield Problem("the weights are in shards and no index names them", INDEX, "an index", shards)
        return
    yield from _indexed(checkpoint, ledger)


def _indexed(checkpoint: Checkpoint, ledger: Ledger) -> Iterator[Problem]:
    index = checkpoint.index
    mapped = index.get("weight_map") if isinstance(index, Mapping) else None
    if not isinstance(mapped, Mapping) or not mapped:
        yield Problem("the index maps no tensor", INDEX, "weight_map", kind(mapped))
        return
    sound = {tensor: file for tensor, file in mapped.items() if _is_file_name(file)}
    for tensor in sorted(set(mapped) - set(sound)):
        what = "the index names something that is no file of the checkpoint"
        yield Problem(what, tensor, "a file name", mapped[tensor])
    for name in sorted(set(sound.values()) - set(checkpoint.files)):
        yield Problem("the index names a file that is not there", name, "a file", "none")
    for tensor, name in sorted(sound.items()):
        if name in checkpoint.tensors and tensor not in checkpoint.tensors[name]:
            yield Problem("the index names a tensor that its file does not hold", tensor, name, "not in it")
    for name, tensors in sorted(checkpoint.tensors.items()):
        for tensor in sorted(t for t in tensors if mapped.get(t) != name and name.startswith("model")):
            yield Problem("a file holds a tensor that the index does not name there", tensor, name, mapped.get(tensor))
    yield from _total(checkpoint, sound, ledger)


def _is_file_name(name: Any) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and not re.search(r"[/\\\0]", name)


def _total(checkpoint: Checkpoint, mapped: Mapping[str, str], ledger: Ledger) -> Iterator[Problem]:
    metadata = checkpoint.index.get("metadata")
    stated = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    held = [checkpoint.tensors.get(name, {}).get(tensor) for tensor, name in mapped.items()]
    if stated is None:
        ledger.left_out("the total size", f"{INDEX} does not state it")
    if stated is None or None in held:  # a tensor that is not there is a problem of its own
        return
    total = sum(size for size in held if size is not None)
    if stated != total:
        what = "the index states another total size than the tensors have"
        yield Problem(what, f"{INDEX}: total_size", total, stated)
