"""A small trainer of `transformers`, guarded by the callback in three lines, and what is left of its run.

The oracle is the run itself, beside the tool: the weights after it, or the samples that it was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from coordexp_audit_lib.callback import AuditCallback
from coordexp_audit_lib.core.errors import InvariantViolation
from coordexp_audit_lib.kit.model import one_thread
from tests.silent_bugs.pairs import Told

hub: Any = transformers
SAMPLES, VOCABULARY = 12, 32
Rows = list[dict[str, Any]]


def rows() -> Rows:
    """Samples of 4 to 9 tokens, the second half of each supervised."""
    random = np.random.default_rng(5)
    made = [random.integers(3, VOCABULARY, random.integers(4, 10)).tolist() for _ in range(SAMPLES)]
    return [{"input_ids": ids, "labels": [-100] * (len(ids) // 2) + ids[len(ids) // 2 :]} for ids in made]


class Tiny(hub.LlamaForCausalLM):  # type: ignore[misc]
    """A model of one layer that keeps what it was trained on."""

    def __init__(self, **how: Any) -> None:
        size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        torch.manual_seed(0)
        super().__init__(
            hub.LlamaConfig(vocab_size=VOCABULARY, num_key_value_heads=1, initializer_range=0.5, **size, **how)
        )
        self.seen: list[list[int]] = []

    def forward(self, input_ids: Any = None, **how: Any) -> Any:
        self.seen += [input_ids.flatten().tolist()]
        return super().forward(input_ids=input_ids, **how)


class Ran:
    """What is left of a run: what the audit tells, and what it was trained to."""

    def __init__(self, folder: Path, stopped: str, network: Any, losses: list[float]) -> None:
        told = json.loads((folder / "audit" / "audit.json").read_text())
        assert "failed" not in told.get("run", {}), told["run"]["failed"]
        said = [f"[{claim}] {text}" for claim, kept in told.get("run", {}).items() for text in kept["found"]]
        said += [
            f"[supervision.parameters_train] {kind}: {n}"
            for kind in IDLE
            for n in told.get("parameters", {}).get(kind, [])
        ]
        self.told: Told = [stopped] if stopped else said
        self.weights = {n: np.round(p.detach().numpy(), 4).tolist() for n, p in network.named_parameters()}
        self.seen, self.losses = network.seen, losses


IDLE = ("without a gradient", "in no optimizer group")
QUIET = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "dataloader_pin_memory": False, "optim": "sgd"}


def run(
    folder: Path,
    kind: Any = hub.Trainer,
    network: Any = None,
    *,
    prepared: Callable[[Any], None] | None = None,
    resume: str | None = None,
    data: Any = None,
    collator: Any = None,
    **arguments: Any,
) -> Ran:
    given = {
        "max_steps": 3,
        "per_device_train_batch_size": 3,
        "logging_steps": 1,
        "save_strategy": "no",
        "learning_rate": 0.1,
        "max_grad_norm": 0.0,
    }
    settings = hub.TrainingArguments(str(folder), **{**given, **QUIET, **arguments})
    audit = AuditCallback()
    trains = Tiny() if network is None else network
    trainer = kind(
        trains,
        settings,
        train_dataset=rows() if data is None else data,
        eval_dataset=rows()[:3] if "eval_strategy" in arguments else None,
        data_collator=audit.wrap(collator or hub.DataCollatorWithFlattening()),
        callbacks=[audit],
    )
    trainer.remove_callback(hub.PrinterCallback)
    if prepared:
        prepared(trainer)
    stopped = ""
    with one_thread():
        try:
            trainer.train(resume_from_checkpoint=resume)
        except InvariantViolation as error:
            stopped = str(error)
    return Ran(folder, stopped, trains, [row["loss"] for row in trainer.state.log_history if "loss" in row])


def of(wrong: Any = hub.Trainer, right: Any = hub.Trainer, **how: Any) -> Callable[[bool, Path], Ran]:
    return lambda broken, folder: run(folder, wrong if broken else right, **how)
