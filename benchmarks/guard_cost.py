"""What the packed-batch guard costs, against a forward of the small Qwen3-VL on the same pack of 12,000 tokens.

    python benchmarks/guard_cost.py [--repeat N]

Prints one JSON line: milliseconds of both (medians, measured by turns on one thread) and their ratio, which must stay
below 0.01. The forward asks for the logits of one token only, which is the cheapest that there is.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from coordexp_audit_lib.guards import check_packed_batch
from coordexp_audit_lib.kit import chat, model, mrope, picture
from coordexp_audit_lib.kit.profile import BUILT_IN

TOKENS, SIDE, OBJECTS = 12_000, 512, 60


def sample(number: int, room: int) -> tuple[list[int], list[int], list[int], Any]:
    """Ids, labels, grid and pixel rows of a chat with a picture of 256 tokens and as many objects as there is room."""
    grid, rows = picture.patches(picture.pixels(number, SIDE, SIDE))
    words = [
        f'{{"desc": "cup", "bbox_2d": [{", ".join(f"<|coord_{k + i}|>" for i in range(4))}]}}' for k in range(OBJECTS)
    ]
    turns = [("system", "Answer with JSON."), ("user", "<image>Locate every object."), ("assistant", ", ".join(words))]
    ids, labels = chat.render(turns, [grid])
    return ids[:room], labels[:room], grid, rows


def pack() -> dict[str, Any]:
    """One pack of exactly `TOKENS` tokens, as torch tensors."""
    members, total = [], 0
    while total < TOKENS:
        members.append(sample(len(members), TOKENS - total))
        total += len(members[-1][0])
    ids = torch.tensor([t for m in members for t in m[0]])
    bounds = [0]
    for m in members:
        bounds.append(bounds[-1] + len(m[0]))
    grid = torch.tensor([m[2] for m in members])
    text = torch.cat([torch.arange(len(m[0])) for m in members])
    rows = torch.from_numpy(mrope.positions(ids.numpy(), BUILT_IN["qwen3_vl"], bounds, images=grid.numpy()))
    cu = torch.tensor(bounds, dtype=torch.int32)
    return {
        "input_ids": ids[None],
        "labels": torch.tensor([y for m in members for y in m[1]])[None],
        "position_ids": torch.cat([text[None], rows])[:, None],
        "cu_seq_lens_q": cu,
        "cu_seq_lens_k": cu,
        "max_length_q": int(cu.diff().max()),
        "max_length_k": int(cu.diff().max()),
        "image_grid_thw": grid,
        "pixel_values": torch.cat([torch.from_numpy(m[3]) for m in members]).float() / 127.5 - 1,
    }


def milliseconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    batch, small = pack(), model.small()
    call = {k: v for k, v in batch.items() if k != "labels"}

    def forward() -> Any:
        with torch.no_grad():
            return small(**call, logits_to_keep=1, use_cache=False)

    def guard() -> Any:
        return check_packed_batch(batch, packing_length=TOKENS)

    with model.one_thread():
        forward()
        decided = guard()
        turns = [(milliseconds(guard), milliseconds(forward)) for _ in range(repeat)]
    guarded, forwarded = (statistics.median(side) for side in zip(*turns, strict=True))
    told = {"tokens": TOKENS, "claims": len(decided), "images": len(batch["image_grid_thw"])}
    print(
        json.dumps(
            {
                **told,
                "guard_ms": round(guarded, 2),
                "forward_ms": round(forwarded, 1),
                "ratio": round(guarded / forwarded, 5),
            }
        )
    )


if __name__ == "__main__":
    main()
