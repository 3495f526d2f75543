"""Whether evaluation is packed: the questions, and the reference's answers."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import msgspec
import yaml

from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.surface import Refuse, answers, surface

CONFIGS = pipeline().reference


class EvalRequest(msgspec.Struct, frozen=True):
    """training: the config's `training` section, laid over that of `config` (path in the tree) if one is named."""

    training: dict[str, Any] = {}
    config: str = ""


class EvalPlan(msgspec.Struct, frozen=True):
    """packing, eval_packing: as the pipeline reads them. asked: what the config itself says, null where it is silent.

    rollout: the variant's evaluation generates, and no dataset of it is packed.
    """

    packing: bool
    eval_packing: bool
    asked: bool | None
    variant: str
    rollout: bool


class Allowed(msgspec.Struct, frozen=True):
    """The launcher's policy let the config through."""

    allowed: bool = True


EVAL = surface("packing.eval_plan", EvalRequest, EvalPlan, "How packing and packed evaluation are read from a config.")
POLICY = surface("packing.policy", EvalRequest, Allowed, "The launcher's own check of packing, before training.")


@answers(EVAL)
def eval_plan(request: EvalRequest) -> EvalPlan:
    config = _resolved(request.config) if request.config else {}
    training = {**config.get("training", {}), **request.training}
    asked = training.get("eval_packing")
    variant = str(config.get("custom", {}).get("trainer_variant") or "")
    packing = bool(training.get("packing", False))
    rollout = variant.startswith(("stage2", "rollout"))
    return EvalPlan(packing, packing and bool(asked), None if asked is None else bool(asked), variant, rollout)


@answers(POLICY)
def policy(request: EvalRequest) -> Allowed:
    mode = request.training.get("packing_mode", "static")
    if mode != "static":
        raise Refuse(f"training.packing_mode is {mode!r}: set it to static, no other mode is supported")
    return Allowed()


def _resolved(path: str) -> dict[str, Any]:
    """The reference tree's config with its parents below it."""
    try:
        raw = yaml.safe_load((CONFIGS / path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise Refuse(f"{path}: no such config: name one of the anchored configs", "FileNotFoundError") from error
    parent = raw.pop("extends", None)
    below = _resolved(_joined(path, parent)) if parent else {}
    return _merged(below, raw)


def _joined(path: str, parent: str) -> str:
    found: list[str] = []
    for part in (*PurePosixPath(path).parent.parts, *PurePosixPath(parent).parts):
        found = found[:-1] if part == ".." else [*found, part]
    return "/".join(found)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    made = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(made.get(key), dict)
        made[key] = _merged(made[key], value) if both else value
    return made
