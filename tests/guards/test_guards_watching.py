"""What the callback sees of a run beyond its batches, each in a real small trainer: told in `audit.json` and once in
the log, or, where a library demands it, the end of the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from coordexp_audit_lib.callback import AuditCallback
from coordexp_audit_lib.core.errors import InvariantViolation
from coordexp_audit_lib.kit.model import one_thread
from tests.guards.mistaken import LeftEvaluating, LeftTraining, Overwriting, Seeded, Stream

pytestmark = pytest.mark.model
hub: Any = transformers
Rows = list[dict[str, Any]]
SAMPLES, LENGTH, VOCABULARY = 24, 8, 64


def rows(samples: int = SAMPLES) -> Rows:
    random = np.random.default_rng(5)
    ids = random.integers(3, VOCABULARY, (samples, LENGTH)).tolist()
    return [{"input_ids": one, "labels": one} for one in ids]


def stacked(features: Rows) -> dict[str, Any]:
    return {name: torch.tensor([f[name] for f in features]) for name in ("input_ids", "labels")}


def model(**how: Any) -> Any:
    torch.manual_seed(0)
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = hub.LlamaConfig(vocab_size=VOCABULARY, num_key_value_heads=1, **size, **how)
    return hub.LlamaForCausalLM(config)


def made(
    folder: Path,
    *,
    kind: Any = hub.Trainer,
    data: Any = None,
    trains: Any = None,
    metrics: Any = None,
    **arguments: Any,
) -> Any:
    """A stranger's small trainer, guarded in three lines."""
    given = {"max_steps": 3, "per_device_train_batch_size": 4, "logging_steps": 1, "save_strategy": "no"}
    quiet = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "dataloader_pin_memory": False, "optim": "sgd"}
    settings = hub.TrainingArguments(str(folder), **{**given, **quiet, **arguments})
    audit = AuditCallback()
    evaluated = {"eval_dataset": rows(4)} if arguments.get("eval_strategy") else {}
    trainer = kind(
        trains or model(),
        settings,
        train_dataset=rows() if data is None else data,
        data_collator=audit.wrap(stacked),
        callbacks=[audit],
        compute_metrics=metrics,
        **evaluated,
    )
    trainer.remove_callback(hub.PrinterCallback)
    trainer.audit = audit
    return trainer


def run(folder: Path, resume: str | None = None, **how: Any) -> Any:
    """Train, and read what the audit says of the run."""
    trainer = made(folder, **how)
    with one_thread():
        trainer.train(resume_from_checkpoint=resume)
    return json.loads((folder / "audit" / "audit.json").read_text())


def found(told: Any, claim: str) -> list[str]:
    said: list[str] = told["run"].get(claim, {}).get("found", [])
    return said


def everything(told: Any) -> list[str]:
    assert "failed" not in told["run"], told["run"]["failed"]
    return [text for kept in told["run"].values() for text in kept["found"]]


class Skipping(hub.Trainer):  # type: ignore[misc]
    """A trainer that leaves out a step whose loss is no number, as a scaler does, and logs metrics without a value."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(*args, **kwargs)
        if self.state.global_step == 1:
            self.model.zero_grad()
            return loss * float("nan")
        return loss

    def log(self, logs: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super().log({**logs, "clip_ratio/low_min": None, "accuracy/rare": float("nan"), "grad_norm": float("nan")})


def test_a_step_that_is_left_out_and_a_metric_without_a_value_stop_nothing(tmp_path: Path) -> None:
    told = run(tmp_path, kind=Skipping, max_steps=4, logging_steps=2)
    assert (told["status"], everything(told)) == ("completed", [])
    assert "step 2: accuracy/rare is nan" in told["log"]["metrics.finite"]


# parameters


class LateFreezing(hub.Trainer):  # type: ignore[misc]
    """A trainer that freezes the norm once it has a gradient, and has the optimizer keep it."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(*args, **kwargs)
        norm = self.model.model.norm.weight
        if self.state.global_step == 1:
            norm.requires_grad_(False)
        if self.state.global_step >= 1:
            norm.grad = torch.ones_like(norm)
        return loss


def frozen() -> Any:
    one = model()
    one.model.embed_tokens.weight.requires_grad_(False)
    return one


def test_a_frozen_parameter_that_changes_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = run(tmp_path / "sound", trains=frozen())
    assert found(told, "supervision.frozen_still") == []
    assert told["run"]["supervision.frozen_still"]["judged"] == 1
    told = run(tmp_path / "overwritten", trains=frozen(), kind=Overwriting)
    assert found(told, "supervision.frozen_still") == ["frozen parameters changed: model.embed_tokens.weight"]
    assert "[supervision.frozen_still] frozen parameters changed" in caplog.text
    told = run(tmp_path / "late", kind=LateFreezing)
    assert found(told, "supervision.frozen_still") == ["frozen parameters changed: model.norm.weight"]


def test_a_trainer_that_trains_again_is_looked_at_anew(tmp_path: Path) -> None:
    trainer = made(tmp_path, trains=frozen())
    with one_thread():
        trainer.train()
        with torch.no_grad():
            trainer.model.model.embed_tokens.weight.mul_(0.5)
        trainer.train()
    assert everything(json.loads((tmp_path / "audit" / "audit.json").read_text())) == []


class Thawing(hub.Trainer):  # type: ignore[misc]
    """A trainer that trains one or the other layer in turn, as LISA does."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        for n, p in enumerate((self.model.model.norm.weight, self.model.lm_head.weight)):
            p.requires_grad_(n == self.state.global_step % 2)
            p.grad = None
        return super().training_step(*args, **kwargs)


def test_what_is_frozen_in_turn_is_no_mistake(tmp_path: Path) -> None:
    assert everything(run(tmp_path, kind=Thawing, max_steps=6)) == []


class TwoGroups(hub.Trainer):  # type: ignore[misc]
    """A trainer that puts the head into a group of its own, and leaves it in the first."""

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        optimizer = super().create_optimizer(*args, **kwargs)
        optimizer.param_groups.append({**optimizer.param_groups[0], "params": [self.model.lm_head.weight]})
        return optimizer


def test_a_parameter_in_two_groups_stops_the_run(tmp_path: Path) -> None:
    says = r"updated_once\] parameters stand in the optimizer's groups more than once.*lm_head\.weight.*add_param_group"
    trainer = made(tmp_path, kind=TwoGroups)
    with pytest.raises(InvariantViolation, match=says), one_thread():
        trainer.train()
    assert trainer.state.global_step == 0


class Untying(hub.Trainer):  # type: ignore[misc]
    """A trainer that makes the head a tensor of its own after the first step."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 1:
            head = self.model.lm_head
            head.weight = torch.nn.Parameter(head.weight.detach() * 1.01)
        return super().training_step(*args, **kwargs)


def untied() -> Any:
    one = model(tie_word_embeddings=True)
    one.lm_head.weight = torch.nn.Parameter(one.lm_head.weight.detach() * 1.01)
    return one


def test_tied_embeddings_that_come_apart_are_told(tmp_path: Path) -> None:
    told = run(tmp_path / "sound", trains=model(tie_word_embeddings=True))
    assert (told["run"]["supervision.tied_stay"], everything(told)) == ({"judged": 1, "found": []}, [])
    told = run(tmp_path / "apart", trains=model(tie_word_embeddings=True), kind=Untying)
    assert found(told, "supervision.tied_stay") == ["input and output embeddings came apart while the model trained"]
    told = run(tmp_path / "never", trains=untied())
    (said,) = found(told, "supervision.tied_stay")
    assert "are two although the config says that they are one" in said


# modes


EVALUATED: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 2}


def test_dropout_in_an_evaluation_and_rest_in_training_are_told(tmp_path: Path) -> None:
    dropping = {"attention_dropout": 0.1}
    told = run(tmp_path / "sound", trains=model(**dropping), **EVALUATED, metrics=lambda p: {"n": float(len(p[0]))})
    assert everything(told) == [] and told["run"]["supervision.modes_fit"]["judged"] >= 6
    told = run(tmp_path / "training", trains=model(**dropping), kind=LeftTraining, **EVALUATED)
    (said,) = found(told, "supervision.modes_fit")
    assert "drop at random in an evaluation" in said and "self_attn" in said
    told = run(tmp_path / "resting", trains=model(**dropping), kind=LeftEvaluating)
    (said,) = found(told, "supervision.modes_fit")
    assert "trains in evaluation mode" in said


# samples


class Twice(torch.utils.data.Sampler):  # type: ignore[type-arg]
    """A sampler that gives the first two samples twice and the last two never."""

    def __iter__(self) -> Any:
        return iter([0, 1, *range(SAMPLES - 2)])

    def __len__(self) -> int:
        return SAMPLES


def sampled_by(sampler: Callable[[], Any]) -> Any:
    class Sampled(hub.Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
            return sampler()

    return Sampled


WHOLE: dict[str, Any] = {"max_steps": -1, "num_train_epochs": 2}


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_that_repeat_and_are_left_out_are_told(tmp_path: Path, workers: int) -> None:
    told = run(tmp_path / "sound", **WHOLE, dataloader_num_workers=workers)
    assert everything(told) == []
    sound = {"samples": SAMPLES, "trained on": SAMPLES, "more than once": 0}
    assert told["samples"] == [{"epoch": 1, **sound}, {"epoch": 2, **sound}]
    told = run(tmp_path / "twice", kind=sampled_by(Twice), **WHOLE, dataloader_num_workers=workers)
    assert found(told, "packing.epoch_once") == [
        "epoch 1: 2 of 24 samples were trained on more than once",
        "epoch 1: 2 of 24 samples were left out",
        "epoch 2: 2 of 24 samples were trained on more than once",
        "epoch 2: 2 of 24 samples were left out",
    ]


def weighted() -> Any:
    return torch.utils.data.WeightedRandomSampler([1.0] * SAMPLES, SAMPLES, replacement=True)


def subset() -> Any:
    return torch.utils.data.SubsetRandomSampler(range(10))


def each_twice() -> Any:
    return [n for n in range(SAMPLES) for _ in range(2)]


class Groups(torch.utils.data.Sampler):  # type: ignore[type-arg]
    """As for groups of answers to one prompt: each sample four times."""

    def __iter__(self) -> Any:
        return iter([n for n in range(SAMPLES) for _ in range(4)])

    def __len__(self) -> int:
        return 4 * SAMPLES


def in_groups() -> Any:
    return Groups()


FIELDS = hub.TrainingArguments.__dataclass_fields__  # transformers 5 names it otherwise
BY_LENGTH = {"group_by_length": True} if "group_by_length" in FIELDS else {"train_sampling_strategy": "group_by_length"}
ORDERS: dict[str, dict[str, Any]] = {
    "by length": BY_LENGTH,
    "the last batch is dropped": {"dataloader_drop_last": True, "per_device_train_batch_size": 5},
    "accumulated, with a partial last window": {"gradient_accumulation_steps": 4},
    "with replacement": {"kind": sampled_by(weighted)},
    "a part by plan": {"kind": sampled_by(subset)},
    "in groups, ended within one": {"kind": sampled_by(in_groups), "max_steps": 5, "per_device_train_batch_size": 3},
    "each sample twice by plan": {"kind": sampled_by(each_twice)},
    "persistent workers": {"dataloader_num_workers": 2, "dataloader_persistent_workers": True},
    "stopped within an epoch": {"max_steps": 8},
}


@pytest.mark.parametrize("how", ORDERS.values(), ids=ORDERS)
def test_orders_that_a_program_means_are_no_mistake(tmp_path: Path, how: dict[str, Any]) -> None:
    assert everything(run(tmp_path, **{**WHOLE, **how})) == []


SAVED: dict[str, Any] = {"save_strategy": "steps", "save_steps": 4, "max_steps": 10, "num_train_epochs": 2}


def test_a_run_that_is_resumed_goes_on_with_the_samples_that_are_left(tmp_path: Path) -> None:
    run(tmp_path, **SAVED)
    checkpoint = str(tmp_path / "checkpoint-4")
    told = run(tmp_path, checkpoint, **SAVED)
    assert everything(told) == []
    assert told["samples"][0] == {"epoch": 1, "samples": SAMPLES, "trained on": 8, "more than once": 0}
    for name, how in (("seed", {"seed": 7, "data_seed": 7}), ("skip", {"ignore_data_skip": True})):
        (said, *more) = found(run(tmp_path, checkpoint, **{**SAVED, **how}), "packing.epoch_once")
        assert "of them before the run was resumed and again after it" in said, name
        assert (name == "seed") == any("left out" in text for text in more)


# loader workers


def test_workers_that_begin_alike_are_told(tmp_path: Path) -> None:
    told = run(tmp_path / "sound", dataloader_num_workers=2)
    assert everything(told) == [] and told["run"]["packing.workers_apart"]["judged"] == 2
    told = run(tmp_path / "one seed", kind=Seeded, dataloader_num_workers=2)
    (said,) = found(told, "packing.workers_apart")
    assert said.startswith("loader workers 0 and 1 begin with the same state of numpy.random")
    told = run(tmp_path / "parts", data=Stream(rows(), parts=True), dataloader_num_workers=2)
    assert everything(told) == [] and told["samples"]["not known"].startswith("the data are a stream")
    told = run(tmp_path / "whole", data=Stream(rows(), parts=False), dataloader_num_workers=2)
    (said,) = found(told, "packing.workers_apart")
    assert "give the same samples: the stream is not split among them" in said


# false alarms


def test_a_sound_run_of_200_steps_has_nothing_to_complain_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Accumulation with a partial last window, evaluations, checkpoints, dropout, tied embeddings and a frozen part."""
    sound = model(tie_word_embeddings=True, attention_dropout=0.1)
    sound.model.norm.weight.requires_grad_(False)
    how: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 50, "save_strategy": "steps", "save_steps": 100}
    more: dict[str, Any] = {
        "gradient_accumulation_steps": 4,
        "optim": "adamw_torch",
        "logging_steps": 7,
        "max_steps": 200,
    }
    told = run(tmp_path, trains=sound, **how, **more)
    assert (told["status"], told["steps"], everything(told)) == ("completed", 200, [])
    claims = ("frozen_still", "tied_stay", "modes_fit", "parameters_train", "updated_once", "weights_finite")
    judged = {name: told["run"][f"supervision.{name}"]["judged"] for name in claims}
    assert all(judged.values()), judged
    assert told["run"]["packing.epoch_once"]["judged"] >= SAMPLES
    assert "coordexp_audit_lib" not in caplog.text
