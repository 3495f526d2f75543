"""Folders of other trainers: their arguments are read without running anything, and two runs compared by them."""

from __future__ import annotations

import enum
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from coordexp_audit_lib.boundaries.provenance.artifact import pickled, texts
from coordexp_audit_lib.boundaries.provenance.artifact.run import RunFolder, RunPair, audit_pair, audit_run
from coordexp_audit_lib.boundaries.provenance.predicates.arguments import RANKS
from coordexp_audit_lib.boundaries.provenance.predicates.drift import rank_of
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.finding import Finding

TRAINING = {"learning_rate": 1e-5, "seed": 42, "per_device_train_batch_size": 2, "output_dir": "out", "bf16": True}
SHOWN = "Seq2SeqTrainingArguments(\nlearning_rate=1e-05,\noutput_dir={out},\nplugin=<x.Y object at 0x7f{at}>,\n)"


class Strategy(enum.Enum):
    STEPS = "steps"
    EPOCH = "epoch"


class Arguments:
    def __init__(self, **values: Any) -> None:
        self.__dict__ |= values


class Trap:
    def __reduce__(self) -> Any:
        return os.mkdir, (str(Trap.place),)

    place: Path


def archive(path: Path, value: Any, protocol: int = 2) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("training_args/data.pkl", pickle.dumps(value, protocol=protocol))
        made.writestr("training_args/version", "3\n")
    return path


def by_id(findings: list[Finding]) -> dict[str, Finding]:
    return {f.invariant.removeprefix("provenance."): f for f in findings}


def swift(folder: Path, **changed: Any) -> Path:
    folder.mkdir()
    shown = SHOWN.format(out=folder.name, at=len(folder.name))
    arguments = {**TRAINING, "output_dir": folder.name, "model": "Qwen/Qwen3-VL-2B", "training_args": shown, **changed}
    (folder / "args.json").write_text(json.dumps(arguments))
    return folder


def transformers(folder: Path, **changed: Any) -> Path:
    folder.mkdir()
    made = {**TRAINING, "save_strategy": Strategy.STEPS, "output_dir": folder.name, "betas": (0.9, 0.95), **changed}
    archive(folder / "training_args.bin", Arguments(**made))
    return folder


def factory(folder: Path, **changed: Any) -> Path:
    folder.mkdir()
    made = {**TRAINING, "stage": "sft", "finetuning_type": "lora", "output_dir": folder.name, **changed}
    (folder / f"{folder.name}_sft.yaml").write_text(yaml.safe_dump(made))
    (folder / "dataset_info.yaml").write_text("a: 1\n")
    return folder


def peft(folder: Path, **changed: Any) -> Path:
    (folder / "checkpoint-8").mkdir(parents=True)
    (folder / "checkpoint-12").mkdir()
    for checkpoint in ("checkpoint-8", "checkpoint-12"):
        made = {"peft_type": "LORA", "r": 8, "lora_alpha": 32, "target_modules": ["q_proj"], "inference_mode": True}
        (folder / checkpoint / "adapter_config.json").write_text(json.dumps({**made, **changed}))
    return folder


KINDS = {"args.json": swift, "training_args.bin": transformers, "arguments.yaml": factory}


@pytest.mark.parametrize(("name", "make"), KINDS.items())
def test_the_arguments_of_another_trainer_are_read(tmp_path: Path, name: str, make: Any) -> None:
    run = RunFolder(make(tmp_path / "one"))
    assert {k: run.arguments[name][k] for k in TRAINING} == {**TRAINING, "output_dir": "one"}
    found = by_id(audit_run(run.root))
    assert {n: f.status for n, f in found.items()} == {"no_secrets": "held", "weights_only": "unbound"}
    assert name in str(found["no_secrets"].evidence)


@pytest.mark.parametrize(("name", "make"), KINDS.items())
def test_what_differs_is_ranked_by_what_it_can_change(tmp_path: Path, name: str, make: Any) -> None:
    same = RunPair(make(tmp_path / "one"), make(tmp_path / "again"))
    assert {d.rank for d in same.differences} == {"nothing"}
    assert by_id(audit_pair(same))["rerun_drift"].status == "held"
    pair = RunPair(
        tmp_path / "one", make(tmp_path / "two", seed=7, bf16=False, logging_steps=3, dataloader_num_workers=4)
    )
    ranks = {d.field: d.rank for d in pair.differences}
    wanted = {"seed": "objective", "bf16": "numerics", "dataloader_num_workers": "speed", "logging_steps": "nothing"}
    assert {f: r for f, r in ranks.items() if "output_dir" not in f} == {f"{name}:{k}": r for k, r in wanted.items()}
    found = by_id(audit_pair(pair))["rerun_drift"]
    assert (found.status, {v.subject for v in found.violations}) == ("violated", {f"{name}:seed", f"{name}:bf16"})


def test_the_last_checkpoint_stands_for_an_adapter(tmp_path: Path) -> None:
    pair = RunPair(peft(tmp_path / "one"), peft(tmp_path / "two", r=16))
    assert [(d.field, d.rank) for d in pair.differences] == [("adapter_config.json:r", "objective")]


def test_what_only_one_run_left_is_not_compared_and_said(tmp_path: Path) -> None:
    one, two = swift(tmp_path / "one"), swift(tmp_path / "two")
    archive(two / "training_args.bin", Arguments(**TRAINING))
    found = by_id(audit_pair(RunPair(one, two)))["rerun_drift"]
    assert (found.status, "training_args.bin" in found.note) == ("unbound", True)
    (one / "training_args.bin").write_bytes(b"PK no archive")
    found = by_id(audit_pair(RunPair(one, two)))["rerun_drift"]
    assert (found.status, "is no archive of PyTorch" in found.note) == ("unbound", True)
    with pytest.raises(UsageError, match="none of its documents can be read"):
        (tmp_path / "empty").mkdir()
        RunPair(one, tmp_path / "empty")


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_walked_and_not_run(tmp_path: Path, protocol: int) -> None:
    values: dict[str, Any] = {
        **TRAINING,
        "strategy": Strategy.EPOCH,
        "nested": {"a": [1, None, (2.5, "x")]},
        "raw": b"bytes",
    }
    path = archive(tmp_path / "training_args.bin", Arguments(**values), protocol)
    read = pickled.settings_of(io.BytesIO(path.read_bytes()))
    assert read["nested"] == {"a": [1, None, [2.5, "x"]]}
    assert (read["strategy"], read["seed"], read["learning_rate"]) == ("epoch", 42, 1e-5)
    Trap.place = tmp_path / "ran"
    archive(path, Arguments(a=Trap()), protocol)
    assert "mkdir" in pickled.settings_of(io.BytesIO(path.read_bytes()))["a"]
    assert not Trap.place.exists()


def bomb() -> list[Any]:
    made: list[Any] = ["x"]
    for _ in range(30):
        made = [made, made]
    return made


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "exhausted"),
        (b"\x80\x02", "exhausted"),
        (b"\x80\x02}h\x05.", "damaged"),
        (b".", "damaged"),
        (pickle.dumps(bomb()), "unfolds to more than"),
        (b"\x80\x02Q.", "damaged"),
    ],
)
def test_a_damaged_or_hostile_pickle_is_one_line(raw: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        pickled.plain(pickled.walked(raw))
    assert "\n" not in str(refused.value)


def test_a_secret_in_a_pickle_is_found(tmp_path: Path) -> None:
    run = transformers(tmp_path / "run", hub_token="planted-token-0001")
    found = by_id(audit_run(run))["no_secrets"]
    assert (found.status, found.violation_count) == ("violated", 1)
    assert "planted" not in str(found)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.sh", b"export WANDB_API_KEY=0123456789abcdef\n"),
        ("run.sh", b"env HF_TOKEN=planted python train.py\n"),
        ("train.log", b"INFO WANDB_API_KEY=planted\n"),
        ("train.log", b"2026-01-01 INFO: my password: hunter2\n"),
        ("train.log", b'cmd: python a.py --hub_token planted {\\"hub_token\\": \\"planted\\"}\n'),
        ("train.out", b"HF_TOKEN=planted\n"),
        ("train.err", b"HF_TOKEN=planted\n"),
        ("train.log.1", b"HF_TOKEN=planted\n"),
        (".env.local", b"HF_TOKEN=planted\n"),
        ("train.py", b'login(token="hf0planted0")\n'),
        ("a.ipynb", json.dumps({"cells": [{"cell_type": "code", "source": ["login(token='hf0planted0')"]}]}).encode()),
        ("a.ipynb", json.dumps({"cells": [{"cell_type": "code", "outputs": [{"text": ["HF_TOKEN=abc"]}]}]}).encode()),
        ("key.pem", b"-----BEGIN PRIVATE KEY-----\nMIIplanted\n-----END PRIVATE KEY-----\n"),
        ("wide.log", "HF_TOKEN=planted\n".encode("utf-16")),
        ("wide.log", "HF_TOKEN=planted\n".encode("utf-16-le")),
        ("nul.log", b"\0" * 64 + b"\nHF_TOKEN=planted\n"),
        ("long.log", b"x" * 99 + b"\n" + b"fine\n" * 9999 + b"HF_TOKEN=planted\n"),
        ("no_suffix", b"HF_TOKEN=planted\n"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_secret_is_found_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    monkeypatch.setattr(texts, "PIECE", 4096)
    run = swift(tmp_path / "run")
    (run / name).write_bytes(content)
    assert by_id(audit_run(run))["no_secrets"].status == "violated"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "train.py",
            b'def f(hub_token: str, password=None):\n    token = os.environ["HF_TOKEN"]\n    api_key=args.api_key\n',
        ),
        ("train.log", b"eos token: '<|im_end|>'\nthe secret: train longer\nEOS token: 151645\n"),
        ("train.log", b"step 1, 512 tokens: loss 3.5\ntoken: <|endoftext|>\n"),
        ("run.sh", b"export HF_TOKEN=$HF_TOKEN\nexport WANDB_API_KEY=${WANDB_API_KEY}\n"),
    ],
)
def test_what_is_no_secret_is_none(tmp_path: Path, name: str, content: bytes) -> None:
    run = swift(tmp_path / "run")
    (run / name).write_bytes(content)
    assert by_id(audit_run(run))["no_secrets"].status == "held"


def test_what_was_not_read_is_said_and_the_claim_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = swift(tmp_path / "run")
    for n in range(5):
        (run / f"{n}.png").write_bytes(b"\x89PNG")
    monkeypatch.setattr(texts, "MAX_FILES", 2)
    (run / "z.log").write_text("HF_TOKEN=planted\n")
    assert by_id(audit_run(run))["no_secrets"].status == "violated"  # pictures do not count
    (run / "z.log").write_text("fine\n")
    monkeypatch.setattr(texts, "MAX_ENTRIES", 3)
    assert "entries" in by_id(audit_run(run))["no_secrets"].note
    monkeypatch.undo()
    os.mkfifo(run / "pipe.log")
    (run / "data.gz").write_bytes(b"\x1f\x8b\x08\0\1\2\3\4\5\6" * 9)
    found = by_id(audit_run(run))["no_secrets"]
    assert found.status == "unbound"
    assert "pipe.log: it cannot be read: it is no regular file" in found.note
    assert "data.gz: files of its kind are not read" in found.note


def test_ranks_of_arguments_by_their_names() -> None:
    ranks = {
        f: rank_of(f"args.json:{f}", RANKS) for f in ("learning_rate", "weird", "optim", "report_to", "hub_model_id")
    }
    assert ranks == {
        **dict.fromkeys(("learning_rate", "weird", "optim"), "objective"),
        "report_to": "nothing",
        "hub_model_id": "nothing",
    }
    assert rank_of("args.json:training_args.gradient_checkpointing", RANKS) == "speed"
    assert rank_of("config.json:text_config.dtype", RANKS) == "numerics"


def test_the_work_for_a_folder_grows_no_faster_than_it(
    tmp_path: Path, lines_run: Callable[[Callable[[], object]], int]
) -> None:
    def work(keys: int, kind: str) -> int:
        run = tmp_path / f"{kind} {keys}"
        run.mkdir()
        name = "x_token" if kind == "secrets" else "key"
        resolved = {f"{name}_{n}": {f"{name}": f"value {n}"} for n in range(keys)}
        (run / "resolved_config.json").write_text(json.dumps({"schema_version": 1, "resolved": resolved}))
        (run / "config_source.yaml").write_text(json.dumps(resolved))
        (run / "train.log").write_text("".join(f"{name}={n}value\n" for n in range(keys)))
        return lines_run(lambda: audit_run(run))

    for kind in ("settings", "secrets"):
        work(30, kind)
        few, many = work(100, kind), work(400, kind)
        assert many <= 4.4 * few, kind


def test_a_parent_by_a_path_of_many_parts_is_refused_in_one_line(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "resolved_config.json").write_text(json.dumps({"schema_version": 1, "resolved": {"a": 1}}))
    (run / "config_source.yaml").write_text(f"extends: {'p/' * 30_000}base.yaml\n")
    found = by_id(audit_run(run))["config_is_the_config"]
    assert found.violations[0].message.endswith("extends a path of 30001 parts, more than 128")
