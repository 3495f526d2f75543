"""Every dotted name of CoordExp that the audit asks for: each module once, each member once, with the eras it holds in.

A `Name` lists candidates for one thing in the order in which they are tried: the name at the reference commit first,
then those that it had or got at other commits. Modules say since which era a tree has them and in which era another
module took their place (where the file stays behind as a shim it goes on to answer); members inherit that.

    @binds("packing.plan", build=symbols.STATIC_PACKER)

Standard library only: the answers import this in the target's interpreter.
"""

from __future__ import annotations

import re

# Module -> the era from which a tree has it and the era in which another took its place; empty for ever.
SPANS: dict[str, tuple[str, str]] = {}


# What is gone for good -> the commit that removed it, and its date: a setting by its last part, a function by its name,
# a rule by the claim's.
REMOVED: dict[str, tuple[str, str]] = {
    "drop_invalid_struct_ce_multiplier": ("5bef190", "2026-03-08"),
    "n_softctx_iter": ("03420c2", "2026-03-21"),
    "softctx_grad_mode": ("03420c2", "2026-03-21"),
    "profile_one_hop": ("6753d06", "2026-03-11"),
}


def removed(name: str) -> str:
    """`removed by <commit> (<date>)`, or nothing for what is not known to be gone."""
    return "removed by %s (%s)" % REMOVED[name] if name in REMOVED else ""


class Name(tuple):  # type: ignore[type-arg]
    """Candidates as `package.module:qualname`; a last `?` makes the thing optional, as `api.binds` reads it."""

    __slots__ = ()

    def __truediv__(self, member: str) -> Name:
        """The member of that name of each candidate."""
        return Name("%s%s%s" % (c, "." if ":" in c else ":", member) for c in self)

    def __or__(self, other: tuple[str, ...]) -> Name:
        """These candidates, then the others."""
        return Name((*self, *other))

    @property
    def optional(self) -> Name:
        return Name((*self, "?"))

    @property
    def first(self) -> Name:
        """The name at the reference commit alone."""
        return Name(self[:1])

    @property
    def member(self) -> str:
        """The last part of the first candidate: the attribute's name."""
        return re.split("[.:]", self[0])[-1]

    @property
    def folder(self) -> str:
        """The first candidate's package as a folder, relative to the tree's root."""
        return str(self[0]).partition(":")[0].replace(".", "/")

    @property
    def path(self) -> str:
        """The first candidate's file, relative to the tree's root."""
        return self.folder + ".py"


def _module(dotted: str, since: str = "", until: str = "") -> Name:
    SPANS[dotted] = since, until
    return Name((dotted,))


# ---- launch and config ---------------------------------------------------------------------------------------------

SFT = _module("src.sft")
RUN_METADATA = _module("src.bootstrap.run_metadata", since="2026-03")
TRAINER_SETUP = _module("src.bootstrap.trainer_setup", since="2026-03")
VLLM_LAUNCHER = _module("src.launchers.stage2_vllm_server", since="2026-03")
CONFIG_LOADER = _module("src.config.loader")
SCHEMA = _module("src.config.schema")
ROLLOUT_SCHEMA = _module("src.config.rollout_matching_schema", since="2026-02")
PROMPTS = _module("src.config.prompts")
PROMPT_VARIANTS = _module("src.config.prompt_variants", since="2026-02")

MAIN = SFT / "main"
PARSE_PACKING = SFT / "_parse_packing_config"
STATIC_PACKING_POLICY = SFT / "_validate_stage1_static_packing_policy"
PACKING_BACKEND = SFT / "_validate_attention_backend_for_packing"
PLAN_FINGERPRINT = SFT / "_build_static_packing_fingerprint"
SAMPLES_FINGERPRINT = SFT / "_build_encoded_sample_cache_fingerprint"
IS_ROLLOUT_VARIANT = SFT / "_is_rollout_matching_variant"
COLLECT_DEPENDENCIES = SFT / "_collect_dependency_provenance" | RUN_METADATA / "collect_dependency_provenance"
COLLECT_LAUNCHER = SFT / "_collect_launcher_metadata_from_env" | RUN_METADATA / "collect_launcher_metadata_from_env"
VALIDATE_BEFORE_LAUNCH = VLLM_LAUNCHER / "_run_validate_jsonl"

LOADER = CONFIG_LOADER / "ConfigLoader"
LOAD_YAML = LOADER / "load_yaml"
LOAD_EXTENDED = LOADER / "load_yaml_with_extends"
# before 2026-02-20 the only public function also builds upstream's arguments
MATERIALISE = LOADER / "load_materialized_training_config" | LOADER / "load_training_config"
MATERIALISE_MERGED = LOADER / "_materialize_training_config"
RESOLVE_PROMPTS = LOADER / "resolve_prompts"
BUILD_ARGUMENTS = LOADER / "build_train_arguments"
COORD_TOKENS_CONFIG = SCHEMA / "CoordTokensConfig"
STAGE2_CONFIG = SCHEMA / "Stage2ABConfig"
CHANNEL_B_CONFIG = SCHEMA / "Stage2ABChannelBConfig"
ROLLOUT_CONFIG = ROLLOUT_SCHEMA / "RolloutMatchingConfig"
TRAINING_CONFIG = SCHEMA / "TrainingConfig"
TEMPLATE_PROMPTS = PROMPTS / "get_template_prompts"

# ---- data, coordinates, CoordJSON ----------------------------------------------------------------------------------

CONTRACTS = _module("src.datasets.contracts")
DENSE_CAPTION = _module("src.datasets.dense_caption")
PACKED_CAPTION = _module("src.datasets.wrappers.packed_caption")
RANDOM_SAMPLE = _module("src.datasets.wrappers.random_sample")
JSONLINES = _module("src.datasets.builders.jsonlines")
AUGMENTATION_STAGE = _module("src.datasets.preprocessors.augmentation")
AUGMENTATION = _module("src.datasets.augmentation.base")
CODEC = _module("src.coord_tokens.codec")
VALIDATOR = _module("src.coord_tokens.validator")
TEMPLATE_ADAPTER = _module("src.coord_tokens.template_adapter")
OFFSET_ADAPTER = _module("src.coord_tokens.offset_adapter")
COORD_UTILS = _module("src.common.geometry.coord_utils")
STANDARDIZER_MODULE = _module("src.common.coord_standardizer")
FIELD_ORDER = _module("src.common.object_field_order", since="2026-02")
PREDICTIONS = _module("src.common.prediction_parsing", since="2026-02-11")
ASSISTANT_JSON = _module("src.utils.assistant_json", since="2026-02")
TRANSPILER = _module("src.utils.coordjson_transpiler", since="2026-02")
CONVERTER = _module("public_data.scripts.convert_to_coord_tokens")
JSONL_CHECK = _module("public_data.scripts.validate_jsonl")
VOCABULARY_SCRIPT = _module("scripts.tools.expand_coord_vocab")

VALIDATE_RECORD = CONTRACTS / "validate_conversation_record"
DATASET = DENSE_CAPTION / "BaseCaptionDataset"
STATIC_PACKER = PACKED_CAPTION / "build_static_packed_dataset"
STREAM_PACKER = PACKED_CAPTION / "build_packed_dataset"
EPOCH_STATS = PACKED_CAPTION / "PackedCaptionDataset" / "_emit_epoch_stats"
AUGMENT = AUGMENTATION_STAGE / "AugmentationPreprocessor"
COMPOSE = AUGMENTATION / "Compose"
COORD_IDS = CODEC / "get_coord_token_ids"
INT_TO_TOKEN, TOKEN_TO_INT = CODEC / "int_to_token", CODEC / "token_to_int"
INTS_TO_TOKENS, TOKENS_TO_INTS = CODEC / "ints_to_tokens", CODEC / "tokens_to_ints"
NORMALIZE_INTS = CODEC / "normalized_from_ints"
ANNOTATE = VALIDATOR / "annotate_coord_tokens"
ENCODE_COORD, DECODE_COORD = COORD_UTILS / "encode_coord", COORD_UTILS / "decode_coord"
TO_PIXELS, TO_ROUNDED_PIXELS = COORD_UTILS / "ints_to_pixels_norm1000", COORD_UTILS / "denorm_and_clamp"
STANDARDIZER = STANDARDIZER_MODULE / "CoordinateStandardizer"
BUILD_OBJECT = FIELD_ORDER / "build_object_payload"
LOAD_PREDICTION = PREDICTIONS / "load_prediction_dict"
DUMPS_COORDJSON = ASSISTANT_JSON / "dumps_coordjson"
PARSE_COORDJSON = TRANSPILER / "parse_coordjson"
TRANSPILE = TRANSPILER / "coordjson_to_strict_json_with_meta"
CONVERT_RECORD = CONVERTER / "convert_record_to_ints"
VALIDATE_JSONL = JSONL_CHECK / "main"
EXPAND_VOCABULARY = VOCABULARY_SCRIPT / "main"

# ---- collation and losses ------------------------------------------------------------------------------------------

OLD_COLLATORS = _module("src.data_collators.dataset_metrics", until="2026-02-11")
COLLATORS = _module("src.data_collators.batch_extras_collator", since="2026-02-11")
ENRICHERS = _module("src.data_collators.enrichers")
TOKEN_TYPES = _module("src.data_collators.token_types")
OLD_METRICS = _module("src.metrics.dataset_metrics", until="2026-02-11")
METRIC_MIXINS = _module("src.trainers.metrics.mixins", since="2026-02-11")
REPORTER = _module("src.metrics.reporter")
TOKEN_METRICS = _module("src.metrics.aggregate_token_metrics")
COORD_MONITORS = _module("src.metrics.coord_monitors")
DETECTION = _module("src.eval.detection")
INFERENCE = _module("src.infer.engine")
COORD_LOSS_MODULE = _module("src.trainers.losses.coord_soft_ce_w1")
FINAL_CHECKPOINT = _module("src.trainers.final_checkpoint")
SAVE_DELAY = _module("src.callbacks.save_delay_callback")
OPTIMIZER = _module("src.optim.coord_offset_optimizer")
CHECKPOINTS = _module("src.infer.checkpoints", since="2026-04-18")
DUPLICATES = _module("src.trainers.teacher_forcing.modules.duplicate_ul", "2026-03-08", "2026-03-11")
DEAD_ANCHORS = _module(
    "src.trainers.teacher_forcing.modules.loss_dead_anchor_suppression", since="2026-03-11", until="2026-03-21"
)
SET_CONTINUATION = _module("src.trainers.stage1_set_continuation", since="2026-05")
FULL_SUFFIX = _module("src.trainers.stage1_set_continuation.full_suffix", since="2026-05")
RUN_MANIFEST = _module("src.utils.run_manifest", since="2026-02")
TF_GEOMETRY = _module("src.trainers.teacher_forcing.geometry", since="2026-02-24")
TF_STAGE1 = _module("src.trainers.teacher_forcing.stage1", since="2026-03")
TF_TOKEN_CE = _module("src.trainers.teacher_forcing.modules.token_ce", since="2026-02-24")
TF_ROLLOUT_META = _module("src.trainers.teacher_forcing.rollout_meta", since="2026-02-24")

EXTRAS_COLLATOR = COLLATORS / "build_batch_extras_collator"
METRICS_COLLATOR = (COLLATORS | OLD_COLLATORS) / "build_dataset_metrics_collator"
PACK_COLLATOR = EXTRAS_COLLATOR | METRICS_COLLATOR[1:]
SAMPLE_COLLATOR = METRICS_COLLATOR.first | EXTRAS_COLLATOR | METRICS_COLLATOR[1:]
ACCUMULATION_SCALE = (METRIC_MIXINS | OLD_METRICS) / "GradAccumLossScaleMixin"
STAGE1_COORD_MIXIN = (METRIC_MIXINS | OLD_METRICS) / "CoordSoftCEW1LossMixin"
COORD_LOSS = COORD_LOSS_MODULE / "compute_coord_soft_ce_w1_loss"
COORD_ID_MAP = COORD_LOSS_MODULE / "build_coord_id_map"
WITH_FINAL_CHECKPOINT = FINAL_CHECKPOINT / "with_final_checkpoint"
ENTRY_TRIE = _module("src.trainers.stage1_set_continuation.entry_trie", since="2026-05")
BRANCH_ENCODER = _module("src.trainers.stage1_set_continuation.branch_encoder", since="2026-05")
ENCODE_BRANCH = BRANCH_ENCODER / "encode_set_continuation_branch"
SUBSET_SAMPLING = _module("src.trainers.stage1_set_continuation.sampling", since="2026-05")
TF_PIPELINE = _module("src.trainers.teacher_forcing.objective_pipeline", since="2026-02-24")
TF_ATOMS = _module("src.trainers.teacher_forcing.objective_atoms", since="2026-02-24")
TF_CONTRACTS = _module("src.trainers.teacher_forcing.contracts", since="2026-02-24")
TF_REGISTRY = _module("src.trainers.teacher_forcing.module_registry", since="2026-02-24")
TRIE_TARGETS = ENTRY_TRIE / "build_entry_trie_target_steps"
TRIE_CANDIDATE = ENTRY_TRIE / "EntryTrieCandidate"
ENCODE_SUFFIX = FULL_SUFFIX / "encode_full_suffix_branch"
SUFFIX_LOSS, SUFFIX_STEP = FULL_SUFFIX / "compute_full_suffix_loss", FULL_SUFFIX / "FullSuffixTargetStep"
CHOOSE_CANDIDATES = SUBSET_SAMPLING / "select_tail_protected_candidates"
SAMPLE_SUBSET = SUBSET_SAMPLING / "sample_subset_and_candidates"
RUN_OBJECTIVE = TF_PIPELINE / "run_teacher_forcing_pipeline"
PROJECT_ATOMS = TF_ATOMS / "project_stage2_objective_atoms"
MODULE_RESULT = TF_CONTRACTS / "ModuleResult"
MODULE_CATALOG = TF_REGISTRY / "OBJECTIVE_MODULE_CATALOG"
MODULE_NAMES = TF_REGISTRY / "ALLOWED_OBJECTIVE_MODULES"  # before 2026-03-26
TAUGHT_BOXES = TF_STAGE1 / "extract_stage1_bbox_quartets"
F1ISH = DETECTION / "evaluate_f1ish"
F1ISH_SAMPLE, F1ISH_OPTIONS = DETECTION / "Sample", DETECTION / "EvalOptions"
EMBED_TEXTS = DETECTION / "_try_build_semantic_embeddings"
LVIS_EVAL = DETECTION / "_OfficialLikeLvisEval"
MERGE_SHARDS = INFERENCE / "InferenceEngine" / "_merge_distributed_outputs"
SOURCE_INDEX = INFERENCE / "_DISTRIBUTED_SOURCE_INDEX_KEY"
BATCH_CONTRACT = METRIC_MIXINS / "_validate_batch_contract"
CHECKED_BATCHES = METRIC_MIXINS / "AggregateTokenTypeMetricsMixin"
JOIN_SUFFIXES = FULL_SUFFIX / "_pack_full_suffix_model_inputs_padding_free"
SUFFIX_ROW = FULL_SUFFIX / "FullSuffixTensorInput"
OPTIMIZER_WIRING = OPTIMIZER / "create_multimodal_coord_offset_optimizer"
WRITE_MANIFEST = RUN_MANIFEST / "write_run_manifest_files"

# ---- the Stage-2 trainer (renamed on 2026-02-24; the old file stays as a shim) -------------------------------------

OLD_STAGE2 = _module("src.trainers.stage2_ab_training", until="2026-02-24")
TWO_CHANNEL = _module("src.trainers.stage2_two_channel", since="2026-02-24")
STAGE2 = OLD_STAGE2 | TWO_CHANNEL
TARGET_BUILDER = _module("src.trainers.stage2_two_channel.target_builder", since="2026-03")
COORDINATION = _module("src.trainers.stage2_coordination", since="2026-03")
CHANNEL_COORDINATION = _module("src.trainers.stage2_two_channel.coordination", since="2026-03")
SERVER_RUNTIME = _module("src.trainers.rollout_runtime.vllm_server", since="2026-03")
EXECUTORS = _module("src.trainers.stage2_ab.executors", "2026-02-11", "2026-02-24") | _module(
    "src.trainers.stage2_two_channel.executors", since="2026-02-24"
)
SCHEDULERS = _module("src.trainers.stage2_ab.scheduler", "2026-02-11", "2026-02-24") | _module(
    "src.trainers.stage2_two_channel.scheduler", since="2026-02-24"
)

STAGE2_TRAINER = STAGE2 / "Stage2ABTrainingTrainer"
STAGE2_TRAINER_OF_ANY_NAME = STAGE2_TRAINER | TWO_CHANNEL / "Stage2TwoChannelTrainer"
CHANNEL_FOR_STEP = STAGE2_TRAINER / "_stage2_channel_for_step"
ROLLOUT_SEED_BASE = STAGE2_TRAINER / "_derive_rollout_seed_base"
PREPARE_A, PREPARE_B = STAGE2_TRAINER / "_prepare_batch_inputs_a", STAGE2_TRAINER / "_prepare_batch_inputs_b"
STAGE2_LOSS = STAGE2_TRAINER / "compute_loss"
STAGE2_LOG, STAGE2_STEP = STAGE2_TRAINER / "log", STAGE2_TRAINER / "training_step"
STAGE2_EVALUATE = STAGE2_TRAINER / "evaluate"
REDUCE_PENDING = "_reduce_stage2_pending_metrics_global"
STAGE2_REDUCE = STAGE2_TRAINER / REDUCE_PENDING
REDUCE_METRICS = COORDINATION / "reduce_metric_payload_global"
STAGE2_REDUCE_OF_ANY_NAME = STAGE2_TRAINER_OF_ANY_NAME / REDUCE_PENDING
WINDOW_PACKS = STAGE2_TRAINER.first / "_prepare_window_packed_batches"
PENDING_LOG = STAGE2 / "_PendingStage2Log"
GT_BOXES = STAGE2 / "_extract_gt_bboxonly"
EXPECTATION_DECODE = STAGE2 / "_expectation_decode_coords" | TF_GEOMETRY / "expectation_decode_coords"
BBOX_LOSS = STAGE2 / "_bbox_smoothl1_ciou_loss" | TF_GEOMETRY / "bbox_smoothl1_ciou_loss"
TAIL_CLOSURE = STAGE2 / "_stage2_ab_tail_closure_positions" | TF_ROLLOUT_META / "tail_closure_positions"
EXECUTOR_MIXIN = EXECUTORS / "Stage2ABChannelExecutorsMixin"
SCHEDULER_MIXIN = SCHEDULERS / "Stage2ABSchedulerMixin"
REALIZED_RATIO = SCHEDULER_MIXIN / "_stage2_b_ratio_realized"
EXECUTES = EXECUTOR_MIXIN | STAGE2_TRAINER[:1]  # before 2026-02-11 the trainer itself
STEP_A, STEP_B = EXECUTES / "_stage2_a_step_budgeted_train", EXECUTES / "_stage2_b_step_budgeted_train"
SCHEDULE_PATTERN = STAGE2_TRAINER.first / "_ab_schedule_pattern"  # to 2026-02-04: channels by a pattern, not by a share
RECORD_REALIZED = SCHEDULER_MIXIN / "_stage2_record_realized_step"

# ---- the rollout-matching trainer (renamed on the same day) --------------------------------------------------------

OLD_ROLLOUT = _module("src.trainers.rollout_matching_sft", until="2026-02-24")
ROLLOUT_ALIGNED = _module("src.trainers.stage2_rollout_aligned", since="2026-02-24")
ROLLOUT = OLD_ROLLOUT | ROLLOUT_ALIGNED
PARSING = _module("src.trainers.rollout_matching.parsing", since="2026-02-11")
MATCHING = _module("src.trainers.rollout_matching.matching", since="2026-02-11")
ROLLOUT_CONTRACTS = _module("src.trainers.rollout_matching.contracts", since="2026-02-11")
PREFLIGHT = _module("src.trainers.rollout_matching.preflight", since="2026-02")
ROLLOUT_PACKING = _module("src.trainers.rollout_matching.packing", since="2026-02-11")
ROLLOUT_TELEMETRY = _module("src.trainers.rollout_matching.telemetry", since="2026-02-11")
ALIGNED_TARGETS = _module("src.trainers.rollout_aligned_targets", since="2026-03")
ALIGNED_EVALUATOR = _module("src.trainers.rollout_aligned_evaluator", since="2026-03")
ROLLOUT_DISPATCH = _module("src.trainers.rollout_runtime.dispatch", since="2026-03-21")
ENGINE_CONFIG = _module("src.trainers.rollout_runtime.vllm_config", since="2026-03")

ROLLOUT_TRAINER = ROLLOUT / "RolloutMatchingSFTTrainer"
ROLLOUT_TRAINER_OF_ANY_NAME = ROLLOUT_TRAINER | ROLLOUT_ALIGNED / "Stage2RolloutAlignedTrainer"
CHECKPOINT_STATE = tuple(
    trainer / hook
    for trainer in (STAGE2_TRAINER, ROLLOUT_TRAINER_OF_ANY_NAME)
    for hook in ("_coordexp_checkpoint_runtime_state", "_coordexp_restore_checkpoint_runtime_state")
)
ANY_TRAINER = STAGE2_TRAINER_OF_ANY_NAME | ROLLOUT_TRAINER_OF_ANY_NAME
SELECT_SEGMENTS = ROLLOUT_TRAINER / "_select_post_rollout_segment_indices"
SEGMENT_BUFFER = EXECUTES | ROLLOUT_TRAINER[:1]  # what holds rollout segments till they are packed
CHECK_HF_LENGTH = ROLLOUT_TRAINER / "_enforce_hf_rollout_max_position_embeddings"
ROLLOUT_MANY = ROLLOUT_TRAINER / "_rollout_many"
ROLLOUT_BY_HF, ROLLOUT_BY_VLLM = ROLLOUT_TRAINER / "_rollout_many_hf", ROLLOUT_TRAINER / "_rollout_many_vllm"
REQUEST_OPTIONS = ROLLOUT_TRAINER / "_rollout_vllm_request_config_kwargs"
ROLLOUT_REDUCE = ROLLOUT_TRAINER / "_reduce_train_rollout_log_payload_global"
SYNC_WEIGHTS = ROLLOUT_TRAINER / "_sync_vllm_server_rollout_model_if_needed"
SWITCH_TEMPLATE = ROLLOUT_TRAINER / "_template_state_context"
PACKING_OFF, PACKING_ON = ROLLOUT_TRAINER / "_template_packing_disabled", ROLLOUT_TRAINER / "_template_packing_enabled"
TRAIN_MODE = ROLLOUT_TRAINER / "_template_train_mode"
PARSE_SERVER_OUTPUT = ROLLOUT_TRAINER_OF_ANY_NAME / "_parse_vllm_server_output"
BUILD_SERVER_REQUESTS = ROLLOUT_TRAINER_OF_ANY_NAME / "_build_vllm_server_infer_requests"
ROLLOUT_ON_SERVER = ROLLOUT_TRAINER_OF_ANY_NAME / "_rollout_many_vllm_server"
SERVER_TIMEOUTS = ROLLOUT_TRAINER_OF_ANY_NAME / "_vllm_server_timeouts"
CONNECT_SERVER = ROLLOUT_TRAINER_OF_ANY_NAME / "_ensure_vllm_server_client"
GT_OBJECTS = ROLLOUT / "_extract_gt_objects"
GT_OBJECT = (ROLLOUT_CONTRACTS | OLD_ROLLOUT) / "GTObject"
MATCH = (MATCHING | OLD_ROLLOUT) / "hungarian_match_maskiou"
PARSE_ROLLOUT = (PARSING | OLD_ROLLOUT) / "parse_rollout_for_matching"
DESC_POSITIONS = (PARSING | OLD_ROLLOUT) / "find_desc_value_token_positions" | (
    OLD_ROLLOUT / "_find_desc_value_token_positions"
)
RESOLVE_PREFLIGHT = PREFLIGHT / "resolve_stage2_launcher_preflight"
