"""A short run of a trainer, watched: what `supervision.run`, `packing.epoch`, `metrics.run_log` and `provenance.left`
ask.

Standard library only at import time. `ran` is for whatever trains by `transformers.Trainer` or a class of it; a loop of
one's own calls `Watch`'s methods where a trainer's callback would.
"""

from __future__ import annotations

import copy
import gc
import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from coordexp_audit_lib.kit import checkpoint, parts, stand_ins
from coordexp_audit_lib.kit.loaders import LoaderWatch, digest_of
from coordexp_audit_lib.kit.modes import ModesWatch
from coordexp_audit_lib.kit.parameters import Parameters
from coordexp_audit_lib.kit.weights import WeightsWatch

DROPOUT = 0.1  # share of attention
SECRETS = {  # what a run must not write down, by the variable that holds it
    "HF_TOKEN": "hf_" + "AuDiTeDsEcReT" * 2 + "aUdItEd0",
    "WANDB_API_KEY": "a0d17ed5" * 5,
    "AUDITED_PASSWORD": "audited-password-of-no-account",
}


class Watch:
    """What is seen of one run from `began` to `told`. size: samples in its data set."""

    def __init__(self, size: int, folder: str) -> None:
        self.size, self.folder = size, folder
        self.weights, self.parameters, self.modes = WeightsWatch(), Parameters(), ModesWatch()
        self.loaders = LoaderWatch(Path(tempfile.mkdtemp(dir=folder)))
        self.epochs: list[list[int]] = []
        self.rows: list[dict[str, Any]] = []
        self.steps, self.whole = 0, False
        self.planned: int | None = None
        self.model: Any = None

    def began(self, model: Any, loader: Any = None) -> None:
        """Training begins, or goes on from a checkpoint. loader: torch's, where there is one."""
        self.model = model
        self.weights.began(model)
        if loader is not None:
            with suppress(TypeError, AttributeError):
                self.planned = len(getattr(loader, "sampler", None) or loader.batch_sampler.sampler)
            self.loaders.began(loader)

    def drew(self, samples: Sequence[int], epoch: int) -> None:
        """A micro-step is trained on these samples. epoch: from 0."""
        self.epochs += [[] for _ in range(epoch + 1 - len(self.epochs))]
        self.epochs[epoch] += samples

    def before_step(self, optimizer: Any) -> None:
        """All gradients of an optimizer step are there."""
        self.parameters.look(self.model, optimizer)
        self.weights.before_step()
        self.modes.before_step(self.model)

    def after_step(self) -> None:
        self.steps += 1

    def predicted(self) -> None:
        """A step of an evaluation is done."""
        self.modes.predicted(self.model)

    def evaluated(self) -> None:
        self.modes.evaluated()

    def ended(self, rows: Sequence[Mapping[str, Any]], *, whole: bool) -> None:
        """rows: of the log, as the trainer wrote them. whole: all epochs went to their end."""
        self.rows, self.whole = [_numbers(row) for row in rows], whole
        self.loaders.read()

    def told(self) -> dict[str, Any]:
        """What the four questions ask, under the names of their answers' fields."""
        states: list[dict[str, Any]] = [
            {
                "states": {k: [v for _, v in sorted(of.items())] for k, of in one["states"].items()},
                "rows": [list(v) for _, v in sorted(one["rows"].items())],
            }
            for one in self.loaders.seen()
        ]
        return {
            **{"steps": self.steps, "losses": [row["loss"] for row in self.rows if "loss" in row]},
            **{"state": digest(self.model), "trained": self.parameters.seen(), "frozen": self.weights.frozen()},
            **{"modes": self.modes.seen(), "weights": self.weights.finite(self.steps, wait=True)},
            **{"tied": self.weights.tied(), "size": self.size, "epochs": self.epochs, "whole": self.whole},
            **{"planned": self.planned, "workers": states, "rows": self.rows, **_left(self.folder)},
        }


def model(of: Any = None) -> Any:
    """A small Qwen3-VL of one's own to train, with the weights that `parts.model` has. of: another small model.

    Its embeddings are tied, its vision tower is frozen, for a short run has no pictures, and its attention drops at
    random.
    """
    made = copy.deepcopy(parts.model() if of is None else of)
    for config in (made.config, made.config.text_config):
        config.tie_word_embeddings = True
    made.lm_head.weight = made.get_input_embeddings().weight
    for name, p in made.named_parameters():
        p.requires_grad_(".visual." not in f".{name}")
    for name, module in made.named_modules():
        if hasattr(module, "attention_dropout") and ".visual." not in f".{name}":
            module.attention_dropout = DROPOUT
    return made


def arguments(request: Any, folder: str) -> dict[str, Any]:
    """What a request asks for, as `transformers.TrainingArguments` and its subclasses take it."""
    how = {
        **{"output_dir": folder, "num_train_epochs": request["epochs"], "per_device_train_batch_size": 1},
        **{"gradient_accumulation_steps": request["accumulation"], "dataloader_num_workers": request["workers"]},
        **{"seed": request["seed"], "learning_rate": 1e-3, "logging_steps": 1, "report_to": [], "use_cpu": True},
        **{"disable_tqdm": True, "gradient_checkpointing": False, "bf16": False, "per_device_eval_batch_size": 1},
        **{"eval_strategy": "epoch" if request["evaluate"] else "no", "save_strategy": "no"},
    }
    if request["resume_after"]:
        how.update(save_strategy="steps", save_steps=request["resume_after"], save_total_limit=1)
    return how


def ran(make: Callable[[str, dict[str, Any]], Any], request: Any, scratch: str, samples: Sequence[Any]) -> Any:
    """Train and tell what was seen.

    make: `(folder, arguments) -> trainer`, anew with `model()` each time it is called. samples: the token ids of each,
    by which it is known in a batch.
    """
    folder = tempfile.mkdtemp(dir=scratch)
    watch = Watch(len(samples), folder)
    stop, known = request["resume_after"], [list(map(int, ids)) for ids in samples]
    with stand_ins.entries(os.environ, SECRETS):
        trainer = _made(make, folder, arguments(request, folder), watch, known)
        if stop:
            trainer.add_callback(_stopping(stop))
            trainer.train()
            trainer = _made(make, folder, arguments(request, folder), watch, known)
            watch.steps = 0
            trainer.train(resume_from_checkpoint=os.path.join(folder, "checkpoint-%d" % stop))
        else:
            trainer.train()
    watch.steps = trainer.state.global_step
    watch.ended(trainer.state.log_history, whole=trainer.state.epoch >= request["epochs"] - 1e-6)
    told = watch.told()
    del trainer  # it holds itself, and its loader's workers run as long as it is there
    gc.collect()
    return told


def _made(make: Any, folder: str, given: dict[str, Any], watch: Watch, known: list[list[int]]) -> Any:
    """A trainer that is watched."""
    import torch

    torch.manual_seed(given["seed"])
    trainer = make(folder, given)
    trainer.add_callback(_watching(watch))
    step = trainer.training_step

    def noted(model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
        watch.drew(_members(inputs["input_ids"], known), math.floor((trainer.state.epoch or 0) + 1e-6))
        return step(model, inputs, *more, **named)

    trainer.training_step = noted
    return trainer


def _members(ids: Any, known: list[list[int]]) -> list[int]:
    """Which samples stand in the rows of a batch [B, L], in order."""
    found = []
    for row in ids.tolist():
        text = bytes_of(row)
        places = [(text.find(bytes_of(one)), i) for i, one in enumerate(known)]
        found += [i for at, i in sorted(places) if at >= 0]
    return found


def bytes_of(ids: Sequence[int]) -> bytes:
    """Token ids as bytes of one width, so that one row can be looked for in another."""
    return b"".join(i.to_bytes(4, "big") for i in ids)


def _watching(watch: Watch) -> Any:
    from transformers import TrainerCallback

    class Watching(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            watch.began(kwargs.get("model"), kwargs.get("train_dataloader"))

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            watch.before_step(kwargs.get("optimizer"))

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            watch.after_step()

        def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            watch.predicted()

        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            watch.evaluated()

    return Watching()


def _stopping(after: int) -> Any:
    from transformers import TrainerCallback

    class Stopping(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            control.should_save = control.should_training_stop = state.global_step >= after
            return control

    return Stopping()


def _left(folder: str) -> dict[str, Any]:
    """The files below a folder, and which secret stands in which of them."""
    files, leaks = [], []
    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        content = path.read_bytes()
        files.append(name)
        leaks += [[label, name] for label, secret in SECRETS.items() if secret.encode() in content]
    return {"files": files, "leaks": leaks, "planted": sorted(SECRETS)}


def digest(model: Any) -> str:
    """A digest of what a model has learned: the bytes of each parameter that trains."""
    import torch

    made = hashlib.blake2b(digest_size=8)
    for _, p in sorted(model.named_parameters()) if hasattr(model, "named_parameters") else ():
        if p.requires_grad:
            made.update(p.detach().contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return made.hexdigest()


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a log as JSON can hold it."""
    told: dict[str, Any] = {}
    for key, value in row.items():
        one = value.item() if hasattr(value, "item") else value
        if isinstance(one, (int, float)) and not isinstance(one, bool):
            told[key] = one if math.isfinite(one) else repr(float(one))
    return told


def order(dataset: Any, request: Any, known: Sequence[Any]) -> dict[str, Any]:
    """`geometry.sample_order`: a data set read through a torch loader as a request asks.

    dataset: its items have `input_ids`, or are lists of such. known: the token ids of each record.
    """
    from torch.utils.data import DataLoader, Subset

    given = {"num_workers": request["workers"], "persistent_workers": request["persistent"] and request["workers"] > 0}
    loader = DataLoader(Subset(dataset, request["indices"]), batch_size=None, **given)
    ids = [list(map(int, one)) for one in known]
    told = []
    for _ in request["epochs"]:
        rows = [list(map(int, row["input_ids"])) for row in loader]
        told.append([{"record": ids.index(row), "digest": digest_of(row)} for row in rows])
    return {"epochs": told}


class Fresh:
    """Items as a data set that hands out a copy of each, for collators that write into what they are given."""

    def __init__(self, items: Sequence[Mapping[str, Any]]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return dict(self.items[index])


def saved(make: Callable[[str, dict[str, Any]], Any], request: Any, chats: Any, scratch: str) -> dict[str, Any]:
    """`provenance.save`: train one step and save by the trainer's own path; `make` as for `ran`, chats as a run's."""
    folder = tempfile.mkdtemp(dir=scratch)
    given = {"epochs": 1, "accumulation": len(chats), "workers": 0, "evaluate": False, "seed": 42, "resume_after": 1}
    how = dict(arguments(given, folder), save_only_model=request["save_only_model"], logging_strategy="no")
    trainer = make(folder, how)
    if request["shard_bytes"]:
        save, model = trainer.model.save_pretrained, trainer.model
        model.save_pretrained = lambda *a, **k: save(*a, **dict(k, max_shard_size=request["shard_bytes"]))
    trainer.train()
    return checkpoint.held(os.path.join(folder, "checkpoint-%d" % trainer.state.global_step))
