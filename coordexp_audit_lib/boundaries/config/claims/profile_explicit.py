"""A stage-2 leaf states by itself, or resolves to where the contract lets it inherit them, the model, the run's name
and directories, the three learning rates, the effective batch, eval and save strategy and steps, b_ratio and
n_softctx_iter.

What a leaf leaves to its base changes when the base does: the same leaf then trains with other learning rates or
another share of rollouts than the paper's table says.

Example: a leaf without `training.vit_lr` must be refused, naming that key."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.config.cases import edits
from coordexp_audit_lib.boundaries.config.cases.bench import profile_bench
from coordexp_audit_lib.boundaries.config.faults import overlooked
from coordexp_audit_lib.boundaries.config.predicates.chains import Followed, by_profile
from coordexp_audit_lib.boundaries.config.predicates.inheritance import parent_path
from coordexp_audit_lib.boundaries.config.predicates.messages import names_path, said
from coordexp_audit_lib.boundaries.config.surfaces import SourceFile
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.nested import lookup, steps


@claim(severity="P1", kind="B", remedy="Refuse a leaf that leaves one of them to its parent, and name the key.")
def profile_explicit(ctx: Context) -> Iterator[Problem]:
    bench, profile = profile_bench(ctx), ctx.contract["config.profile"]
    leaf, done = bench.chain.files[0], "resolve to" if profile["resolved"] else "state"
    for key in profile["explicit"]:
        *parents, last = steps(profile["composed"].get(key, key))
        raw = copy.deepcopy(bench.chain.merged if profile["resolved"] else leaf.raw)
        lookup(raw, tuple(parents), {}).pop(last, None)
        answer = bench.load(_inherited(leaf, raw) if profile["resolved"] else edits.rewritten(leaf, raw))
        ctx.judged()
        if answer.refusal is None or not names_path(answer.refusal.message, key):
            verdict = "refused without naming it" if answer.refusal else "accepted"
            text = f"A stage-2 leaf that does not {done} {key} is {verdict}."
            yield Problem(text, key, f"refused, naming {key}", said(answer), {"leaf without": key})


def _inherited(leaf: SourceFile, raw: dict[str, Any]) -> dict[str, str]:
    """The leaf without keys of its own, over one parent that sets all of `raw`."""
    parent = "../audit_parent.yaml"
    return {leaf.path: edits.text_of({}, [parent]), parent_path(leaf.path, parent): edits.text_of(raw)}


profile_explicit.on(Followed, by_profile("config.profile_explicit"))

WORDS = r"a stage-2 leaf states it by itself"
overlooked(profile_explicit, implicit_leaf=(WORDS, "a stage-2 leaf may leave everything to its base"))
