"""The map's fixed points: two anchored entrypoints, eight stages, and what each launcher must start."""

from __future__ import annotations

import msgspec

STAGE1, STAGE2 = "stage1", "stage2"
BOTH = (STAGE1, STAGE2)


class Entrypoint(msgspec.Struct, frozen=True):
    """A launcher with its config, as anchored by the requirement. must_start: (kind, name) pairs."""

    id: str
    title: str
    launcher: str
    config: str
    must_start: tuple[tuple[str, str], ...]


class Stage(msgspec.Struct, frozen=True):
    """One stage of the pipeline. entrypoints: those that go through it."""

    id: str
    title: str
    entrypoints: tuple[str, ...] = BOTH


class Owner(msgspec.Struct, frozen=True):
    """A function or class that does a stage's work.

    role: what it does, in a few words. names: `module:symbol` at the reference commit, then at other commits.
    """

    stage: str
    role: str
    names: tuple[str, ...]
    entrypoints: tuple[str, ...] = BOTH


ENTRYPOINTS = (
    Entrypoint(
        STAGE1,
        "Stage 1 (supervised fine-tuning)",
        "scripts/train.sh",
        "configs/stage1/ablation/geometry_first_coco80.yaml",
        (("module", "src.sft"),),
    ),
    Entrypoint(
        STAGE2,
        "Stage 2 AB (rollouts through a vLLM server)",
        "scripts/train_stage2.sh",
        "configs/stage2_ab/prod/ab_mixed.yaml",
        (("module", "src.sft"), ("command", "swift rollout")),
    ),
)

STAGES = (
    Stage("launch", "Launch and config"),
    Stage("data", "Dataset ingestion and validation"),
    Stage("template", "Chat template and tokenization"),
    Stage("packing", "Packing, collation and masks"),
    Stage("trainer", "Trainer forward and loss"),
    Stage("metrics", "Evaluation and metrics"),
    Stage("artifacts", "Checkpoints and artifacts"),
    Stage("rollout", "vLLM server-mode rollouts", (STAGE2,)),
)

FORWARDERS = ("src.config.loader:ConfigLoader.build_train_arguments",)
UPSTREAM_SECTIONS = ("model", "quantization", "data", "template", "tuner", "training", "rlhf")


def entrypoint_of(config: str) -> Entrypoint:
    """The entrypoint that a config belongs to: the anchored one of that name, else by its folder."""
    for e in ENTRYPOINTS:
        if e.config == config:
            return e
    return ENTRYPOINTS[1 if "stage2" in config else 0]


def stages_of(entrypoint: str) -> list[Stage]:
    return [s for s in STAGES if entrypoint in s.entrypoints]
