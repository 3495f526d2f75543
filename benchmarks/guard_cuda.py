"""What the packed-batch guard costs on a GPU's tensors, against the same pack in this machine's memory.

    python benchmarks/guard_cuda.py [--repeat N]

Prints one JSON line: milliseconds of both (medians, measured by turns) and their ratio, and beside them what it costs
to bring every tensor over first; how many copies come over, how often the guard waits for the device, and how many
bytes that are; and whether it says of each broken pack, word for word, what it says of it here. Without CUDA it says so
and measures nothing. It needs torch, NumPy and msgspec; no tokenizer and no model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from coordexp_audit_lib.core.errors import InvariantViolation
from coordexp_audit_lib.guards import check_packed_batch
from coordexp_audit_lib.guards.memory import Pulled
from coordexp_audit_lib.kit import mrope
from coordexp_audit_lib.kit.profile import QWEN3_VL as QWEN

TOKENS, SAMPLE, SIDE = 12_000, 1_500, 32
TEXT, PIXELS = 1_000, 1_536


def pack() -> dict[str, Any]:
    """One pack of `TOKENS` tokens: samples of text with a picture of `SIDE` x `SIDE` patches near the beginning."""
    count, cells = TOKENS // SAMPLE, SIDE * SIDE // QWEN.merge_size**2
    ids = np.random.default_rng(17).integers(0, TEXT, (count, SAMPLE))
    ids[:, 4 : 4 + cells] = 151_655  # <|image_pad|>
    labels = np.where(np.arange(SAMPLE) < SAMPLE // 2, QWEN.ignore_index, ids)
    bounds = [*range(0, TOKENS + 1, SAMPLE)]
    grid = np.tile([1, SIDE, SIDE], (count, 1))
    rows = mrope.positions(ids.reshape(-1), QWEN, bounds, images=grid)
    text = np.tile(np.arange(SAMPLE), count)
    cu = torch.tensor(bounds, dtype=torch.int32)
    return {
        "input_ids": torch.from_numpy(ids.reshape(1, -1)),
        "labels": torch.from_numpy(labels.reshape(1, -1)),
        "position_ids": torch.from_numpy(np.concatenate([text[None], rows])[:, None]),
        "cu_seq_lens_q": cu,
        "cu_seq_lens_k": cu.clone(),
        "max_length_q": torch.tensor(SAMPLE, dtype=torch.int32),
        "max_length_k": torch.tensor(SAMPLE, dtype=torch.int32),
        "image_grid_thw": torch.from_numpy(grid),
        "pixel_values": torch.rand(count * SIDE * SIDE, PIXELS),
    }


def broken() -> dict[str, dict[str, Any]]:
    """Packs with one mistake each, by what it is."""
    made = {name: pack() for name in ("labels", "bounds", "positions", "nan", "infinity in bfloat16", "grid", "dtype")}
    made["labels"]["labels"] = made["labels"]["labels"].roll(-1)
    made["bounds"]["cu_seq_lens_q"][0] = 7
    made["positions"]["position_ids"][0] = torch.arange(TOKENS)
    made["nan"]["pixel_values"][77, 5] = float("nan")
    half = made["infinity in bfloat16"]["pixel_values"].bfloat16()
    half[4000, 1535] = -float("inf")
    made["infinity in bfloat16"]["pixel_values"] = half
    made["grid"]["image_grid_thw"][3, 1] = SIDE // 2
    made["dtype"]["cu_seq_lens_k"] = made["dtype"]["cu_seq_lens_k"].long()
    return made


def there(batch: dict[str, Any]) -> dict[str, Any]:
    return {n: t.cuda() for n, t in batch.items()}


def here(batch: dict[str, Any]) -> dict[str, Any]:
    return {n: t.cpu() for n, t in batch.items()}


def said(batch: dict[str, Any]) -> str:
    """What the guard says of a batch: the claims that it decides, or the violation."""
    try:
        return " ".join(check_packed_batch(batch, packing_length=TOKENS))
    except InvariantViolation as error:
        return str(error)


def milliseconds(work: Callable[[], Any]) -> float:
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


def waits(work: Callable[[], Any]) -> int:
    """How often torch waits for the device."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(w.message) for w in caught)


def copies(work: Callable[[], Any]) -> list[str]:
    """Each copy between device and machine as the profiler names it; why there is none, where it may not look."""
    from torch.profiler import ProfilerActivity, profile

    try:
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
            work()
            torch.cuda.synchronize()
        events: Any = seen.events()
    except RuntimeError as error:
        return [f"not seen: {error}"]
    return [e.name for e in events if e.name.startswith("Memcpy") and "Device -> Device" not in e.name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=30)
    repeat = parser.parse_args().repeat
    if not torch.cuda.is_available():
        print(json.dumps({"skipped": "torch sees no CUDA device"}))
        return
    batch = pack()
    moved = there(batch)
    sides: dict[str, Callable[[], Any]] = {
        "cpu_ms": lambda: check_packed_batch(batch, packing_length=TOKENS),
        "cuda_ms": lambda: check_packed_batch(moved, packing_length=TOKENS),
        "cuda_all_first_ms": lambda: check_packed_batch(here(moved), packing_length=TOKENS),
    }
    for work in sides.values():
        work()
    turns = [[milliseconds(work) for work in sides.values()] for _ in range(repeat)]
    told = dict(zip(sides, (round(statistics.median(side), 2) for side in zip(*turns, strict=True)), strict=True))
    verdicts = {name: (said(b), said(there(b))) for name, b in {"": batch, **broken()}.items()}
    apart = {name: pair for name, pair in verdicts.items() if pair[0] != pair[1]}
    figures = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "tokens": TOKENS,
        "pixel_mb": round(batch["pixel_values"].nbytes / 1e6, 1),
        **told,
        "ratio": round(told["cuda_ms"] / told["cpu_ms"], 3),
        "waits": waits(sides["cuda_ms"]),
        "copies": copies(sides["cuda_ms"]),
        "bytes": Pulled(moved["labels"].device, moved).host.numel(),
        "verdicts": len(verdicts),
        "apart": apart,
    }
    print(json.dumps(figures))
    sys.exit(1 if apart else 0)


if __name__ == "__main__":
    main()
