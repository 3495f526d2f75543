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
MATCHED_STRUCTURE = (symbols.STAGE2 / "_matched_prefix_structure_positions") | (
    symbols.TF_ROLLOUT_META / "matched_prefix_structure_positions"
)
TOKEN_CE = symbols.TF_TOKEN_CE / "run_token_ce_module"
LOAD_CONFIG = symbols.SCHEMA / "TrainingConfig" / "from_mapping"
SKIP_BLANKS, COORD_ARRAY = symbols.TRANSPILER / "_skip_ws", symbols.TRANSPILER / "_parse_coord_array"
CONTAINER = symbols.TRANSPILER / "_parse_container_from_start"
APPEND_TEXT = symbols.PARSING / "serialize_append_fragment"
APPEND = symbols.PREPARE_B | symbols.TARGET_BUILDER / "_build_channel_b_supervision_targets"
ROLLOUT_PROMPT = symbols.ROLLOUT_MANY | symbols.ROLLOUT_TRAINER_OF_ANY_NAME / "_prepare_samples_for_rollout"
STRIP_ANSWER = symbols.ROLLOUT / "_strip_trailing_assistant_turns_for_rollout"
NORMALIZE_SEED = symbols.ROLLOUT_TRAINER_OF_ANY_NAME / "_normalize_rollout_seed_int32"


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
    "template.prompt_is_prefix": (Named(ROLLOUT_PROMPT, "system", about="vllm"),),
    "template.no_truncation": (Named(key="template.truncation_strategy", about="is cut to"),),
    "packing.positions_restart": (Named(symbols.JOIN_SUFFIXES, "position_ids", about="joined by the trainer"),),
    "rollout.fail_together": (
        Named(symbols.ROLLOUT_REDUCE, "has_parse_inputs", about="reduced .rollout_matching"),
        Named(symbols.STAGE2_REDUCE_OF_ANY_NAME, "has_rollout_parse_inputs", about="reduced .stage2"),
    ),
    "metrics.reduced_by_key": (Named(symbols.REDUCE_METRICS, "merged_keys"),),
    "supervision.suffix_taught": (Named(symbols.ENCODE_SUFFIX, "FullSuffixTargetStep", about="taught twice"),),
    "supervision.subset_sampling": (Named(symbols.CHOOSE_CANDIDATES, "protected", about="is a candidate"),),
    "packing.own_check": (
        Named(symbols.CHECKED_BATCHES / "compute_loss", "checks_remaining", about="before it"),
        Named(symbols.BATCH_CONTRACT, about="."),
    ),
    "packing.eval_unpacked": (Named(key="training.eval_packing", about="asks for packed evaluation"),),
    "config.length_coherent": (Named(LOAD_CONFIG, "vllm_max_model_len_raw", about="is accepted|are accepted"),),
    "coordjson.salvage_accounts": (Named(CONTAINER, "ch", about="^entry is no record"),),
    "coordjson.salvage_never_repairs": (
        Named(COORD_LITERAL, "match", about="^coordinate spelling"),
        Named(COORD_ARRAY, "_parse_coord_literal", about="^trailing comma"),
    ),
    "coordjson.strict_rejects": (
        Named(COORD_LITERAL, "match", about="coordinate spelling"),
        Named(COORD_ARRAY, "_parse_coord_literal", about="trailing comma"),
        Named(SKIP_BLANKS, "isspace", about="a blank that JSON has not"),
    ),
    "geometry.record_contract": (Named(symbols.VALIDATE_RECORD, "messages", about="beside messages"),),
    "metrics.reasons_add_up": (Named(symbols.PREPARE_B, "n_drop_invalid", about="N_drop_invalid"),),
    "packing.loss_equivalent": (
        Named(symbols.STEP_A, "weight", about="^a step of Channel-A"),
        Named(symbols.STEP_B, "weight", about="^a step of Channel-B"),
    ),
    "provenance.files_present": (Named(symbols.WRITE_MANIFEST, "config_source.yaml", about="kept nowhere"),),
    "supervision.invalid_rollout_fallback": (
        Named(APPEND_TEXT, "startswith", about="^junk before.*is refused"),
        Named(symbols.PARSE_ROLLOUT, "bool", about="container"),
    ),
    "supervision.match_deterministic": (Named(symbols.MATCH, "cand", about="nearest few"),),
    "supervision.matched_struct_only": (
        Named(TOKEN_CE, "B", about="is supervised"),
        Named(MATCHED_STRUCTURE, "desc_tokens"),
    ),
    "supervision.fp_neutral": (Named(TOKEN_CE, "B", about="is supervised"), Named(MATCHED_STRUCTURE, "entry_tokens")),
    "supervision.append_tokenization": (Named(APPEND, "append_ids"),),
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
# The second forks ranks that wait for each other: which of their lines are seen is a matter of time.
UNTRACED = frozenset({"metrics.log", "rollout.two_ranks"})
