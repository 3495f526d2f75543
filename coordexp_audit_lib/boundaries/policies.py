"""Policies: what only some pipelines promise. A claim that belongs to none holds of any pipeline of the kind.

A pipeline that does not keep a policy is not judged by its claims: they are neither violated nor unbound.
"""

from __future__ import annotations

from collections.abc import Iterable

from coordexp_audit_lib.core.claim import Claim, declared
from coordexp_audit_lib.core.declared import Declared
from coordexp_audit_lib.core.pipeline import Pipeline

# Policy -> what it promises, and its claims: ids, or whole boundaries with a dot at their end. An id counts before a
# boundary.
POLICIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "config": ("one strict loader of YAML configs that extend each other", ("config.",)),
    "coordinate-tokens": (
        "boxes are written as coordinate tokens, which the vocabulary is expanded by",
        ("template.coord_tokens_atomic", "template.vocab_fits"),
    ),
    "coordjson": ("answers are CoordJSON, read by a strict and a salvaging parser", ("coordjson.",)),
    "manifest": ("a run leaves a manifest of its files, config, versions and launch", ("provenance.",)),
    "map": ("the stages have the owners, entry points and keys that its map names", ("pipeline_map.",)),
    "own-check": ("the trainer checks its packed batches itself", ("packing.own_check",)),
    "pins": ("its prompts are pinned (`template.prompt_pins` of the contract)", ("template.render_pinned",)),
    "records": ("data are records of objects with boxes in a thousand bins", ("geometry.",)),
    "rollouts": (
        "it trains on rollouts of its own from a server",
        ("rollout.", "metrics.", "packing.fill_at_least_fifo", "supervision."),
    ),
    "silence": ("its errors name what is wrong and where", ("silence.",)),
    "unpacked-evaluation": ("evaluation is packed only where a config asks for it", ("packing.eval_unpacked",)),
    "upstream": ("it writes down what it relies on below (`upstream.contracts` of the contract)", ("upstream.",)),
}
# Claims of a policy's boundary that hold of any pipeline.
UNIVERSAL = (
    *("metrics.no_dilution", "metrics.shards_merged", "metrics.evaluation_order_free", "metrics.reduced_by_key"),
    *("metrics.finite", "metrics.schema_stable", "metrics.per_step_not_cumulative", "metrics.step_once"),
    *("supervision.parameters_train", "supervision.frozen_still", "supervision.updated_once", "supervision.tied_stay"),
    *("supervision.modes_fit", "supervision.weights_finite", "supervision.run_repeats", "supervision.resume_goes_on"),
    *("template.prompt_is_prefix", "geometry.sampling_deterministic", "rollout.no_rank_conditional_collective"),
    *("provenance.weights_only", "provenance.no_secrets", "silence.no_blanket_suppression"),
    *("upstream.qwen3vl_surface", "upstream.installed_fit", "upstream.imports_there"),
)


def policy_of(claim: str) -> str:
    """The policy that a claim belongs to, by its id; "" where it is universal."""
    if claim in UNIVERSAL:
        return ""
    boundary = claim.partition(".")[0] + "."
    for names in ((claim,), (boundary,)):
        for policy, (_, claims) in POLICIES.items():
            if any(n in claims for n in names):
                return policy
    return ""


def asked_of(pipeline: Pipeline, boundary: str) -> list[Claim]:
    """The claims of a boundary that a target of the pipeline can be asked about, whatever policies it keeps."""
    adapted = isinstance(pipeline, Declared)
    return [c for c in declared(boundary) if c.of_targets or (adapted and c.of_adapters)]


def applicable(pipeline: Pipeline, boundary: str) -> list[Claim]:
    """The claims of a boundary that the pipeline is judged by: universal ones, and those of the policies that it
    keeps."""
    return [c for c in asked_of(pipeline, boundary) if not (policy := policy_of(c.id)) or pipeline.keeps(policy)]


def left_out(pipeline: Pipeline, names: Iterable[str]) -> dict[str, int]:
    """How many claims of each policy the pipeline is not judged by. names: of boundaries."""
    counts: dict[str, int] = {}
    for c in (c for name in names for c in asked_of(pipeline, name)):
        policy = policy_of(c.id)
        if policy and not pipeline.keeps(policy):
            counts[policy] = counts.get(policy, 0) + 1
    return counts
