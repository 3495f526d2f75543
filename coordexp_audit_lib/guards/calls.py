"""How the model is called with a pack, looked up among what its release of transformers was seen to do.

A hook before the model's forward reads each kind of call once. It says nothing of a batch that is no pack, of a call
that was not measured (a padded mask, videos, positions that run on, a family of its own), or of another release.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing.artifact import PackedRow, packed
from coordexp_audit_lib.boundaries.packing.artifact.isolation import Facts, called, read
from coordexp_audit_lib.core.errors import InvariantViolation
from coordexp_audit_lib.guards.collator import Inbox
from coordexp_audit_lib.guards.memory import arrays
from coordexp_audit_lib.guards.stopping import claim_of, judged, stop_at
from coordexp_audit_lib.kit.isolation import TOLD, Call
from coordexp_audit_lib.kit.profile import named
from coordexp_audit_lib.kit.tiny import FAMILIES

APART = "packing.segments_isolated"
KERNELS = {"eager": "eager", "sdpa": "sdpa", "flex_attention": "flex"}
FLASH = "flash"  # in the name of each attention that runs a variable-length kernel
READ = ("input_ids", "attention_mask", "position_ids", "text_position_ids", "cu_seq_lens_q", "cu_seq_lens_k")
BOUNDS = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k")
RECOMPUTES = ("is_activation_checkpointing", "is_gradient_checkpointing")  # the newer name first: the older one warns
MOST_KINDS = 16  # of calls that are looked at in a run
LONGEST = 4096  # tokens of a square mask that is looked through


def check_model_call(model: Any, batch: Mapping[str, Any], facts: Facts | Path | str | None = None) -> bool:
    """A call of the model with a pack keeps its samples apart, as far as the installed transformers is known.

    Args:
        model: of `transformers`; its config tells family, attention and cache. batch: its keyword arguments.
        facts: own ones, or their file (`coordexp-audit isolation --out FILE`).

    Returns:
        Whether such a call was measured, and so judged.

    Raises:
        InvariantViolation: it was seen to mix the samples, or to leave them another thing than they are unpacked.
    """
    call = call_of(model, batch)
    own = facts if facts is None or isinstance(facts, Facts) else read(facts)
    verdict = judged(claim_of(APART), called(call, own)) if call is not None else None
    if verdict is None or not verdict.finding.checked:
        return False
    stop_at(verdict, "the model's call")
    return True


def call_of(model: Any, batch: Mapping[str, Any]) -> Call | None:
    """The call as the matrix of `kit/isolation.py` has it; None where it has no such call, or the batch is no pack."""
    config = getattr(model, "config", None)
    family, text = getattr(config, "model_type", ""), getattr(config, "text_config", config)
    if family not in FAMILIES or batch.get("pixel_values_videos") is not None or batch.get("past_key_values"):
        return None
    given = {name: value for name, value in batch.items() if value is not None}
    row = packed(arrays({name: given[name] for name in READ if name in given}), named(family))
    attention, mask, positions = _attention(text, given), _mask(row), _positions(row)
    cache = _cached(model, text, given)
    if not row.is_pack or len(row.segments) < 2 or attention is None or mask is None or positions is None:
        return None
    if cache is None:
        return None
    content = "pictures" if "pixel_values" in given else "text"
    if content == "text" and positions == "copied":
        positions = "four"  # of text alone, the text row and the temporal row are one
    return Call(family, content, attention, mask, positions, cache)


def _attention(config: Any, given: Mapping[str, Any]) -> str | None:
    name = getattr(config, "_attn_implementation", None) or ""
    if FLASH in name:
        told = sum(n in given for n in BOUNDS)
        return {0: "varlen", len(BOUNDS): TOLD}.get(told)
    return KERNELS.get(name)


def _cached(model: Any, config: Any, given: Mapping[str, Any]) -> bool | None:
    """Whether the model makes a cache: told, or else its config's word; None where it recomputes activations and would
    make one, for what becomes of it then differs from release to release."""
    made = bool(given.get("use_cache", getattr(config, "use_cache", False)))
    recomputes = next((getattr(model, name) for name in RECOMPUTES if hasattr(type(model), name)), False)
    return None if made and recomputes else made


def _mask(row: PackedRow) -> str | None:
    mask = row.get("attention_mask")
    if mask is None:
        return None if "attention_mask" in row.flaws else "none"
    if row.numbered_mask is not None:
        numbers = row.numbered_mask
        steps = np.diff(numbers.astype(np.int64))
        return "numbers" if numbers[0] == 1 and set(steps.tolist()) <= {0, 1} else None
    if row.flat_mask is not None:
        return "ones" if bool((row.flat_mask == 1).all()) else None
    added = mask.ndim == 4 and mask.dtype.kind == "f" and mask.shape[-1] <= LONGEST
    return "block" if added and _blocks(row) else None


def _blocks(row: PackedRow) -> bool:
    """Whether a square mask lets each token see what is before it in its sample, and nothing else."""
    if row.visible is None or row.block_starts is None or len(row.block_starts) < 2:
        return False
    size = row.visible.shape[-1]
    number = np.searchsorted(row.block_starts, np.arange(size), side="right")
    own = (number[:, None] == number) & np.tri(size, dtype=bool)
    return bool((row.visible == own).all())


def _positions(row: PackedRow) -> str | None:
    """The kind of `position_ids`; None of those that do not begin anew with each sample."""
    if "text_position_ids" in row.tensors or "position_ids" in row.flaws:
        return None  # what the program makes of them, their names do not tell
    if row.get("position_ids") is None:
        return "none"
    rows = row.position_rows
    kind = None if rows is None else {1: "text", 3: "three", 4: "four"}.get(len(rows))
    if rows is None or kind is None:
        return None
    if int((rows == 0).all(axis=0).sum()) < 2:
        return None
    return "copied" if kind == "four" and row.copied_temporal else kind


Failed = Callable[[str, Exception], object]


class Calls:
    """Listens to how a model is called in training. inbox: where to leave what is found. facts: own ones. failed: told
    of a look that failed by itself, which stops nothing."""

    def __init__(
        self, inbox: Inbox, facts: Path | str | None = None, failed: Failed = lambda place, error: None
    ) -> None:
        self.inbox, self.decided, self.failed = inbox, 0, failed
        self._facts = read(facts) if facts is not None else None
        self._kinds: set[tuple[Any, ...]] = set()
        self._hook: Any = None

    def listen(self, model: Any) -> None:
        """Begin, if it is a torch module."""
        with suppress(AttributeError):
            self._hook = model.register_forward_pre_hook(self._heard, with_kwargs=True)

    def end(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook = None

    def _heard(self, module: Any, args: Any, kwargs: Any) -> None:
        if not module.training or args or len(self._kinds) >= MOST_KINDS:
            return
        shown = {name: getattr(value, "ndim", value is not None) for name, value in kwargs.items()}
        kind = (*sorted(shown.items()), kwargs.get("use_cache"))
        if kind in self._kinds:
            return
        self._kinds.add(kind)
        try:
            self.decided += check_model_call(module, kwargs, self._facts)
        except InvariantViolation as error:
            self.inbox.put(error)
        except Exception as error:
            self.failed("a look at the model's call", error)
