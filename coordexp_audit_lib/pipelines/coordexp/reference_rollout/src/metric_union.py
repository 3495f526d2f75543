"""How ranks agree before they log: every collective stands where every rank comes by. Read by the audit, never run."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist


def all_ready(ready: bool) -> bool:
    """Whether every rank is ready; a rank that is not still takes part in the question."""
    flag = torch.tensor([int(ready)], dtype=torch.int32)
    dist.all_reduce(flag, op=dist.ReduceOp.MIN)
    return bool(flag.item())


def union(metrics: dict[str, float]) -> dict[str, float]:
    """Sums over ranks of the union of their keys."""
    own = sorted(metrics)
    every: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(every, own)
    keys = sorted({key for part in every for key in part})
    values = torch.tensor([metrics.get(key, 0.0) for key in keys], dtype=torch.float64)
    dist.all_reduce(values, op=dist.ReduceOp.SUM)
    return dict(zip(keys, values.tolist(), strict=True))


def push_weights(push: Any, rank: int) -> None:
    """Rank 0 pushes; all ranks wait for it and learn whether it could."""
    failure = ""
    dist.barrier()
    if rank == 0:
        try:
            push()
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
    told = [failure]
    dist.broadcast_object_list(told, src=0)
    if told[0]:
        raise RuntimeError(f"rank 0 could not push weights: {told[0]}")


def infer(session: Any, base_url: str, body: dict[str, Any]) -> Any:
    """One POST to the rollout server."""
    return session.post(f"{base_url}/infer/", json=body)
