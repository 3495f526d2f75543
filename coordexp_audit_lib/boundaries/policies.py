"""Policies: what only some pipelines promise. A claim that belongs to none holds of any pipeline of the kind.

A pipeline that does not keep a policy is not judged by its claims: they are neither violated nor unbound.
"""

from __future__ import annotations

from collections.abc import Iterable

from coordexp_audit_lib.core.claim import Claim
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
        (*("rollout.", "metrics.", "template.prompt_is_prefix", "packing.fill_at_least_fifo"), *("supervision.",)),
    ),
    "silence": ("its source suppresses nothing in silence, and its errors name a place", ("silence.",)),
    "unpacked-evaluation": ("evaluation is packed only where a config asks for it", ("packing.eval_unpacked",)),
    "upstream": ("it writes down what it relies on below (`upstream.contracts` of the contract)", ("upstream.",)),
}
# Claims of a policy's boundary that hold of any pipeline.
UNIVERSAL = ("metrics.no_dilution", "metrics.shards_merged", "metrics.evaluation_order_free")


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


def applicable(claims: Iterable[Claim], pipeline: Pipeline) -> list[Claim]:
    """The claims that the pipeline is judged by: universal ones, and those of the policies that it keeps."""
    return [c for c in claims if not (policy := policy_of(c.id)) or pipeline.keeps(policy)]


def left_out(claims: Iterable[Claim], pipeline: Pipeline) -> dict[str, int]:
    """How many claims of each policy the pipeline is not judged by."""
    counts: dict[str, int] = {}
    for c in claims:
        policy = policy_of(c.id)
        if policy and not pipeline.keeps(policy):
            counts[policy] = counts.get(policy, 0) + 1
    return counts
