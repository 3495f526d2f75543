"""A ledger of the samples that are trained on, by their numbers in the data set, over each epoch and after resuming.

The numbers are read where the training loader's batch sampler gives them, in this process, and counted once the trainer
has taken its steps with them. Of an epoch it keeps one number for each sample; of a checkpoint one bit, in the audit's
folder. A stream has no numbers, and nothing is judged then. Of several ranks each counts its part, and at the end of an
epoch they are summed.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing.artifact import Array
from coordexp_audit_lib.boundaries.packing.predicates.epochs import Epoch
from coordexp_audit_lib.guards.ranks import Ranks
from coordexp_audit_lib.kit.loaders import is_stream

MOST = 1 << 24  # samples of a data set; of a larger one nothing is kept
KEPT = 4  # checkpoints whose samples are known
EPOCHS = 8  # that are told one by one
USUAL = (
    *("RandomSampler", "SequentialSampler", "SeedableRandomSampler", "SubsetRandomSampler", "DistributedSampler"),
    *("LengthGroupedSampler", "DistributedLengthGroupedSampler", "BatchSamplerShard"),
)


class Pass:
    """What a batch sampler gave in one pass: the samples' numbers, and where each batch ends."""

    def __init__(self) -> None:
        self.numbers, self.ends = array("q"), array("q")
        self.broken = False

    def add(self, batch: Any) -> None:
        try:
            self.numbers.extend(int(n) for n in batch)
        except (TypeError, ValueError, OverflowError):  # its samples have no numbers
            self.broken = True
        self.ends.append(len(self.numbers))

    def taken(self, first: int, count: int) -> Array:
        """The numbers in `count` batches from batch `first` on."""
        ends = [0, *self.ends]
        low, high = (ends[min(n, len(self.ends))] for n in (first, first + count))
        return np.frombuffer(self.numbers, np.int64)[low:high].copy() if high > low else np.zeros(0, np.int64)


class SampleLedger:
    """Keeps which samples are trained on."""

    def __init__(self, ranks: Ranks | None = None) -> None:
        self.ranks = ranks or Ranks()
        self.why = "training has not begun"
        self.told: list[dict[str, int]] = []
        self._folder: Path | None = None
        self._sampler: Any = None
        self._size = self._batches = self._steps = self._skip = self._micro = self._epoch = 0
        self._spare, self._filling, self._replaces, self._usual = 0, 0, False, True
        self._planned: int | None = None
        self._before: Array | None = None
        self._passes: list[Pass] | None = None

    def began(self, loader: Any, args: Any, step: int, folder: Path) -> None:
        """Before the first epoch. step: the optimizer steps that were taken before the run was resumed. folder: the
        audit's own."""
        self.why = self._unknown(loader, args)
        if self.why:
            return
        inner = getattr(loader, "base_dataloader", loader)
        sampler, self._folder = inner.batch_sampler, folder
        self._size, self._batches = len(inner.dataset), len(inner)
        self._spare = (sampler_of(sampler, "batch_size") or 1) - 1 if sampler_of(sampler, "drop_last") else 0
        self._planned, self._replaces = planned(sampler), bool(sampler_of(sampler, "replacement"))
        size = self.ranks.size
        if size > 1:
            self._filling = 0 if self._spare else (sampler_of(sampler, "batch_size") or 1) * size - 1
            self._spare = (self._spare + 1) * size - 1 if self._spare else 0
            per_rank = self._planned if type(innermost(sampler)).__name__.startswith("Distributed") else None
            self._planned = self._size if per_rank and per_rank * size >= self._size else self._planned
        self._usual = type(innermost(sampler)).__name__ in USUAL
        every = max(1, args.gradient_accumulation_steps)
        self._steps = max(-(-self._batches // every), 1)
        self._epoch = step // self._steps
        within = step % self._steps
        self._skip = 0 if getattr(args, "ignore_data_skip", False) else within * every
        self._before = self._read(step) if within else None
        self._watch(sampler)

    def epoch_began(self) -> None:
        self._micro = 0
        if self._passes is not None:
            self._passes.clear()

    def micro_step(self) -> None:
        self._micro += 1

    def epoch_ended(self) -> Epoch | None:
        """What the epoch held; None where it can't be told."""
        seen, made = self._taken(), None
        before = self._before if self._before is not None and len(self._before) == self._size else None
        known = self._skip == 0 or before is not None
        counts = np.zeros(self._size, np.int64) if seen is None else np.bincount(seen, minlength=self._size)
        told_all, holders = seen is not None, None
        if self.ranks.size > 1 and not self.why:
            zeros = np.zeros(self._size, np.int64)
            mine = ([int(seen is not None), int(known)], counts, counts > 0, zeros if before is None else before)
            (ready, aware), counts, holders, earlier = self.ranks.summed(mine)
            told_all, known = ready == self.ranks.size, aware == self.ranks.size
            before = earlier > 0 if before is not None else None
        if told_all:
            whole = self._skip + self._micro >= self._batches
            spare = self._spare if known else self._size
            plan = (whole, self._planned, self._replaces, spare, self._usual, holders, self._filling)
            made = Epoch(self._epoch + 1, self._size, counts, before, *plan)
            told = {"epoch": self._epoch + 1, "samples": self._size, "trained on": int(counts.sum())}
            self.told = [*self.told, {**told, "more than once": int((counts > 1).sum())}][-EPOCHS:]
        self._epoch, self._skip, self._before = self._epoch + 1, 0, None
        return made

    def saved(self, step: int) -> None:
        """A checkpoint was written: keep which samples of this epoch it has seen."""
        seen = self._taken()
        if seen is None or self._folder is None:
            return
        marks = np.zeros(self._size, bool)
        if self._before is not None and len(self._before) == self._size:
            marks |= self._before
        marks[seen] = True
        self._folder.mkdir(parents=True, exist_ok=True)
        packed = zlib.compress(self._size.to_bytes(8, "little") + np.packbits(marks).tobytes())
        self._bits(self._folder, step).write_bytes(packed)
        kept = sorted(self._folder.glob("samples-*.bits"), key=lambda f: f.stat().st_mtime)
        for old in kept[: -KEPT * self.ranks.size]:
            old.unlink(missing_ok=True)

    def ended(self) -> None:
        """Let go of the loader's sampler."""
        if self._sampler is not None:
            self._sampler.__class__ = type(self._sampler).__mro__[1]
        self._sampler, self._passes = None, None

    def _unknown(self, loader: Any, args: Any) -> str:
        """Why nothing can be told; empty if it can."""
        inner = getattr(loader, "base_dataloader", loader)
        sampler: Any = getattr(inner, "batch_sampler", None)
        dataset: Any = getattr(inner, "dataset", None)
        if sampler is None or is_stream(dataset) or not hasattr(dataset, "__len__"):
            return "the data are a stream, whose samples have no numbers"
        if getattr(args, "world_size", 1) > self.ranks.size:
            return "each of several processes sees a part of the samples"
        size = len(dataset)
        return "" if 0 < size <= MOST else f"the data set has {size} samples"

    def _bits(self, folder: Path, step: int) -> Path:
        """Where this rank keeps which samples a checkpoint has seen."""
        rank = f"-{self.ranks.number}of{self.ranks.size}" if self.ranks.size > 1 else ""
        return folder / f"samples-{step}{rank}.bits"

    def _watch(self, sampler: Any) -> None:
        passes: list[Pass] = []

        def watched(self: Any) -> Iterator[Any]:
            current = Pass()
            passes.append(current)
            del passes[:-2]
            for batch in kind.__iter__(self):
                current.add(batch)
                yield batch

        kind = type(sampler)
        try:
            sampler.__class__ = type(kind.__name__, (kind,), {"__iter__": watched, "__module__": kind.__module__})
        except TypeError:  # a class that can't be extended
            self.why = "its sampler can't be listened to"
            return
        self._sampler, self._passes = sampler, passes

    def _taken(self) -> Array | None:
        """The samples of this epoch that this run has trained on; None where the trainer goes its own way."""
        passes = self._passes or []
        if len(passes) != 1 or passes[0].broken or self._skip + self._micro > len(passes[0].ends):
            return None
        seen = passes[0].taken(self._skip, self._micro)
        fit = seen.size == 0 or (seen.min() >= 0 and seen.max() < self._size)
        return seen if fit else None

    def _read(self, step: int) -> Array | None:
        """The samples that a checkpoint had seen in its epoch."""
        if self._folder is None:
            return None
        try:
            content = zlib.decompressobj().decompress(self._bits(self._folder, step).read_bytes(), MOST)
        except (OSError, zlib.error):
            return None
        size = int.from_bytes(content[:8], "little")
        marks = np.unpackbits(np.frombuffer(content[8:], np.uint8))
        return marks[:size].astype(bool) if size == self._size <= marks.size else None


def sampler_of(sampler: Any, name: str) -> Any:
    """An attribute of a batch sampler or of a sampler within it."""
    for _ in range(4):
        if sampler is None:
            return None
        if hasattr(sampler, name):
            return getattr(sampler, name)
        sampler = getattr(sampler, "sampler", getattr(sampler, "batch_sampler", None))
    return None


def innermost(sampler: Any) -> Any:
    """The sampler that a batch sampler draws from, or itself."""
    for _ in range(4):
        below = getattr(sampler, "sampler", None)
        below = below if below is not None else getattr(sampler, "batch_sampler", None)
        if below is None:
            break
        sampler = below
    return sampler


def planned(sampler: Any) -> int | None:
    """How many samples the innermost sampler says that it gives."""
    inner = innermost(sampler)
    try:
        return len(inner) if inner is not sampler else None
    except (TypeError, NotImplementedError):
        return None
