"""How the reference reads packed evaluation from a config, and what its launcher lets through."""

from __future__ import annotations

import posixpath
from typing import Any

import yaml

from coordexp_audit_lib.boundaries.packing.surfaces import EVAL, POLICY, Allowed, EvalPlan, EvalRequest
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.surface import Refuse, answers
from coordexp_audit_lib.kit.nested import merge


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
        raw = yaml.safe_load((pipeline().reference / path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise Refuse(f"{path}: no such config: name one of the anchored configs", "FileNotFoundError") from error
    parent = raw.pop("extends", None)
    above = posixpath.normpath(posixpath.join(posixpath.dirname(path), parent)) if parent else ""
    return merge(_resolved(above) if above else {}, raw)
