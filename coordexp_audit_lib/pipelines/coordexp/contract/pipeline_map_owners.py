"""Who owns each stage of CoordExp: one row an owner, the first name the reference commit's."""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.pipelines.coordexp import symbols as s

STAGE1, STAGE2 = ("stage1",), ("stage2",)
BOTH = STAGE1 + STAGE2

_LAUNCH = (
    ("training program", s.MAIN, BOTH),
    ("YAML with its bases", s.LOAD_EXTENDED, BOTH),
    ("materialised config", s.MATERIALISE, BOTH),
    ("typed schema", s.SCHEMA / "TrainingConfig.from_mapping", BOTH),
    ("hand-over to ms-swift", s.BUILD_ARGUMENTS, BOTH),
    ("choice of the trainer", (s.SFT | s.TRAINER_SETUP) / "resolve_trainer_cls", BOTH),
    ("Stage-2 schema", s.SCHEMA / "Stage2ABConfig.from_mapping", STAGE2),
    ("rollout schema", s.ROLLOUT_SCHEMA / "RolloutMatchingConfig", STAGE2),
    ("launcher preflight", s.PREFLIGHT / "build_stage2_launcher_preflight", STAGE2),
)

_DATA = (
    ("dataset files checked before launch", s.JSONL_CHECK / "JSONLValidator", BOTH),
    ("record contract", s.VALIDATE_RECORD, BOTH),
    ("geometry contract", s.CONTRACTS / "validate_geometry_sequence", BOTH),
    ("dataset", s.DATASET, BOTH),
    ("pixel limit", s.DATASET / "_enforce_max_pixels", BOTH),
    ("object order", s.DATASET / "_apply_object_ordering", BOTH),
    ("coordinate tokens of a record", s.ANNOTATE, BOTH),
    ("evaluation sampling", s.RANDOM_SAMPLE / "RandomSampleDataset", BOTH),
    ("dataset set-up", s.MAIN, BOTH),
    ("dataset seed", s.SFT / "_resolve_dataset_seed", BOTH),
)

_TEMPLATE = (
    ("prompt choice", s.RESOLVE_PROMPTS, BOTH),
    ("prompt texts", s.TEMPLATE_PROMPTS, BOTH),
    ("prompt variants", s.PROMPT_VARIANTS / "resolve_prompt_variant", BOTH),
    ("messages of a record", s.JSONLINES / "JSONLinesBuilder.build_many", BOTH),
    ("CoordJSON text", s.DUMPS_COORDJSON, BOTH),
    ("coordinate-token adapter", s.TEMPLATE_ADAPTER / "apply_coord_template_adapter", BOTH),
    ("coordinate-token ids", s.COORD_IDS, BOTH),
    ("encoding through the template", s.DATASET / "_encode_record", BOTH),
    ("template set up by the program", s.MAIN, BOTH),
    ("teacher-forced payload", (s.STAGE2 | s.TARGET_BUILDER) / "_build_teacher_forced_payload", STAGE2),
)

_PACKING = (
    ("packing settings", s.PARSE_PACKING, BOTH),
    ("attention backend check", s.PACKING_BACKEND, BOTH),
    ("Stage-1 packing policy", s.STATIC_PACKING_POLICY, STAGE1),
    ("static packs", s.STATIC_PACKER, STAGE1),
    ("pack plan", s.PACKED_CAPTION / "_build_raw_pack_plan", STAGE1),
    ("alignment over ranks", s.PACKED_CAPTION / "_align_pack_plan_for_ddp", STAGE1),
    ("collator", s.METRICS_COLLATOR.first, STAGE1),
    ("batch extras", s.ENRICHERS / "TokenTypesEnricher", STAGE1),
    ("token types", s.TOKEN_TYPES / "compute_token_types", STAGE1),
    ("post-rollout selection", s.SELECT_SEGMENTS, STAGE2),
    ("post-rollout pack", s.EXECUTOR_MIXIN / "_stage2_pop_post_rollout_pack", STAGE2),
    ("one pack a forward", s.ROLLOUT_TRAINER / "_assert_single_packed_forward", STAGE2),
    (
        "labels and coordinate targets",
        (s.ROLLOUT | s.ALIGNED_TARGETS) / "_build_labels_and_coord_targets_for_batch",
        STAGE2,
    ),
    ("accumulation windows", s.ROLLOUT_PACKING / "DropRemainderAccumulationWindow", STAGE2),
)

_TRAINER = (
    ("model, tuner and trainer set-up", s.MAIN, BOTH),
    ("accumulation under packing", s.SFT / "_recompute_gas_for_packing", BOTH),
    ("coordinate-offset adapter", s.OFFSET_ADAPTER / "install_coord_offset_adapter", BOTH),
    ("optimizer groups", s.OPTIMIZER_WIRING, BOTH),
    ("coordinate loss", s.COORD_LOSS, STAGE1),
    ("loss composition", s.METRIC_MIXINS / "CoordSoftCEW1LossMixin.compute_loss", STAGE1),
    ("accumulation scale", s.ACCUMULATION_SCALE.first / "compute_loss", STAGE1),
    ("channel schedule", s.SCHEDULER_MIXIN / "_stage2_channel_for_step", STAGE2),
    ("training step", s.STAGE2_STEP, STAGE2),
    ("Channel-A inputs", s.PREPARE_A, STAGE2),
    ("Channel-B inputs", s.PREPARE_B, STAGE2),
    ("rollout parsing", s.PARSE_ROLLOUT.first | s.OLD_ROLLOUT / "_parse_rollout_for_matching", STAGE2),
    ("matching", s.MATCH, STAGE2),
    ("FN append", s.PARSING / "serialize_append_fragment" | s.OLD_ROLLOUT / "_serialize_append_fragment", STAGE2),
    ("closure positions", s.TAIL_CLOSURE, STAGE2),
    ("loss composition", s.STAGE2_LOSS, STAGE2),
    ("geometry loss", s.BBOX_LOSS, STAGE2),
    ("rollout-matching trainer", s.ROLLOUT_TRAINER, STAGE2),
)

_EVAL_DETECTION = s.ROLLOUT / "_compute_eval_detection_coco_metrics"
_METRICS = (
    ("evaluation set-up", s.MAIN, BOTH),
    ("metric reporter", s.REPORTER / "SwiftMetricReporter", BOTH),
    ("token-type metrics", s.METRIC_MIXINS / "AggregateTokenTypeMetricsMixin", STAGE1),
    ("next-token accuracy", s.TOKEN_METRICS / "build_next_token_batch", STAGE1),
    ("coordinate monitors", s.COORD_MONITORS / "compute_coord_flip_and_mass_metrics", STAGE1),
    ("evaluation by rollouts", s.ROLLOUT_TRAINER / "evaluate", STAGE2),
    (
        "detection metrics",
        _EVAL_DETECTION.first | s.ALIGNED_EVALUATOR / "_build_eval_options" | _EVAL_DETECTION[1:],
        STAGE2,
    ),
    ("pending step metrics", s.PENDING_LOG, STAGE2),
    ("reduction over ranks", s.STAGE2_REDUCE, STAGE2),
    ("log", s.STAGE2_LOG, STAGE2),
    ("rollout telemetry", s.ROLLOUT_TELEMETRY / "PendingTrainRolloutLog", STAGE2),
    ("detection evaluator", s.DETECTION / "evaluate_detection", STAGE2),
)

_ARTIFACTS = (
    ("directories and run metadata", s.MAIN, BOTH),
    ("final checkpoint", s.FINAL_CHECKPOINT / "FinalCheckpointMixin", BOTH),
    ("delayed saves", s.SAVE_DELAY / "SaveDelayCallback", BOTH),
    ("run manifest", s.WRITE_MANIFEST, BOTH),
    ("dependency provenance", (s.SFT | s.RUN_METADATA) / "_collect_dependency_provenance", BOTH),
    ("launcher provenance", (s.SFT | s.RUN_METADATA) / "_collect_launcher_metadata_from_env", STAGE2),
    ("rollout dumps", s.ROLLOUT_TRAINER / "_write_monitor_dump", STAGE2),
)

_ENGINE = s.ROLLOUT_TRAINER / "_ensure_vllm_engine"
_ROLLOUT = (
    ("server chosen before launch", s.PREFLIGHT / "build_rollout_matching_contract", STAGE2),
    ("rollouts of a batch", s.ROLLOUT_MANY, STAGE2),
    ("rollouts through the server", s.ROLLOUT_TRAINER / s.ROLLOUT_ON_SERVER.member, STAGE2),
    ("requests", s.ROLLOUT_TRAINER / s.BUILD_SERVER_REQUESTS.member, STAGE2),
    ("responses", s.ROLLOUT_TRAINER / s.PARSE_SERVER_OUTPUT.member, STAGE2),
    ("share of requests", (s.ROLLOUT | s.ROLLOUT_DISPATCH) / "_per_server_rank_request_caps", STAGE2),
    ("seeds", s.ROLLOUT_TRAINER / "_derive_rollout_seed_base", STAGE2),
    ("server list", s.ROLLOUT_TRAINER / "_vllm_server_specs", STAGE2),
    ("time limits", s.ROLLOUT_TRAINER / s.SERVER_TIMEOUTS.member, STAGE2),
    ("client", s.ROLLOUT_TRAINER / s.CONNECT_SERVER.member, STAGE2),
    ("engine settings", _ENGINE.first | s.ENGINE_CONFIG / "resolve_vllm_engine_config" | _ENGINE[1:], STAGE2),
    ("request decoding", s.ROLLOUT_TRAINER / "_decoding_params", STAGE2),
    ("weights to the server", s.SYNC_WEIGHTS, STAGE2),
)


def _rows(stage: str, owners: tuple[tuple[str, s.Name, tuple[str, ...]], ...]) -> list[dict[str, Any]]:
    return [{"stage": stage, "role": r, "names": tuple(names), "entrypoints": e} for r, names, e in owners]


CONTRACT = {
    "pipeline_map.owners": (
        *(*_rows("launch", _LAUNCH), *_rows("data", _DATA), *_rows("template", _TEMPLATE), *_rows("packing", _PACKING)),
        *(*_rows("trainer", _TRAINER), *_rows("metrics", _METRICS), *_rows("artifacts", _ARTIFACTS)),
        *_rows("rollout", _ROLLOUT),
    )
}
