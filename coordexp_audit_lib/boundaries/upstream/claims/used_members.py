"""A release has what else is used of it: settings of the engine, members of trainers that are subclassed, special
tokens, and what ms-swift itself needs of trl, peft, accelerate and deepspeed.

Some of it is reached in a part of the runs only: a colocated engine, distillation, an adapter. There a release that has
another name for it stops the run when it comes to that place, hours after the start.

Example: vLLM 0.33's `EngineArgs` has no `swap_space`, and its `SamplingParams` no `best_of`."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.upstream.predicates.installed import REMEDY, swift
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import Release, release_keeps
from coordexp_audit_lib.core.claim import artifact_claim

used_members = artifact_claim(
    id="upstream.used_members",
    doc=__doc__,
    severity="P1",
    remedy=REMEDY,
    spec=(swift("swift/llm/infer/infer_engine/vllm_engine.py", "VllmEngine"),),
    on={Release: release_keeps},
)
