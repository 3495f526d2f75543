"""What a guard reads is never memory that another thread gives back: of a loader's sender, of a device, of an array."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils import data

from coordexp_audit_lib import guards
from coordexp_audit_lib.core.errors import AuditError, InvariantViolation, UsageError
from coordexp_audit_lib.guards import memory, rehearsal
from coordexp_audit_lib.guards.collator import GuardedCollator, Inbox

TOKENS, SEGMENT = 4_000, 250
BATCHES = 1_000


def pack(*, first: int = 0) -> dict[str, Any]:
    """A text-only pack; `first` is where `cu_seq_lens_q` begins."""
    cu = torch.arange(0, TOKENS + 1, SEGMENT, dtype=torch.int32)
    ids = torch.arange(TOKENS)[None] % 1000 + 100
    labels = ids.clone()
    labels[0, ::SEGMENT] = -100
    positions = torch.arange(SEGMENT).repeat(TOKENS // SEGMENT).expand(4, 1, TOKENS).clone()
    told = cu.clone()
    told[0] = first
    return {
        "input_ids": ids,
        "labels": labels,
        "position_ids": positions,
        "cu_seq_lens_q": told,
        "cu_seq_lens_k": cu,
        "max_length_q": torch.tensor(SEGMENT, dtype=torch.int32),
        "max_length_k": SEGMENT,
    }


def same(tensor: Any) -> Any:
    return tensor


class Again:
    """Hands out each pack twice, so that the second is judged while the first is on its way; one is wrong if asked."""

    def __init__(self, wrong_at: int | None = None, form: Callable[[Any], Any] = same) -> None:
        self.calls, self.wrong_at, self.form = 0, wrong_at, form
        self.pack: dict[str, Any] = {}

    def __call__(self, rows: list[Any]) -> dict[str, Any]:
        if self.calls % 2 == 0:
            self.pack = pack(first=7 if self.calls == self.wrong_at else 0)
        self.calls += 1
        return {k: self.form(v) if isinstance(v, torch.Tensor) else v for k, v in self.pack.items()}


@pytest.fixture(autouse=True)
def _threads_take_turns_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def loader(collator: Any, batches: int, **options: Any) -> Any:
    rows: Any = range(batches)
    return data.DataLoader(rows, batch_size=1, collate_fn=collator, num_workers=2, **options)


def length(batches: Any) -> int:
    return sum(1 for _ in batches)


def test_a_loaders_processes_raise_no_false_alarm_in_a_thousand_batches() -> None:
    assert length(loader(GuardedCollator(Again(), packing_length=TOKENS), BATCHES)) == BATCHES


def view(tensor: Any) -> Any:
    return tensor.expand(2, *tensor.shape)[1]


@pytest.mark.parametrize("form", [view, copy.copy], ids=["a view", "a copy of the handle"])
def test_nor_do_views_or_workers_that_stay(form: Callable[[Any], Any]) -> None:
    guarded = GuardedCollator(Again(form=form), packing_length=TOKENS)
    batches = loader(guarded, 50, persistent_workers=True)
    assert length(batches) + length(batches) == 100


def test_what_is_wrong_is_still_raised_in_a_loaders_process() -> None:
    # torch raises an error of its own with the text of the worker's.
    with pytest.raises(RuntimeError, match=r"InvariantViolation: .*cu_seq_lens_q does not begin at 0.*found 7"):
        length(loader(GuardedCollator(Again(wrong_at=10), packing_length=TOKENS), BATCHES))


def test_a_batch_is_judged_in_this_process_while_its_loader_still_sends() -> None:
    decided = [guards.check_packed_batch(batch) for batch in loader(Again(), 40)]
    assert sum("packing.cu_seqlens" in claims for claims in decided) == 40


def moving(tensors: list[Any]) -> threading.Thread:
    """A thread that moves the tensors' storages to shared memory, as a loader's sender does."""
    thread = threading.Thread(target=lambda: [t.share_memory_() for t in tensors])
    thread.start()
    return thread


def test_memory_that_a_thread_gives_back_meanwhile_is_not_read() -> None:
    for _ in range(100):
        batch = pack() | {"pixel_values": torch.randn(1 << 8, 1536)[:, ::2], "image_grid_thw": torch.ones(1, 3).long()}
        tensors = [t for t in batch.values() if isinstance(t, torch.Tensor)]
        kept = {n: t.clone() for n, t in batch.items() if isinstance(t, torch.Tensor)}
        thread = moving(tensors)
        read = memory.arrays(batch)
        thread.join()
        assert all(np.array_equal(read[n], t.numpy()) for n, t in kept.items() if n != "pixel_values")
        assert read["pixel_values"].stray is None


def test_an_array_over_memory_that_was_given_back_is_told_and_not_read() -> None:
    tensors = pack()
    arrays = {n: t.numpy() if isinstance(t, torch.Tensor) else t for n, t in tensors.items()}
    arrays["labels"] = arrays["labels"].reshape(-1)[::-1][::-1]
    decided = guards.check_packed_batch(arrays)
    waits = threading.Event()
    other = threading.Thread(target=waits.wait)
    other.start()
    try:
        assert guards.check_packed_batch(arrays) == decided == guards.check_packed_batch(tensors)
        backwards = memory.arrays({"input_ids": arrays["input_ids"][:, 100::-3]})["input_ids"]
        assert np.array_equal(backwards, arrays["input_ids"][:, 100::-3])
    finally:
        waits.set()
        other.join()
    tensors["labels"].share_memory_()
    with pytest.raises(UsageError, match=r"^labels: this array's memory has been given back.*Remedy: hand out "):
        guards.check_packed_batch(arrays)


def test_large_tensors_lie_where_they_are_while_no_other_thread_runs() -> None:
    mask = torch.ones(1, 1, 1024, 1024)
    read = memory.arrays({"attention_mask": mask})["attention_mask"]
    assert threading.active_count() > 1 or np.shares_memory(read, mask.numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("form", ["contiguous", "strided", "on its way"])
def test_pixels_that_are_no_numbers_are_found_however_they_lie(dtype: Any, form: str) -> None:
    rows = torch.zeros(300, 1536, dtype=dtype)
    rows = torch.zeros(300, 3072, dtype=dtype)[:, ::2] if form == "strided" else rows
    batch = {**rehearsal.collate([[0, 1]]), "pixel_values": rows}

    def told() -> str:
        read = memory.arrays(batch)["pixel_values"] if form != "on its way" else pulled(batch)["pixel_values"]
        problem = memory_flaws(batch | {"pixel_values": read})
        return problem.message if problem else ""

    assert told() == ""
    rows[290, 7] = float("inf")
    rows[291, 5] = float("nan")
    assert told() == "pixel_values[290, 7] is inf, the first of 2"


def memory_flaws(batch: Mapping[str, Any]) -> Any:
    from coordexp_audit_lib.boundaries.packing.artifact import packed

    return packed(batch).flaws.get("pixel_values")


def pulled(batch: Mapping[str, Any]) -> dict[str, Any]:
    tensors = {n: t for n, t in batch.items() if isinstance(t, torch.Tensor)}
    return memory.Pulled(torch.device("cpu"), tensors).arrays()


def test_of_a_device_all_comes_over_in_one_buffer_without_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = rehearsal.collate([[0, 1]])
    numbers = torch.arange(1, len(batch["cu_seq_lens_q"]))
    batch["attention_mask"] = numbers.repeat_interleave(batch["cu_seq_lens_q"].diff())[None].bfloat16()
    joined, join = list[torch.Tensor](), torch.cat

    def noted(parts: list[torch.Tensor]) -> torch.Tensor:
        joined.append(join(parts))
        return joined[-1]

    monkeypatch.setattr(torch, "cat", noted)
    read = pulled(batch)
    small = {n: t for n, t in batch.items() if isinstance(t, torch.Tensor) and n != "pixel_values"}
    pair = 2 * 4  # the least and the greatest pixel
    assert [len(buffer) for buffer in joined] == [pair + sum(t.numel() * t.element_size() for t in small.values())]
    assert all(np.array_equal(read[n], t.float().numpy()) for n, t in small.items())
    assert all(read[n].dtype == t.numpy().dtype for n, t in small.items() if n != "attention_mask")
    assert guards.check_packed_batch(batch | read) == guards.check_packed_batch(batch)


def test_a_tensor_without_entries_to_read_is_told_by_its_name() -> None:
    batch = rehearsal.collate([[0, 1]])
    for name, odd in (("labels", batch["labels"].to("meta")), ("input_ids", batch["input_ids"].to_sparse())):
        with pytest.raises(UsageError, match=f"^{name}: can't be read.*Remedy: give a dense tensor"):
            guards.check_packed_batch({**batch, name: odd})


def broken(inbox: Inbox) -> GuardedCollator:
    return GuardedCollator(lambda rows: rehearsal.collate([[0, 1]], "running_positions"), inbox=inbox)


def test_what_a_copied_collator_finds_reaches_the_inbox_of_the_first() -> None:
    inbox = Inbox()
    copy.deepcopy(broken(inbox))([[0, 1]])
    found = inbox.first()
    assert isinstance(found, InvariantViolation) and found.invariant == "packing.positions_restart"
    inbox.close()


class Copied:
    """A collator that says itself how it is copied."""

    def __deepcopy__(self, memo: Any) -> Copied:
        return Copied()

    def __call__(self, rows: Any) -> Any:
        return rehearsal.collate([[0, 1]], "running_positions")


def test_a_collator_that_copies_itself_stays_guarded() -> None:
    inbox = Inbox()
    made = copy.deepcopy(GuardedCollator(Copied(), inbox=inbox))
    made([[0, 1]])
    assert isinstance(made, GuardedCollator) and inbox.first() is not None
    inbox.close()


class Running:
    def __call__(self, rows: Any) -> Any:
        return rehearsal.collate([[0, 1]], "running_positions")


@pytest.mark.parametrize("where", ["this process", "a process of its own"])
def test_what_an_unpickled_collator_finds_reaches_the_inbox_of_the_first(where: str) -> None:
    inbox = Inbox()
    sent = pickle.dumps(GuardedCollator(Running(), inbox=inbox))
    if where == "this process":
        pickle.loads(sent)([[0, 1]])
        pickle.loads(sent)([[0, 1]])
        assert len(list(inbox.folder.glob("*.json"))) == 2
    else:
        process = multiprocessing.get_context("spawn").Process(target=pickle.loads(sent), args=([[0, 1]],))
        process.start()
        process.join()
    found = inbox.first()
    assert isinstance(found, InvariantViolation) and found.invariant == "packing.positions_restart"
    inbox.close()
    assert not inbox.folder.exists()


def test_what_a_guard_raises_in_another_process_arrives_whole() -> None:
    with pytest.raises(InvariantViolation) as caught:
        guards.check_packed_batch(rehearsal.collate([[0, 1]], "running_positions"))
    sent: InvariantViolation = pickle.loads(pickle.dumps(caught.value))
    assert (type(sent), str(sent), sent.args) == (InvariantViolation, str(caught.value), caught.value.args)
    parts = ("invariant", "what", "where", "remedy", "expected", "actual")
    assert [getattr(sent, n) for n in parts] == [getattr(caught.value, n) for n in parts]


@pytest.mark.parametrize("given", [None, (torch.zeros(1, 4),), [1, 2]], ids=["None", "a tuple", "a list"])
def test_what_is_no_mapping_is_no_pack(given: Any) -> None:
    made = GuardedCollator(lambda rows: given)
    with pytest.raises(AuditError, match=rf"batch: is {type(given).__name__}, not tensors by name.*Remedy: "):
        made([1])
    assert GuardedCollator(lambda rows: given, packed=False)([1]) is given
