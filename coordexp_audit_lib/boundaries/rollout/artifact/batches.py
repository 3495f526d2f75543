"""Rows of a training batch that was made of rollouts: TRL's and verl's prompts and responses, ms-swift's `input_ids`
with `labels` or `completion_mask`, padded or packed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.rollout.predicates.exchanges import Array, TrainedRow
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.kit.profile import IGNORE_INDEX

MOST_BYTES, MOST_JSON = 4 << 30, 64 << 20
PROMPTS, RESPONSES = ("prompt_ids", "prompts"), ("completion_ids", "responses", "response_ids")
MASKS = ("completion_mask", "response_mask", "loss_mask")
IDS, BOUNDS = ("input_ids", "tokens"), ("cu_seq_lens_q", "cu_seqlens_q", "cu_seqlens", "cu_seq_lens")
SERVERS = ("sampling_per_token_logps", "rollout_per_token_logps", "rollout_log_probs", "vllm_per_token_logps")
OWN = ("old_per_token_logps", "old_log_probs")
CUTS = ("truncated_mask", "is_truncated", "truncated")
POSITIONS = ("text_position_ids", "position_ids")
OTHERS = ("prompt_mask", "attention_mask", "labels", "temperature")
READ = {*PROMPTS, *RESPONSES, *MASKS, *IDS, *BOUNDS, *SERVERS, *OWN, *CUTS, *POSITIONS, *OTHERS}
REMEDY = "save a dict with prompt_ids and completion_ids, or input_ids and labels, as npz, safetensors or JSON"


def read_batch(path: Path) -> dict[str, Any]:
    """What of a batch is read here, by name: npz, safetensors, or JSON of lists.

    Raises:
        UsageError: it can't be read.
    """
    where = str(path)
    if not path.is_file():
        raise UsageError("is no file", where=where, remedy=REMEDY)
    try:
        with path.open("rb") as opened:
            head = opened.read(1)
        if head == b"P":
            return _npz(path)
        if path.suffix == ".json" or head == b"{":
            if path.stat().st_size > MOST_JSON:
                raise UsageError(f"is JSON of more than {MOST_JSON >> 20} MiB", where=where, remedy="save it as npz")
            made = json.loads(path.read_text(encoding="utf-8"))
            return {n: v for n, v in made.items() if n in READ}
        return _safetensors(path)
    except UsageError:
        raise
    except Exception as error:  # damaged files raise whatever the decoder met first
        raise UsageError(f"cannot be read: {type(error).__name__}: {error}", where=where, remedy=REMEDY) from error


def _npz(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as parts:
        size = sum(i.file_size for i in parts.infolist() if i.filename.removesuffix(".npy") in READ)
    if size > MOST_BYTES:
        raise UsageError(f"unpacks to more than {MOST_BYTES >> 30} GiB", where=str(path), remedy="save fewer rows")
    with np.load(path, allow_pickle=False) as arrays:
        return {n: arrays[n] for n in arrays.files if n in READ}


def _safetensors(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    made: dict[str, Any] = {}
    with safe_open(path, framework="numpy") as opened:
        for name in sorted(READ & set(opened.keys())):
            try:
                made[name] = opened.get_tensor(name)
            except (TypeError, AttributeError):  # bfloat16, of which NumPy knows nothing
                made |= _bfloat16(path, name)
    return made


def _bfloat16(path: Path, name: str) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as opened:
        return {name: opened.get_tensor(name).float().numpy()}


def temperature_of(tensors: Mapping[str, Any]) -> float | None:
    """The trainer's temperature, where the batch holds it."""
    value = tensors.get("temperature")
    found = None if value is None else np.asarray(value).reshape(-1)
    return float(found[0]) if found is not None and found.size == 1 and found.dtype.kind in "iuf" else None


def rows_of(tensors: Mapping[str, Any], name: str) -> list[TrainedRow]:
    """The sequences of a batch, without padding.

    Raises:
        UsageError: the tensors are no such batch.
    """
    made = {n: _array(v, f"{name}: {n}") for n, v in tensors.items() if n in READ and v is not None}
    responses, ids = _get(made, RESPONSES), _get(made, IDS)
    if responses is None and ids is None:
        raise UsageError("holds no tokens", where=name, remedy=REMEDY)
    try:
        return list(_split(made, name) if responses is not None else _joined(made, name))
    except (IndexError, ValueError) as error:
        raise UsageError(f"its tensors do not fit: {error}", where=name, remedy=REMEDY) from error


def _array(value: Any, where: str) -> Array:
    try:
        made = np.asarray(value)
    except ValueError:
        made = np.zeros(0, object)
    if made.dtype == object:
        raise UsageError("its rows are of several lengths", where=where, remedy="pad them to one length")
    return made


def _split(made: Mapping[str, Array], name: str) -> Iterator[TrainedRow]:
    """Prompts and responses apart: [rows, P] and [rows, C]."""
    responses = np.atleast_2d(_given(made, RESPONSES))
    rows, width = responses.shape
    prompts = _get(made, PROMPTS)
    prompts = np.atleast_2d(prompts) if prompts is not None else np.zeros((rows, 0), np.int64)
    seen = made.get("prompt_mask")
    if seen is None and "attention_mask" in made:
        seen = np.atleast_2d(made["attention_mask"])[:, : prompts.shape[1]]
    mask, (logprobs, own), cuts = _get(made, MASKS), _logprobs(made), _get(made, CUTS)
    for n in range(rows):
        prompt = prompts[n][np.atleast_2d(seen)[n] != 0] if seen is not None else prompts[n]
        before = prompt.size
        told = np.atleast_2d(mask)[n][-width:] != 0 if mask is not None else None
        yield TrainedRow(
            f"{name} row {n}",
            np.concatenate([prompt, responses[n]]).astype(np.int64),
            before if _get(made, PROMPTS) is not None else None,
            np.concatenate([np.zeros(before, bool), told]) if told is not None else None,
            _padded(logprobs, n, width, before),
            own,
            bool(cuts.reshape(-1)[n]) if cuts is not None and cuts.size == rows else None,
        )


def _joined(made: Mapping[str, Array], name: str) -> Iterator[TrainedRow]:
    """Whole sequences [rows, L]; of one row, samples one after the other where something tells them."""
    ids = np.atleast_2d(_given(made, IDS))
    rows, length = ids.shape
    marks = _marks(made, ids)
    (logprobs, own), cuts = _logprobs(made), _get(made, CUTS)
    for n in range(rows):
        values = _padded(logprobs, n, length, 0)
        bounds = _bounds(made, length) if rows == 1 else [0, length]
        keep = np.ones(length, bool)
        if made.get("attention_mask") is not None and len(bounds) == 2:
            keep = np.atleast_2d(made["attention_mask"])[n][-length:] != 0
        for part, (start, end) in enumerate(pairwise(bounds)):
            at = np.flatnonzero(keep[start:end]) + start
            number = part if rows == 1 else n
            told = cuts is not None and cuts.size == max(rows, len(bounds) - 1)
            yield TrainedRow(
                f"{name} row {number}",
                ids[n][at].astype(np.int64),
                None,
                marks[n][at] if marks is not None else None,
                values[at] if values is not None else None,
                own,
                bool(cuts.reshape(-1)[number]) if told and cuts is not None else None,
            )


def _marks(made: Mapping[str, Array], ids: Array) -> Array | None:
    """What is supervised [rows, L], at the token that is predicted. A narrower mask stands at the end."""
    mask, length = _get(made, MASKS), ids.shape[1]
    if mask is not None:
        mask = np.atleast_2d(mask)
        full = np.zeros(ids.shape, bool)
        full[:, length - mask.shape[1] :] = mask != 0
        return full
    labels = made.get("labels")
    if labels is None:
        return None
    labels = np.atleast_2d(labels)
    there = labels != IGNORE_INDEX
    ahead: Array = np.roll(there, 1, axis=1)
    ahead[:, 0] = False
    here = int((labels == ids)[there].sum())
    next_one = int((labels[:, :-1] == ids[:, 1:])[there[:, :-1]].sum())
    chosen: Array = ahead if next_one > here else there
    return chosen


def _bounds(made: Mapping[str, Array], length: int) -> list[int]:
    bounds = _get(made, BOUNDS)
    if bounds is not None and bounds.ndim == 1 and bounds.size > 1:
        return [int(b) for b in bounds if b <= length]
    positions = next((made[n] for n in POSITIONS if n in made), None)
    if positions is not None and positions.shape[-1] == length:
        starts = np.flatnonzero(positions.reshape(-1, length)[0] == 0).tolist()
        return [*starts, length] if starts and starts[0] == 0 else [0, length]
    return [0, length]


def _logprobs(made: Mapping[str, Array]) -> tuple[Array | None, bool]:
    """Log-probabilities [rows, K], and whether they are the trainer's own."""
    server = _get(made, SERVERS)
    found = server if server is not None else _get(made, OWN)
    return (np.atleast_2d(found) if found is not None and found.dtype.kind == "f" else None), server is None


def _padded(values: Array | None, row: int, width: int, before: int) -> Array | None:
    """A row's log-probabilities at its tokens; NaN where there is none. values: for the last K tokens of the row."""
    if values is None or values.shape[1] > width:
        return None
    made = np.full(before + width, np.nan)
    made[before + width - values.shape[1] :] = values[row]
    return made


def _get(made: Mapping[str, Array], names: tuple[str, ...]) -> Array | None:
    return next((made[n] for n in names if n in made), None)


def _given(made: Mapping[str, Array], names: tuple[str, ...]) -> Array:
    found = _get(made, names)
    assert found is not None
    return found
