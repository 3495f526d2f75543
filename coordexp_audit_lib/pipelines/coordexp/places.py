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
BUILD_TARGETS = symbols.TARGET_BUILDER / "_build_channel_b_supervision_targets"
ROLLOUT_PROMPT = symbols.ROLLOUT_MANY | symbols.ROLLOUT_TRAINER_OF_ANY_NAME / "_prepare_samples_for_rollout"
STRIP_ANSWER = symbols.ROLLOUT / "_strip_trailing_assistant_turns_for_rollout"
NORMALIZE_SEED = symbols.ROLLOUT_TRAINER_OF_ANY_NAME / "_normalize_rollout_seed_int32"
CHECK_PIXELS = symbols.DATASET / "_enforce_max_pixels"
PACK_BUFFER = symbols.PACKED_CAPTION / "PackedCaptionDataset" / "_pack_buffer"
STEP_B = symbols.STEP_B | symbols.CHANNEL_COORDINATION / "run_channel_b_train_one_pack"
DECODE_PIECES = symbols.PARSING / "decode_pieces"
COMPARED_PROMPTS = symbols.PREPARE_B | symbols.STAGE2_TRAINER / "_prepare_batch_inputs_b_impl"
ASK_SERVER = symbols.SERVER_RUNTIME / "infer_on_vllm_server_slice"
ADD_TO_LOG, FINISH_LOG = symbols.PENDING_LOG / "add", symbols.PENDING_LOG / "finalize"
ROLE_OF_METRIC = symbols.COORDINATION / "resolve_stage2_ab_metric_spec"


EVALUATE = symbols.ALIGNED_EVALUATOR / "finalize_rollout_aligned_evaluation" | symbols.ROLLOUT_TRAINER / "evaluate"

PLACES: dict[str, tuple[Named, ...]] = {
    "config.values_kept": (
        Named(BUILD_ARGUMENTS, "max_length", about="^max_length"),
        Named(BUILD_ARGUMENTS, "max_model_len", about="^max_model_len"),
    ),
    "config.extends_sound": (Named(symbols.LOAD_EXTENDED, "merged_base", about="several parents"),),
    "config.batch_divisible": (Named(BUILD_ARGUMENTS, "update", about="is accepted"),),
    "geometry.bins_k999": (Named(NORMALIZE_BOX, "math.floor(sx1)", about="converter on bbox_2d"),),
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
    "coordjson.agrees_with_reference": (
        Named(COORD_LITERAL, "match", about="^coordinate spelling"),
        Named(CONTAINER, "ch", about="^entry is no record"),
    ),
    "template.prompt_is_prefix": (Named(ROLLOUT_PROMPT, "system", about="vllm"),),
    "template.no_truncation": (Named(key="template.truncation_strategy", about="is cut to"),),
    "packing.positions_restart": (
        Named(symbols.JOIN_SUFFIXES, "position_ids", about="joined by the trainer"),
        Named(symbols.STAGE2_LOSS, "unsqueeze", about="^post-rollout packs, as the model gets them"),
    ),
    "rollout.fail_together": (
        Named(symbols.ROLLOUT_REDUCE, "has_parse_inputs", about="reduced .rollout_matching"),
        Named(symbols.STAGE2_REDUCE_OF_ANY_NAME, "has_rollout_parse_inputs", about="reduced .stage2"),
    ),
    "metrics.rollout_evaluation": (
        Named(EVALUATE, "float(precision)", about="^precision"),
        Named(EVALUATE, "float(recall)", about="^recall"),
        Named(EVALUATE, "float(f1)", about="^f1"),
        Named(EVALUATE, "sums_t", about="."),
    ),
    "metrics.reduced_by_key": (Named(symbols.REDUCE_METRICS, "merged_keys"),),
    "supervision.softctx_gradient": (Named(symbols.STAGE2_LOSS, "exp_emb", about="embedding table gets no gradient"),),
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
    "metrics.reasons_add_up": (Named(symbols.REDUCE_METRICS, "merged_keys", about="fewer are dropped"),),
    "metrics.identity_not_averaged": (
        Named(ROLE_OF_METRIC, "rollout/", about="averaged|is logged as|rows' seeds"),
        Named(ADD_TO_LOG, "rollout/", about="averaged|is logged as|rows' seeds"),
    ),
    "metrics.no_dilution": (
        Named(symbols.REDUCE_METRICS, "global_weight", about="on one rank"),
        Named(FINISH_LOG, "denom", about="."),
    ),
    "packing.loss_equivalent": (
        Named(symbols.STEP_A, "weight", about="^a step of Channel-A"),
        Named(STEP_B, "weight", about="^a step of Channel-B"),
    ),
    "packing.stable_order": (Named(PACK_BUFFER, "carry", about="^dynamic"),),
    "geometry.no_resize": (Named(CHECK_PIXELS, "pixels", about="passes every check"),),
    "template.vocab_fits": (Named(COMPARED_PROMPTS, "teacher_prefix", about="is taken from a server"),),
    "rollout.server_truth": (
        Named(COMPARED_PROMPTS, "teacher_prefix", about="swapped.*no error is raised"),
        Named(ASK_SERVER, "Session", about="sent to the server again"),
    ),
    "supervision.prefix_kept": (
        Named(DECODE_PIECES, "decode", about="\ufffd"),
        Named(symbols.TARGET_BUILDER / "_build_canonical_prefix_data", "encode", about="\ufffd"),
    ),
    "supervision.token_roles_partition": (
        Named(TOKEN_CE, "B", about="more than one rule"),
        Named(MATCHED_STRUCTURE, "desc_tokens", about="more than one rule"),
    ),
    "supervision.fn_injected": (Named(symbols.PARSE_ROLLOUT, "cut_candidates", about="does not parse in strict mode"),),
    "provenance.no_secrets": (Named(symbols.WRITE_MANIFEST, "resolved_config.json", about="is written"),),
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
    "supervision.append_tokenization": (
        Named(BUILD_TARGETS, "serialize_append_fragment_fn"),  # of two ways to append the one that has a fragment
        Named(symbols.PREPARE_B, "append_ids"),
    ),
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
