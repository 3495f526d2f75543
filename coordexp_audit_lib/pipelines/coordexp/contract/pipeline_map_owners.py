"""Who owns each stage of CoordExp: one row an owner. The first name is the reference commit's; later ones are other
commits'."""

from __future__ import annotations

from typing import Any

STAGE1, STAGE2 = "stage1", "stage2"
Owner = dict[str, Any]

_SFT = "src.sft"
_RM = "src.trainers.rollout_matching"
_RMT = "src.trainers.rollout_matching_sft"
_RAT = "src.trainers.stage2_rollout_aligned"
_AB = "src.trainers.stage2_ab_training"
_TWO = "src.trainers.stage2_two_channel"
_EXEC = "src.trainers.stage2_ab.executors:Stage2ABChannelExecutorsMixin"
_EXEC2 = "src.trainers.stage2_two_channel.executors:Stage2ABChannelExecutorsMixin"
_SCHED = "src.trainers.stage2_ab.scheduler:Stage2ABSchedulerMixin"
_SCHED2 = "src.trainers.stage2_two_channel.scheduler:Stage2ABSchedulerMixin"


def _own(stage: str, role: str, *names: str, entrypoints: tuple[str, ...] = (STAGE1, STAGE2)) -> Owner:
    return {"stage": stage, "role": role, "names": names, "entrypoints": entrypoints}


def _own1(stage: str, role: str, *names: str) -> Owner:
    return _own(stage, role, *names, entrypoints=(STAGE1,))


def _own2(stage: str, role: str, *names: str) -> Owner:
    return _own(stage, role, *names, entrypoints=(STAGE2,))


def _rollout_trainer(stage: str, role: str, name: str, *more: str) -> Owner:
    """A member of the rollout-matching trainer module, which was renamed on 2026-02-24."""
    return _own2(stage, role, f"{_RMT}:{name}", f"{_RAT}:{name}", *more)


def _ab_trainer(stage: str, role: str, name: str, *more: str) -> Owner:
    """A member of the Stage-2 AB trainer module, renamed on the same day."""
    return _own2(stage, role, f"{_AB}:{name}", f"{_TWO}:{name}", *more)


_LAUNCH = (
    _own("launch", "training program", f"{_SFT}:main"),
    _own("launch", "YAML with its bases", "src.config.loader:ConfigLoader.load_yaml_with_extends"),
    _own(
        "launch",
        "materialised config",
        "src.config.loader:ConfigLoader.load_materialized_training_config",
        "src.config.loader:ConfigLoader.load_training_config",
    ),
    _own("launch", "typed schema", "src.config.schema:TrainingConfig.from_mapping"),
    _own("launch", "hand-over to ms-swift", "src.config.loader:ConfigLoader.build_train_arguments"),
    _own(
        "launch",
        "choice of the trainer",
        f"{_SFT}:resolve_trainer_cls",
        "src.bootstrap.trainer_setup:resolve_trainer_cls",
    ),
    _own2("launch", "Stage-2 schema", "src.config.schema:Stage2ABConfig.from_mapping"),
    _own2("launch", "rollout schema", "src.config.rollout_matching_schema:RolloutMatchingConfig"),
    _own2("launch", "launcher preflight", f"{_RM}.preflight:build_stage2_launcher_preflight"),
)

_DATA = (
    _own("data", "dataset files checked before launch", "public_data.scripts.validate_jsonl:JSONLValidator"),
    _own("data", "record contract", "src.datasets.contracts:validate_conversation_record"),
    _own("data", "geometry contract", "src.datasets.contracts:validate_geometry_sequence"),
    _own("data", "dataset", "src.datasets.dense_caption:BaseCaptionDataset"),
    _own("data", "pixel limit", "src.datasets.dense_caption:BaseCaptionDataset._enforce_max_pixels"),
    _own("data", "object order", "src.datasets.dense_caption:BaseCaptionDataset._apply_object_ordering"),
    _own("data", "coordinate tokens of a record", "src.coord_tokens.validator:annotate_coord_tokens"),
    _own("data", "evaluation sampling", "src.datasets.wrappers.random_sample:RandomSampleDataset"),
    _own("data", "dataset set-up", f"{_SFT}:main"),
    _own("data", "dataset seed", f"{_SFT}:_resolve_dataset_seed"),
)

_TEMPLATE = (
    _own("template", "prompt choice", "src.config.loader:ConfigLoader.resolve_prompts"),
    _own("template", "prompt texts", "src.config.prompts:get_template_prompts"),
    _own("template", "prompt variants", "src.config.prompt_variants:resolve_prompt_variant"),
    _own("template", "messages of a record", "src.datasets.builders.jsonlines:JSONLinesBuilder.build_many"),
    _own("template", "CoordJSON text", "src.utils.assistant_json:dumps_coordjson"),
    _own("template", "coordinate-token adapter", "src.coord_tokens.template_adapter:apply_coord_template_adapter"),
    _own("template", "coordinate-token ids", "src.coord_tokens.codec:get_coord_token_ids"),
    _own("template", "encoding through the template", "src.datasets.dense_caption:BaseCaptionDataset._encode_record"),
    _own("template", "template set up by the program", f"{_SFT}:main"),
    _ab_trainer(
        "template",
        "teacher-forced payload",
        "_build_teacher_forced_payload",
        "src.trainers.stage2_two_channel.target_builder:_build_teacher_forced_payload",
    ),
)

_PACKING = (
    _own("packing", "packing settings", f"{_SFT}:_parse_packing_config"),
    _own("packing", "attention backend check", f"{_SFT}:_validate_attention_backend_for_packing"),
    _own1("packing", "Stage-1 packing policy", f"{_SFT}:_validate_stage1_static_packing_policy"),
    _own1("packing", "static packs", "src.datasets.wrappers.packed_caption:build_static_packed_dataset"),
    _own1("packing", "pack plan", "src.datasets.wrappers.packed_caption:_build_raw_pack_plan"),
    _own1("packing", "alignment over ranks", "src.datasets.wrappers.packed_caption:_align_pack_plan_for_ddp"),
    _own1("packing", "collator", "src.data_collators.batch_extras_collator:build_dataset_metrics_collator"),
    _own1("packing", "batch extras", "src.data_collators.enrichers:TokenTypesEnricher"),
    _own1("packing", "token types", "src.data_collators.token_types:compute_token_types"),
    _rollout_trainer(
        "packing", "post-rollout selection", "RolloutMatchingSFTTrainer._select_post_rollout_segment_indices"
    ),
    _own2(
        "packing",
        "post-rollout pack",
        f"{_EXEC}._stage2_pop_post_rollout_pack",
        f"{_EXEC2}._stage2_pop_post_rollout_pack",
    ),
    _rollout_trainer("packing", "one pack a forward", "RolloutMatchingSFTTrainer._assert_single_packed_forward"),
    _rollout_trainer(
        "packing",
        "labels and coordinate targets",
        "_build_labels_and_coord_targets_for_batch",
        "src.trainers.rollout_aligned_targets:_build_labels_and_coord_targets_for_batch",
    ),
    _own2("packing", "accumulation windows", f"{_RM}.packing:DropRemainderAccumulationWindow"),
)

_TRAINER = (
    _own("trainer", "model, tuner and trainer set-up", f"{_SFT}:main"),
    _own("trainer", "accumulation under packing", f"{_SFT}:_recompute_gas_for_packing"),
    _own("trainer", "coordinate-offset adapter", "src.coord_tokens.offset_adapter:install_coord_offset_adapter"),
    _own("trainer", "optimizer groups", "src.optim.coord_offset_optimizer:create_multimodal_coord_offset_optimizer"),
    _own1("trainer", "coordinate loss", "src.trainers.losses.coord_soft_ce_w1:compute_coord_soft_ce_w1_loss"),
    _own1("trainer", "loss composition", "src.trainers.metrics.mixins:CoordSoftCEW1LossMixin.compute_loss"),
    _own1("trainer", "accumulation scale", "src.trainers.metrics.mixins:GradAccumLossScaleMixin.compute_loss"),
    _own2("trainer", "channel schedule", f"{_SCHED}._stage2_channel_for_step", f"{_SCHED2}._stage2_channel_for_step"),
    _ab_trainer("trainer", "training step", "Stage2ABTrainingTrainer.training_step"),
    _ab_trainer("trainer", "Channel-A inputs", "Stage2ABTrainingTrainer._prepare_batch_inputs_a"),
    _ab_trainer("trainer", "Channel-B inputs", "Stage2ABTrainingTrainer._prepare_batch_inputs_b"),
    _own2(
        "trainer", "rollout parsing", f"{_RM}.parsing:parse_rollout_for_matching", f"{_RMT}:_parse_rollout_for_matching"
    ),
    _own2("trainer", "matching", f"{_RM}.matching:hungarian_match_maskiou", f"{_RMT}:hungarian_match_maskiou"),
    _own2("trainer", "FN append", f"{_RM}.parsing:serialize_append_fragment", f"{_RMT}:_serialize_append_fragment"),
    _ab_trainer(
        "trainer",
        "closure positions",
        "_stage2_ab_tail_closure_positions",
        "src.trainers.teacher_forcing.rollout_meta:tail_closure_positions",
    ),
    _ab_trainer("trainer", "loss composition", "Stage2ABTrainingTrainer.compute_loss"),
    _ab_trainer(
        "trainer",
        "geometry loss",
        "_bbox_smoothl1_ciou_loss",
        "src.trainers.teacher_forcing.geometry:bbox_smoothl1_ciou_loss",
    ),
    _rollout_trainer("trainer", "rollout-matching trainer", "RolloutMatchingSFTTrainer"),
)

_METRICS = (
    _own("metrics", "evaluation set-up", f"{_SFT}:main"),
    _own("metrics", "metric reporter", "src.metrics.reporter:SwiftMetricReporter"),
    _own1("metrics", "token-type metrics", "src.trainers.metrics.mixins:AggregateTokenTypeMetricsMixin"),
    _own1("metrics", "next-token accuracy", "src.metrics.aggregate_token_metrics:build_next_token_batch"),
    _own1("metrics", "coordinate monitors", "src.metrics.coord_monitors:compute_coord_flip_and_mass_metrics"),
    _rollout_trainer("metrics", "evaluation by rollouts", "RolloutMatchingSFTTrainer.evaluate"),
    _own2(
        "metrics",
        "detection metrics",
        f"{_RMT}:_compute_eval_detection_coco_metrics",
        "src.trainers.rollout_aligned_evaluator:_build_eval_options",
        f"{_RAT}:_compute_eval_detection_coco_metrics",
    ),
    _ab_trainer("metrics", "pending step metrics", "_PendingStage2Log"),
    _ab_trainer("metrics", "reduction over ranks", "Stage2ABTrainingTrainer._reduce_stage2_pending_metrics_global"),
    _ab_trainer("metrics", "log", "Stage2ABTrainingTrainer.log"),
    _own2("metrics", "rollout telemetry", f"{_RM}.telemetry:PendingTrainRolloutLog"),
    _own2("metrics", "detection evaluator", "src.eval.detection:evaluate_detection"),
)

_ARTIFACTS = (
    _own("artifacts", "directories and run metadata", f"{_SFT}:main"),
    _own("artifacts", "final checkpoint", "src.trainers.final_checkpoint:FinalCheckpointMixin"),
    _own("artifacts", "delayed saves", "src.callbacks.save_delay_callback:SaveDelayCallback"),
    _own("artifacts", "run manifest", "src.utils.run_manifest:write_run_manifest_files"),
    _own(
        "artifacts",
        "dependency provenance",
        f"{_SFT}:_collect_dependency_provenance",
        "src.bootstrap.run_metadata:_collect_dependency_provenance",
    ),
    _own2(
        "artifacts",
        "launcher provenance",
        f"{_SFT}:_collect_launcher_metadata_from_env",
        "src.bootstrap.run_metadata:_collect_launcher_metadata_from_env",
    ),
    _rollout_trainer("artifacts", "rollout dumps", "RolloutMatchingSFTTrainer._write_monitor_dump"),
)

_ROLLOUT = (
    _own2("rollout", "server chosen before launch", f"{_RM}.preflight:build_rollout_matching_contract"),
    _rollout_trainer("rollout", "rollouts of a batch", "RolloutMatchingSFTTrainer._rollout_many"),
    _rollout_trainer("rollout", "rollouts through the server", "RolloutMatchingSFTTrainer._rollout_many_vllm_server"),
    _rollout_trainer("rollout", "requests", "RolloutMatchingSFTTrainer._build_vllm_server_infer_requests"),
    _rollout_trainer("rollout", "responses", "RolloutMatchingSFTTrainer._parse_vllm_server_output"),
    _rollout_trainer(
        "rollout",
        "share of requests",
        "_per_server_rank_request_caps",
        "src.trainers.rollout_runtime.dispatch:_per_server_rank_request_caps",
    ),
    _rollout_trainer("rollout", "seeds", "RolloutMatchingSFTTrainer._derive_rollout_seed_base"),
    _rollout_trainer("rollout", "server list", "RolloutMatchingSFTTrainer._vllm_server_specs"),
    _rollout_trainer("rollout", "time limits", "RolloutMatchingSFTTrainer._vllm_server_timeouts"),
    _rollout_trainer("rollout", "client", "RolloutMatchingSFTTrainer._ensure_vllm_server_client"),
    _own2(
        "rollout",
        "engine settings",
        f"{_RMT}:RolloutMatchingSFTTrainer._ensure_vllm_engine",
        "src.trainers.rollout_runtime.vllm_config:resolve_vllm_engine_config",
        f"{_RAT}:RolloutMatchingSFTTrainer._ensure_vllm_engine",
    ),
    _rollout_trainer("rollout", "request decoding", "RolloutMatchingSFTTrainer._decoding_params"),
    _rollout_trainer(
        "rollout", "weights to the server", "RolloutMatchingSFTTrainer._sync_vllm_server_rollout_model_if_needed"
    ),
)

CONTRACT = {
    "pipeline_map.owners": (*(*_LAUNCH, *_DATA, *_TEMPLATE, *_PACKING), *(*_TRAINER, *_METRICS, *_ARTIFACTS, *_ROLLOUT))
}
