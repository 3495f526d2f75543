"""A small real training with every guard in place, and ten ways to break it: what the tests and the book run.

A `transformers.Trainer` trains the small Qwen3-VL on packed batches; every second step is a Channel-B step whose
rollout comes from an answer as a server gives it. `python -m coordexp_audit_lib.guards.rehearsal` prints what stops
each break, as the book shows it.
"""

from __future__ import annotations

import shutil
import tempfile
import textwrap
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from coordexp_audit_lib.boundaries.metrics.reference.telemetry import Stage2Telemetry
from coordexp_audit_lib.core.errors import InvariantViolation
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.guards.pins import pins_of
from coordexp_audit_lib.guards.rollouts import check_rollout_prefix, check_rollout_response, check_supervision
from coordexp_audit_lib.kit import chat, model, mrope, picture, tokenizer, variants
from coordexp_audit_lib.kit.profile import QWEN3_VL as QWEN
from coordexp_audit_lib.kit.schedule import is_b_step, seed_base

CONFIG = pipeline().configs[1]
TREE = pipeline().reference
SYSTEM, USER = "Answer with JSON.", "<image>Locate every object."
CUP, CAT = ("cup", [12, 34, 256, 480]), ("cat", [300, 310, 640, 999])


class Break(NamedTuple):
    """One deliberate mistake: its name, what it is, and the invariant that must stop the run."""

    name: str
    summary: str
    caught_by: str


BREAKS = (
    Break("unknown_key", "a misspelt key in rollout_matching", "config.unknown_key_rejected"),
    Break("system_prompt", "another system prompt than the pinned one", "template.render_pinned"),
    Break("split_token", "a coordinate token that the tokenizer splits", "template.coord_tokens_atomic"),
    Break("shifted_labels", "labels shifted by one", "packing.no_cross_boundary_label"),
    Break("running_positions", "positions that do not restart in the second sample", "packing.positions_restart"),
    Break("foreign_prompt", "a rollout from a prompt that is no prefix of its target", "template.prompt_is_prefix"),
    Break("missing_metric", "a Channel-B step that logs no throughput", "metrics.required_keys"),
    Break("averaged_seed", "a rollout seed averaged over two ranks", "metrics.identity_not_averaged"),
    Break("optimizer_file", "an optimizer's state in a weights-only checkpoint", "provenance.weights_only"),
    Break("corrupt_prefix", "a kept rollout with one token replaced", "supervision.prefix_kept"),
)


@lru_cache(maxsize=1)
def samples() -> list[dict[str, Any]]:
    """Encoded chat samples: ids, unshifted labels, grid, pixel rows in [-1, 1], one picture each."""
    made = []
    for number, (desc, box) in enumerate((CUP, CAT)):
        grid, rows = picture.patches(picture.pixels(number, 64, 64))
        answer = f'{{"objects": [{{"desc": "{desc}", "bbox_2d": [{", ".join(f"<|coord_{k}|>" for k in box)}]}}]}}'
        ids, labels = chat.render([("system", SYSTEM), ("user", USER), ("assistant", answer)], [grid])
        made.append({"ids": ids, "labels": labels, "grid": grid, "rows": rows})
    return made


def collate(packs: list[list[int]], broken: str = "") -> dict[str, Any]:
    """One packed row of the samples of the first pack, as torch tensors."""
    import torch

    chosen = [samples()[i] for i in packs[0]]
    ids = torch.tensor([t for s in chosen for t in s["ids"]])
    labels = torch.tensor([y for s in chosen for y in s["labels"]])
    bounds = [0]
    for s in chosen:
        bounds.append(bounds[-1] + len(s["ids"]))
    grid = torch.tensor([s["grid"] for s in chosen])
    text = torch.cat([torch.arange(len(s["ids"])) for s in chosen])
    if broken == "running_positions":
        text = torch.arange(len(ids))
    if broken == "shifted_labels":
        labels = torch.cat([labels[1:], labels.new_full((1,), QWEN.ignore_index)])
    rows = torch.from_numpy(mrope.positions(ids.numpy(), QWEN, bounds, images=grid.numpy()))
    cu = torch.tensor(bounds, dtype=torch.int32)
    longest = int(cu.diff().max())
    return {
        "input_ids": ids[None],
        "labels": labels[None],
        "position_ids": torch.cat([text[None], rows])[:, None],
        "cu_seq_lens_q": cu,
        "cu_seq_lens_k": cu,
        "max_length_q": longest,
        "max_length_k": longest,
        "image_grid_thw": grid,
        "pixel_values": torch.cat([torch.from_numpy(s["rows"]) for s in chosen]).float() / 127.5 - 1,
    }


class Collator:
    """Collates soundly for two packs, then as it is told."""

    def __init__(self, broken: str = "") -> None:
        self.broken, self.calls = broken, 0

    def __call__(self, packs: list[list[int]]) -> dict[str, Any]:
        self.calls += 1
        return collate(packs, self.broken if self.calls > 2 else "")


def written_config(folder: Path, broken: str = "") -> Path:
    """The config's files, under `folder`."""
    shutil.copytree(TREE / "configs", folder / "configs", dirs_exist_ok=True)
    leaf = folder / CONFIG
    if broken == "unknown_key":
        text = leaf.read_text(encoding="utf-8") + "\nrollout_matching: {decode_bach_size: 4}\n"
        leaf.write_text(text, encoding="utf-8")
    return leaf


def prompt(system: str = SYSTEM) -> list[int]:
    """Ids of the prompt of the first sample."""
    ids, _ = chat.render([("system", system), ("user", USER)], [samples()[0]["grid"]])
    return ids + tokenizer.encode("<|im_start|>assistant\n")


@lru_cache(maxsize=1)
def pins() -> dict[str, Any]:
    """What the sound run is pinned to."""
    return pins_of(tokenizer.qwen(), prompt())


def channel_b(broken: str = "") -> Mapping[str, int]:
    """One Channel-B rollout from the server's answer to the target, guarded at each edge; its counts.

    The ground truth is both objects; the rollout finds the first.
    """
    from coordexp_audit_lib.boundaries.supervision.cases import rollouts
    from coordexp_audit_lib.boundaries.supervision.reference.target import build
    from coordexp_audit_lib.boundaries.supervision.surfaces import ChannelBRequest, Sample, Thing

    gt = [Thing(*CUP), Thing(*CAT)]
    said = rollouts.rollout(gt[:1])
    asked = prompt("Another prompt." if broken == "foreign_prompt" else SYSTEM)
    answer = [{"prompt_token_ids": asked, "choices": [{"token_ids": said, "message": {"content": ""}}]}]
    [(generated_from, rollout, _)] = check_rollout_response(answer, 1)
    sample = Sample(gt, rollout)
    target = build(sample, ChannelBRequest([sample]))
    ids = list(target.ids)
    if broken == "corrupt_prefix":
        ids[3] += 1
    check_rollout_prefix(prompt() + ids, prompt=generated_from, rollout=rollout, kept=target.prefix_len)
    labels = [t if w > 0 else QWEN.ignore_index for t, w in zip(ids, target.weights, strict=True)]
    boxes = [(g.pos, g.bins) for g in (*target.matched_groups, *target.missed_groups)]
    truth = [(t.desc, t.bbox) for t in gt]
    check_supervision(ids, labels, target.weights, gt=truth, boxes=boxes, prefix_len=target.prefix_len)
    return {"tokens": len(rollout), "valid": target.kept.valid}


def record(telemetry: Stage2Telemetry, step: int, broken: str = "") -> None:
    """One step's metrics on this rank."""
    channel = "B" if is_b_step(step, 0.5) else "A"
    telemetry.step_began(channel)
    if channel == "A":
        return
    counts = channel_b(broken)
    telemetry.identity(telemetry.words.seed, seed_base(17, step))
    telemetry.seconds(telemetry.words.generate, 0.25)
    telemetry.count("rollout/gen_new_tokens_total", counts["tokens"])
    telemetry.count(telemetry.words.valid, counts["valid"])
    telemetry.rate(telemetry.words.throughput, over="rollout/gen_new_tokens_total", under=telemetry.words.generate)


def payload(telemetry: Stage2Telemetry, broken: str = "") -> dict[str, Any]:
    """What is logged of the step."""
    made: dict[str, Any] = telemetry.finish()
    if broken == "missing_metric":
        made.pop(telemetry.words.throughput, None)
    if broken == "averaged_seed" and "rollout/seed_base" in made:
        made["rollout/seed_base"] += 0.5  # the mean of this seed and the next
    return made


def trainer(folder: Path, broken: str = "", *, steps: int = 20, timeout_s: float = 60.0, **arguments: Any) -> Any:
    """A trainer of the small model in `folder`, guarded; `broken` is the name of a break. `audit` is its callback."""
    import transformers

    from coordexp_audit_lib.callback import AuditCallback

    class Stage2(transformers.Trainer):
        telemetry = Stage2Telemetry()

        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            record(self.telemetry, self.state.global_step, broken)
            return super().training_step(*args, **kwargs)

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            super().log({**logs, **payload(self.telemetry, broken)} if "loss" in logs else logs, start_time)

        def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
            super().save_model(output_dir, _internal_call)
            if broken == "optimizer_file" and output_dir:
                (Path(output_dir) / "optimizer.pt").touch()

    leaf = written_config(folder, broken)
    audit = AuditCallback(
        leaf,
        repository=folder,
        pins=pins(),
        timeout_s=timeout_s,
        tokenizer=variants.build("split", 0, tokenizer, None) if broken == "split_token" else tokenizer.qwen(),
        template=prompt("You are a helpful assistant." if broken == "system_prompt" else SYSTEM),
    )
    given: dict[str, Any] = {
        "output_dir": str(folder / "out"),
        "max_steps": steps,
        "per_device_train_batch_size": 1,
        "logging_steps": 1,
        "report_to": [],
        "use_cpu": True,
        "save_strategy": "no",
        "save_only_model": True,
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "lr_scheduler_type": "constant",
        "learning_rate": 1e-4,
        "optim": "sgd",
    }
    network = model.build()
    network.config.text_config.use_cache = False  # with a cache, the samples of a pack would see each other
    made = Stage2(
        model=network,
        args=transformers.TrainingArguments(**{**given, **arguments}),
        data_collator=audit.wrap(Collator(broken), packed=True),
        train_dataset=[[0, 1], [1, 0]] * 20,
        callbacks=[audit],
    )
    made.remove_callback(transformers.PrinterCallback)
    made.audit = audit
    return made


def main() -> None:
    """Print what a reader sees of each break."""
    for broken in BREAKS:
        with tempfile.TemporaryDirectory() as folder:
            made = trainer(Path(folder), broken.name, save_strategy="steps", save_steps=2)
            try:
                with model.one_thread():
                    made.train()
            except InvariantViolation as error:
                print(as_page(broken, str(error)))


def as_page(broken: Break, message: str) -> str:
    """A break as the book shows it."""
    lines = textwrap.wrap(message, 96, break_long_words=False, break_on_hyphens=False)
    return f"**{broken.summary[0].upper()}{broken.summary[1:]}**\n\n```text\n" + "\n".join(lines) + "\n```\n"


if __name__ == "__main__":
    main()
