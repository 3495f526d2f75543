"""What a checkpoint's folder may hold, and hostile weight files."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from coordexp_audit_lib.boundaries.provenance.artifact.reading import checkpoint, checkpoints
from coordexp_audit_lib.boundaries.provenance.predicates.checkpoints import INDEX, weights_only
from coordexp_audit_lib.boundaries.provenance.surfaces import Checkpoint
from coordexp_audit_lib.core.claim import Ledger

ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
MAP = {"a": ONE, "b": TWO}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "checkpoint-5"
    made.mkdir()
    save_file({"a": np.zeros((2, 3), np.float32)}, made / ONE)
    save_file({"b": np.zeros(5, np.float16)}, made / TWO)
    (made / INDEX).write_text(json.dumps({"metadata": {"total_size": 34}, "weight_map": MAP}))
    for name in ("trainer_state.json", "training_args.bin", "args.json", "config.json"):
        (made / name).write_text("{}")
    return made


def flaws(folder: Path, *, only: bool = True) -> list[str]:
    return judged(folder, only=only)[0]


def judged(folder: Path, *, only: bool = True) -> tuple[list[str], list[str]]:
    ledger = Ledger()
    found = weights_only(checkpoint(folder.parent, folder.name), ledger, save_only_model=only)
    return [f"{f.subject}: {f.message}" for f in found], ledger.unjudged


def test_a_total_size_that_is_not_stated_is_not_judged(folder: Path) -> None:
    for metadata in ({}, {"metadata": {}}, {"metadata": {"total_size": None}}):
        (folder / INDEX).write_text(json.dumps({**metadata, "weight_map": MAP}))
        assert judged(folder) == ([], [f"the total size: {INDEX} does not state it"])


def test_a_sound_checkpoint_has_no_flaw(folder: Path) -> None:
    assert judged(folder) == ([], [])
    assert checkpoints(folder.parent) == ["checkpoint-5"]


@pytest.mark.parametrize(
    "name",
    [
        *("optimizer.pt", "scheduler.pt", "rng_state.pth", "rng_state_3.pth", "scaler.pt", "optimizer.bin", "latest"),
        *("global_step5", "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", "random_states_0.pkl", "optimizer_0"),
    ],
)
def test_state_of_the_training_loop_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"x")
    assert flaws(folder) == [f"{name}: a weights-only checkpoint holds state of the training loop"]
    assert flaws(folder, only=False) == []


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {"a": ONE}}, "b: a file holds a tensor that the index does not name there"),
        ({"weight_map": {**MAP, "c": ONE}}, "c: the index names a tensor that its file does not hold"),
        (
            {"weight_map": {**MAP, "c": "model-3.safetensors"}},
            "model-3.safetensors: the index names a file that is not",
        ),
        ({"weight_map": {**MAP, "c": "../../etc/passwd"}}, "c: the index names something that is no file"),
        ({"weight_map": {**MAP, "c": "/etc/passwd"}}, "c: the index names something that is no file"),
        ({"weight_map": {**MAP, "c": 7}}, "c: the index names something that is no file"),
        ({"weight_map": {"a": TWO, "b": ONE}}, "a: the index names a tensor that its file does not hold"),
        ({"metadata": {"total_size": 35}, "weight_map": MAP}, f"{INDEX}: total_size: the index states another"),
        ({"metadata": {}, "weight_map": {}}, f"{INDEX}: the index maps no tensor"),
        ({"weight_map": []}, f"{INDEX}: the index maps no tensor"),
        ([], f"{INDEX}: a weights file cannot be read"),
    ],
)
def test_an_incomplete_index_is_found(folder: Path, index: Any, message: str) -> None:
    (folder / INDEX).write_text(json.dumps(index))
    assert any(f.startswith(message) for f in flaws(folder)), flaws(folder)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\1",
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 200_000_000) + b"{" * 64,
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 9) + b'{"a": NaN',
        b"\x89PNG\r\n" * 9,
        struct.pack("<Q", 62) + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36000000]}}',
    ],
)
def test_a_file_that_is_no_safetensors_is_one_line(folder: Path, raw: bytes) -> None:
    (folder / ONE).write_bytes(raw)
    found = flaws(folder)
    assert f"{ONE}: a weights file cannot be read" in found
    assert all("\n" not in f for f in found)


def test_a_truncated_file_is_found(folder: Path) -> None:
    whole = (folder / ONE).read_bytes()
    (folder / ONE).write_bytes(whole[:-1])
    assert f"{ONE}: a weights file cannot be read" in flaws(folder)


def test_shards_without_index_and_no_weights_at_all(folder: Path) -> None:
    (folder / INDEX).unlink()
    assert flaws(folder) == [f"{INDEX}: the weights are in shards and no index names them"]
    assert [f.message for f in weights_only(Checkpoint(["a"], {}), Ledger(), save_only_model=True)] == [
        "the checkpoint holds no safetensors weights"
    ]


def test_links_and_folders_are_not_read(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside.safetensors"
    save_file({"a": np.zeros((2, 3), np.float32)}, outside)
    (folder / ONE).unlink()
    (folder / ONE).symlink_to(outside)
    (tmp_path / "checkpoint-9").symlink_to(folder)
    assert f"{ONE}: a weights file cannot be read" in flaws(folder)
    assert checkpoints(tmp_path) == ["checkpoint-5"]
