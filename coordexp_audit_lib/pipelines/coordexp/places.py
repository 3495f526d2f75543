"""The places in a CoordExp tree that are to be mended where neither a refusal, nor a key, nor the lines that ran tell
them: the function that owns the demand, and the statement in it by what it calls, assigns or spells.

A name that holds at some commits only has its eras in `symbols`; a tree that lacks all of them is told nothing.
"""

from __future__ import annotations

from coordexp_audit_lib.core.pipeline import Named
from coordexp_audit_lib.pipelines.coordexp import symbols

BUILD_ARGUMENTS = symbols.BUILD_ARGUMENTS
NORMALIZE_BOX = symbols.CONVERTER / "_normalize_bbox_2d_to_norm1000"
TOKENS_TO_INTS = symbols.AUGMENT / "_geom_tokens_to_ints"
AUGMENT_RECORD = symbols.AUGMENT / "_augment_record"
COERCE_COORD = symbols.CODEC / "_coerce_to_int"
COORD_LITERAL = symbols.TRANSPILER / "_parse_coord_literal"
MATCHED_STRUCTURE = symbols.STAGE2 / "_matched_prefix_structure_positions"
STRIP_ANSWER = symbols.ROLLOUT / "_strip_trailing_assistant_turns_for_rollout"
NORMALIZE_SEED = symbols.ROLLOUT_TRAINER_OF_ANY_NAME / "_normalize_rollout_seed_int32"

CHOOSE_CANDIDATES = symbols.SUBSET_SAMPLING / "select_tail_protected_candidates"

PLACES: dict[str, tuple[Named, ...]] = {
    "config.batch_divisible": (Named(BUILD_ARGUMENTS, "update", about="is accepted"),),
    "geometry.bins_k999": (Named(NORMALIZE_BOX, "sx1", about="converter on bbox_2d"),),
    "geometry.bins_in_range": (
        Named(TOKENS_TO_INTS, "round", about="into augmentation"),
        Named(COERCE_COORD, about="without augmentation"),
    ),
    "geometry.box_ordered": (
        Named(symbols.GT_OBJECTS, "GTObject", about="^rollout-matching ground truth"),
        Named(symbols.VALIDATE_RECORD, "geom", about="^the dataset"),
    ),
    "geometry.augment_identity": (Named(AUGMENT_RECORD, "apply_augmentations"),),
    "coordjson.linear_time": (Named(hot=True),),
    "coordjson.agrees_with_reference": (Named(COORD_LITERAL, "match", about="^coordinate spelling"),),
    "template.prompt_is_prefix": (Named(symbols.ROLLOUT_MANY, "system", about="vllm"),),
    "template.no_truncation": (Named(key="template.truncation_strategy", about="is cut to"),),
    "packing.positions_restart": (Named(symbols.JOIN_SUFFIXES, "position_ids", about="joined by the trainer"),),
    "metrics.reduced_by_key": (Named(symbols.REDUCE_METRICS, "merged_keys"),),
    "supervision.suffix_taught": (Named(symbols.ENCODE_SUFFIX, "FullSuffixTargetStep", about="taught twice"),),
    "supervision.subset_sampling": (Named(CHOOSE_CANDIDATES, "protected", about="is a candidate"),),
    "packing.own_check": (
        Named(symbols.CHECKED_BATCHES / "compute_loss", "checks_remaining", about="before it"),
        Named(symbols.BATCH_CONTRACT, about="."),
    ),
    "packing.eval_unpacked": (Named(key="training.eval_packing", about="asks for packed evaluation"),),
    "supervision.fp_neutral": (Named(MATCHED_STRUCTURE, "entry_tokens"),),
    "supervision.append_tokenization": (Named(symbols.PREPARE_B, "append_ids"),),
    "supervision.rollout_seed": (Named(symbols.PREPARE_B, "_rollout_many", about="request index"),),
    "rollout.seeds_nonzero": (
        Named(symbols.PREPARE_B, "_rollout_many", about="^one Channel-B step.*share a seed"),
        Named(NORMALIZE_SEED, "s", about="."),
    ),
    "rollout.response_schema": (
        Named(symbols.PARSE_SERVER_OUTPUT, "prompt_ids", about="prompt_token_ids"),
        Named(symbols.PARSE_SERVER_OUTPUT, "token_ids", about="token_ids"),
    ),
    "rollout.request_schema": (Named(STRIP_ANSWER, "trimmed", about="own answer"),),
    "provenance.swift_source": (Named(symbols.COLLECT_DEPENDENCIES, "repo_root"),),
    "upstream.trainer_helpers": (Named(symbols.OPTIMIZER_WIRING, "vit_parameters", about="the pipeline's optimizer"),),
}

# A whole run of two ranks: to watch it line by line takes many times as long, and its metrics are found by their names.
UNTRACED = frozenset({"metrics.log"})
