"""One decision on every rank: whether to go on.

At each check point every rank says whether it found something, over a gloo group of its own with a timeout of its own,
so that neither a slow collective of the trainer nor its backend has a say. A rank that found something waits for the
next check point to raise, and there all raise; so no rank is left in a collective that another never joins.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from coordexp_audit_lib.core.errors import AuditError, InvariantViolation

TIMEOUT_S = 120.0


class Ranks:
    """The ranks of this run; a run without `torch.distributed` has one.

    Args:
        timeout_s: how long a check point waits for the slowest rank before this one stops by itself.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self.timeout_s = timeout_s
        self.number, self.size = 0, 1
        self._group: Any = None

    def open(self) -> None:
        """Make the group, once torch.distributed is up; every rank must call it."""
        import torch.distributed as dist

        if self._group is not None or not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() < 2:
            return
        self.number, self.size = dist.get_rank(), dist.get_world_size()
        self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=self.timeout_s))

    def summed(self, arrays: Sequence[Any]) -> list[Any]:
        """Of each array [n] of integers the sum over the ranks; every rank must call it, with arrays of equal sizes.

        Raises:
            RuntimeError: a rank did not come within the timeout.
        """
        import numpy as np
        import torch
        import torch.distributed as dist

        whole = torch.from_numpy(np.concatenate([np.asarray(a, np.int64) for a in arrays]))
        if self._group is not None:
            dist.all_reduce(whole, group=self._group)
        ends = np.cumsum([len(a) for a in arrays])[:-1]
        return np.split(whole.numpy(), ends)

    def agree(self, failure: AuditError | None, place: str) -> None:
        """Go on if no rank failed; else raise on every rank.

        Raises:
            AuditError: this rank's own failure, or the first other rank's, with its number.
        """
        if self._group is None:
            if failure is not None:
                raise failure
            return
        try:
            told = self._exchange(failure)
        except RuntimeError as error:  # the group's timeout, or a connection that a dead rank closed
            if failure is not None:
                raise failure from error
            what = f"another rank did not come to the check at {place} within {self.timeout_s:g} s, or is gone"
            remedy = "read the other ranks' errors: one of them has failed between two checks"
            where = f"rank {self.number}"
            raise InvariantViolation("rollout.fail_together", what, where=where, remedy=remedy) from error
        if failure is not None:
            raise failure
        for rank, other in enumerate(told):
            if other is not None:
                raise error_of(*other, where=f"rank {rank} stopped")

    def _exchange(self, failure: AuditError | None) -> list[tuple[str, str] | None]:
        """What every rank found. One number is summed on each check; texts travel only if it is not zero."""
        import torch
        import torch.distributed as dist

        count = torch.tensor([int(failure is not None)])
        dist.all_reduce(count, group=self._group)
        told: list[Any] = [None] * self.size
        if int(count):
            own = None if failure is None else (getattr(failure, "invariant", ""), str(failure))
            dist.all_gather_object(told, own, group=self._group)
        return told


def error_of(claim: str, what: str, *, where: str, remedy: str = "") -> AuditError:
    """The error that another process told of; `claim` is empty where it breaks none."""
    if not claim:
        return AuditError(what, where=where, remedy=remedy)
    return InvariantViolation(claim, what.replace(f"[{claim}] ", "", 1), where=where, remedy=remedy)
