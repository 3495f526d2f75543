"""The ledger of samples over two gloo ranks: what one has and the other has too, and what neither has."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib.kit.model import one_thread
from tests.guards.test_guards_watching import found, hub, made, rows

pytestmark = pytest.mark.model
EPOCH = "packing.epoch_once"
SAMPLES = 23  # an odd number: one rank takes one again, so that both have equally many batches


class Undivided(hub.Trainer):  # type: ignore[misc]
    """Each rank reads the whole data set, as with a loader that nobody has divided among the ranks."""

    def get_train_dataloader(self) -> Any:
        import torch

        return torch.utils.data.DataLoader(self.train_dataset, batch_size=2, collate_fn=self.data_collator)


class Cut(hub.Trainer):  # type: ignore[misc]
    """Six samples are given to no rank, and one of the others in their place."""

    def _get_train_sampler(self, *args: Any) -> Any:
        import torch

        class Skips(torch.utils.data.SequentialSampler):
            def __iter__(self) -> Any:
                return iter([*range(6, SAMPLES), *[SAMPLES - 1] * 6])

        return Skips(self.train_dataset)


KINDS = {"sound": hub.Trainer, "undivided": Undivided, "cut": Cut}


def rank(number: int, port: int, folder: Path) -> None:
    place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({k: str(v) for k, v in place.items()})
    for name, kind in KINDS.items():
        given = {"max_steps": -1, "num_train_epochs": 2, "per_device_train_batch_size": 2, "ddp_backend": "gloo"}
        trainer = made(folder / name, kind=kind, data=rows(SAMPLES), **given)
        with one_thread():
            trainer.train()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The `audit.json` of each run, which two ranks trained."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    ranks = [fork.Process(target=rank, args=(n, port, folder)) for n in range(2)]
    for one in ranks:
        one.start()
    for one in ranks:
        one.join(120)
        assert one.exitcode == 0
    return {name: json.loads((folder / name / "audit" / "audit.json").read_text()) for name in KINDS}


def test_two_ranks_that_share_a_data_set_have_it_once(told: dict[str, dict[str, Any]]) -> None:
    """Though one sample comes again, so that both ranks take as many batches."""
    of_epochs = {e["epoch"]: e for e in told["sound"]["samples"]}
    assert of_epochs.keys() == {1, 2}
    assert all(SAMPLES <= e["trained on"] <= SAMPLES + 3 for e in of_epochs.values())
    assert told["sound"]["run"][EPOCH]["judged"] >= 2 * SAMPLES
    assert found(told["sound"], EPOCH) == []


@pytest.mark.parametrize(
    ("name", "says"), [("undivided", "were trained on by more than one rank"), ("cut", "samples were left out")]
)
def test_samples_that_two_ranks_have_or_none_are_told(name: str, says: str, told: dict[str, dict[str, Any]]) -> None:
    assert any(says in message for message in found(told[name], EPOCH))
