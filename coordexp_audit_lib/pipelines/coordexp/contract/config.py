"""What CoordExp's configs may hold: keys, kinds and ranges of values, and the rules between keys.

The schema is written as `boundaries.config.predicates.values` reads it. Sections that are handed to upstream's trainer
arguments list the keys that this pipeline's configs use, not all that upstream knows.
"""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.pipelines.coordexp.symbols import removed

Section = dict[str, Any]

VARIANTS = ("stage2_ab_training", "rollout_matching_sft")
WEIGHT = "number 0.."


def _each(names: str, kind: Any = "any") -> Section:
    return dict.fromkeys(names.split(), kind)


def _kinds(rows: str) -> Section:
    """Sections as text: `name: kind; name: kind`."""
    return {name.strip(): kind.strip() for name, _, kind in (row.partition(":") for row in rows.split(";"))}


TRAINING = _each(
    "gradient_checkpointing lr_scheduler_type bf16 report_to seed warmup_ratio max_grad_norm weight_decay add_version"
    " save_safetensors save_total_limit save_only_model logging_steps logging_first_step max_steps num_train_epochs"
    " per_device_eval_batch_size dataloader_drop_last metric_for_best_model greater_is_better optimizer learning_rate"
    " vit_lr aligner_lr eval_strategy eval_steps save_strategy save_steps run_name output_dir logging_dir do_eval"
    " save_delay_steps save_delay_epochs save_last_epoch packing_buffer packing_min_fill_ratio packing_drop_last"
    " packing_mode packing_allow_single_long packing_wait_timeout_s"
) | {
    "lr_scheduler_kwargs": "free",
    **_each("packing eval_packing", "flag"),
    **_each("effective_batch_size! per_device_train_batch_size gradient_accumulation_steps", "int 1.."),
}
AUGMENTING = _each(
    "prob max_deg multiple scale aspect_ratio min_coverage completeness_threshold min_objects max_targets"
    " max_attempts max_size overlap_threshold context lo hi align_multiple brightness contrast saturation"
    " gamma hue_delta_deg sat val clip_limit tile_grid_size cutoff factor"
)
AUGMENTATION: Section = {
    **{"enabled": "flag", "bypass_prob": "number 0..1"},
    "ops": [{"name!": "text", "params": AUGMENTING}],
}
CUSTOM: Section = {
    **_each("train_jsonl! val_jsonl? user_prompt trainer_variant", "text"),
    **_kinds("object_field_order!: text desc_first|geometry_first; object_ordering: text sorted|random"),
    **_kinds("json_format: text standard; emit_norm: text none; use_summary: flag"),
    **_kinds("train_sample_limit?: int 0..; val_sample_limit?: int 0..; val_sample_with_replacement: flag"),
    **{"dump_conversation_path?": "text", "coord_tokens": _each("enabled skip_bbox_norm", "true")},
    "coord_soft_ce_w1": {
        **_kinds("enabled: flag; temperature: number >0; target_sigma: number >0; target_truncate?: int 0.."),
        **_each("ce_weight soft_ce_weight w1_weight gate_weight", WEIGHT),
    },
    "coord_offset": {
        **_each("enabled tie_head", "flag"),
        **_each("embed_lr? head_lr? weight_decay", "number 0.."),
        **{"dtype?": "text", "ids": _each("start! end!", "int 0..")},
    },
    "token_type_metrics": {
        "enabled": "flag",
        **_each("include exclude", ["text"]),
        **_each("log_top5 coord_monitor_mass", "flag"),
        "coord_monitor_mass_max_tokens": "int 0..",
    },
    **{"augmentation?": AUGMENTATION, "augmentation_curriculum?": {}, "extra": "free"},
}
STAGE2_AB: Section = {
    "schedule!": {"b_ratio!": "number 0..1"},
    **_kinds("n_softctx_iter: int 1..; softctx_grad_mode: text unroll|em_detach"),
    **_each("softctx_temperature coord_huber_delta", "number >0"),
    "channel_b": {"drop_invalid_struct_ce_multiplier": "number 1..4"},
    **_each(
        "desc_ce_weight bbox_smoothl1_weight bbox_ciou_weight coord_ce_weight coord_el1_weight coord_ehuber_weight"
        " coord_entropy_weight coord_gate_weight",
        WEIGHT,
    ),
}
DUMP: Section = {
    **_kinds("enabled: flag; every_steps?: int 0..; dump_first_step: flag; only_world_process_zero: flag"),
    **_kinds("max_events: int 0..; max_samples: int 0..; async_write: flag; max_pending_writes: int 0.."),
    **_kinds("min_free_gb: number 0..; out_dir?: text"),
}
VLLM: Section = {
    **_each("tensor_parallel_size enable_lora enable_prefix_caching sleep_level enforce_eager max_num_seqs"),
    "mode": "text server|colocate",
    "server": {
        **_each("timeout_s infer_timeout_s?", "number"),
        "debug_dump": {**DUMP, "max_chars?": "int 0.."},
        "servers": [{"base_url!": "text", "group_port!": "int 1..65535"}, 1],
    },
    **_kinds("max_model_len: int 1..; gpu_memory_utilization: number 0..1"),
    "sync": {"mode": "text full|adapter|auto", "fallback_to_full": "flag"},
}
ROLLOUT: Section = {
    **_kinds("rollout_backend: text vllm|hf; decode_mode: text greedy|beam"),
    **_each("decode_batch_size max_new_tokens candidate_top_k maskiou_resolution ot_iters", "int 1.."),
    **_each("repetition_penalty ot_epsilon", "number >0"),
    "maskiou_gate": "number 0..1",
    **_each("fp_cost fn_cost", "number 0.."),
    **{"ot_cost": "text", "vllm": VLLM},
    "decoding": {"temperature": "number 0..", "top_p": "number 0..1", "top_k": "int -1.."},
    "offload": _each("enabled offload_model offload_optimizer", "flag"),
    "monitor_dump": {**DUMP, "max_text_chars?": "int 0..", "write_markdown": "flag"},
    "desc_monitor": _kinds(
        "enabled: flag; every_steps?: int 0..; mode: text semantic|both|exact; max_pairs: int 0..;"
        " semantic_threshold: number 0..1"
    ),
    "eval_detection": _kinds(
        "enabled: flag; metrics: text coco|both; use_segm: flag; strict_parse: flag; score_mode: text constant;"
        " constant_score: number 0..1; pred_score_source: text; pred_score_version: int 0.."
    ),
    **_each("soft_ce_weight? w1_weight? gate_weight?", WEIGHT),
}
SCHEMA: Section = {
    "model!": _each("model model_type torch_dtype dtype attn_impl max_model_len device_map revision"),
    "template!": _each("template system max_length truncation_strategy max_pixels padding_side"),
    "data": _each(
        "dataset val_dataset dataset_num_proc dataloader_num_workers dataloader_pin_memory"
        " dataloader_prefetch_factor dataloader_persistent_workers dataset_shuffle"
    ),
    "tuner": _each(
        "train_type use_swift_lora use_dora freeze_llm freeze_vit freeze_aligner target_modules target_regex"
        " modules_to_save lora_rank lora_alpha lora_dropout lora_bias adapters"
    ),
    "training!": TRAINING,
    "quantization": _each("quant_method quant_bits bnb_4bit_compute_dtype bnb_4bit_quant_type"),
    "rlhf": {**_each("rlhf_type teacher_model beta temperature"), "llm_kd_weight": WEIGHT},
    **{"custom!": CUSTOM, "stage2_ab": STAGE2_AB, "rollout_matching": ROLLOUT},
    "deepspeed": {"enabled!": "flag", "config": "any"},
    "debug": {"enabled": "flag", "output_dir?": "text", **_each("train_sample_limit? val_sample_limit?", "int 0..")},
    "global_max_length": "int 1..",
}

B, SERVER, CUSTOM_EXTRA = "stage2_ab.channel_b", "rollout_matching.vllm.server", "custom.extra"
SHARE, MULTIPLIER = "stage2_ab.schedule.b_ratio", f"{B}.drop_invalid_struct_ce_multiplier"
LISTED = f"use {SERVER}.servers, a list of both"
MOVED = "move its keys to the top-level section rollout_matching"
NO_DIAGNOSTICS = "remove it: decoded-coordinate diagnostics are no longer supported"
# Removed or moved knobs: path, a value it once had, the name that the error must give instead (if the specification has
# one), and what to do.
REMOVED: tuple[tuple[str, Any, str, str], ...] = (
    ("training.packing_length", 4096, "", "use global_max_length or template.max_length"),
    ("stage2_ab.schedule.pattern", ["A", "B"], "b_ratio", f"use {SHARE}, the share of Channel-B steps"),
    (f"{B}.mode", "step", "", "remove it: Channel-B is always step-budgeted"),
    (f"{B}.async", {"enabled": True}, "", "remove it: rollouts are synchronous"),
    (f"{B}.rollouts_per_step", 32, "", "use training.effective_batch_size"),
    (f"{B}.enable_pipeline", True, "", "remove it: it is automatic"),
    (f"{B}.rollout_decode_batch_size", 4, "", "use rollout_matching.decode_batch_size"),
    (f"{B}.reordered_gt_sft", True, "", "remove it"),
    (f"{B}.desc_ce_weight_matched", 0.5, "", "remove it"),
    (f"{B}.semantic_desc_gate", {"enabled": True}, "", "remove it"),
    (f"{B}.stop_neutral", {"enabled": True}, "", "remove it"),
    ("rollout_matching.rollout_buffer", {"enabled": True}, "", "remove it: every rollout is used once"),
    (f"{CUSTOM_EXTRA}.rollout_matching", {"decode_batch_size": 4}, "rollout_matching", MOVED),
    (f"{SERVER}.base_url", ["http://127.0.0.1:8000"], "servers", LISTED),
    (f"{SERVER}.group_port", [51216], "servers", LISTED),
    ("custom.coord_expectation_metrics", {"enabled": True}, "", NO_DIAGNOSTICS),
)
# Sections and mappings that a schema may know though a config does not set them, each at its smallest.
SKELETON: Section = {
    "stage2_ab": {"schedule": {"b_ratio": 0.5}, "channel_b": {}},
    "rollout_matching": {
        **{name: {} for name in ("decoding", "offload", "monitor_dump", "desc_monitor", "eval_detection")},
        "vllm": {
            "sync": {},
            "server": {"debug_dump": {}, "servers": [{"base_url": "http://127.0.0.1:8000", "group_port": 51216}]},
        },
    },
    **{"quantization": {}, "rlhf": {}, "debug": {}, "deepspeed": {"enabled": False}},
    "custom": {
        **{"coord_tokens": {}, "coord_soft_ce_w1": {}, "coord_offset": {"ids": {"start": 0, "end": 1}}},
        **{"token_type_metrics": {}, "visual_kd": {"vit": {}, "aligner": {}, "deepstack": {}}},
    },
}
# Mappings whose keys the project does not own, with the reason. No unknown key is tried in them.
PASS_THROUGH = {
    CUSTOM_EXTRA: "the escape hatch",
    "training.lr_scheduler_kwargs": "handed to transformers' scheduler",
    "training.gradient_checkpointing_kwargs": "handed to torch's checkpoint",
    "training.accelerator_config": "handed to accelerate",
    "training.optim_args": "handed to transformers' optimizer",
    "model.model_kwargs": "handed to the model class",
    "model.rope_scaling": "handed to the model's config",
    "model.quantization_config": "handed to the quantizer",
    "deepspeed.config": "DeepSpeed's own config",
    "rollout_matching.vllm.limit_mm_per_prompt": "vLLM's modalities",
    "rollout_matching.vllm.mm_processor_kwargs": "handed to the model's processor",
}
# Keys of numbers, with what is out of their range. clamped: bringing a value into it is as good as refusing it.
RANGES: tuple[dict[str, Any], ...] = (
    {"key": SHARE, "bad": (-0.1, 1.5), "why": "outside [0, 1]", "text": "0.5"},
    {"key": "stage2_ab.n_softctx_iter", "bad": (0, -1), "why": "less than 1", "fraction": 2.5},
    {"key": MULTIPLIER, "bad": (0.5, 4.5, -1.0), "why": "outside [1, 4]", "clamped": (1, 4)},
)
# What a stage-2 leaf states by itself, so that a reader of the one file knows the run.
EXPLICIT = (
    "model.model",
    *(f"training.{k}" for k in ("run_name", "output_dir", "logging_dir", "learning_rate", "vit_lr", "aligner_lr")),
    *(f"training.{k}" for k in ("effective_batch_size", "eval_strategy", "eval_steps", "save_strategy", "save_steps")),
    *(SHARE, "stage2_ab.n_softctx_iter"),
)

LIMIT = "rollout_matching.vllm.max_model_len"
CARRIED: tuple[tuple[str, Any, Any, dict[str, Any]], ...] = (
    (LIMIT, 40_000, 50_000, {}),
    ("rollout_matching.vllm.gpu_memory_utilization", 0.5, 0.625, {}),
    ("model.torch_dtype", "bfloat16", "float16", {}),
    ("template.template", "qwen3_vl", "qwen2_5_vl", {}),
    ("template.max_pixels", 786_432, 393_216, {}),
    ("template.truncation_strategy", "raise", "right", {}),
    ("global_max_length", 9_000, 10_000, {LIMIT: 40_000}),
)

CONTRACT: dict[str, Any] = {
    "config.schema": SCHEMA,
    "config.removed": REMOVED,
    "config.skeleton": SKELETON,
    "config.pass_through": PASS_THROUGH,
    # The one mapping with free keys, and the name under which they are refused at the top.
    "config.escape": (CUSTOM_EXTRA, "extra"),
    "config.stage2_sections": ("stage2_ab", "rollout_matching"),
    # What these mappings set is logged or dumped, and neither trained nor evaluated.
    "config.diagnostics": (
        *("debug", "custom.token_type_metrics", "stage2_ab.pipeline.diagnostics[0]"),
        *(f"rollout_matching.{n}" for n in ("monitor_dump", "train_monitor_dump", "eval_monitor_dump")),
        f"{SERVER}.debug_dump",
    ),
    "config.inherited_sections": ("training", "template", "custom"),
    "config.variants": VARIANTS,
    "config.variant_key": "custom.trainer_variant",
    # What a trainer variant needs besides what the schema demands.
    "config.variant_sections": {VARIANTS[0]: ("rollout_matching", "stage2_ab"), VARIANTS[1]: ("rollout_matching",)},
    "config.required": (*(SHARE, "rollout_matching", "training.effective_batch_size", "custom.object_field_order"),),
    "config.ranges": RANGES,
    "config.shipped": {
        **{"folder": "configs", "keys": ("extends", "inherit")},
        "needs": ("model.model", "custom.train_jsonl"),  # of what starts a training
    },
    "config.choices": {
        "key": "custom.object_field_order",
        "bad": ("random", "desc_last", 1, True, ["desc_first"]),
        "why": "neither desc_first nor geometry_first",
    },
    # Loss weights are what ends so in these sections; of a `signed` one the sign says whether entropy is raised.
    "config.weights": {"sections": ("stage2_ab", "custom", "rollout_matching"), "end": "_weight", "signed": "entropy"},
    "config.coord_switches": ("custom.coord_tokens.enabled", "custom.coord_tokens.skip_bbox_norm"),
    "config.batch": {
        "effective": "training.effective_batch_size",
        "per_device": "training.per_device_train_batch_size",
        "accumulation": "training.gradient_accumulation_steps",
        "also_in": "rlhf",  # a later section that may name the same arguments
    },
    "config.lengths": {
        "longest": "global_max_length",
        "own": "template.max_length",  # where it is set, the loader leaves it, and training goes by it
        "model": "model.max_model_len",  # likewise
        "backend": "rollout_matching.rollout_backend",
        "limit": "rollout_matching.vllm.max_model_len",
        "budget": "rollout_matching.max_new_tokens",
    },
    "config.packing": {"on": "training.packing", "backend": "model.attn_impl", "also_in": ("template", "training")},
    "config.prompt": "custom.user_prompt",
    "config.profile": {
        "folders": ("configs/stage2_ab/prod/", "configs/stage2_ab/smoke/"),
        "leaf": r"/stage2.*/(prod|smoke)/",
        "parent": "../base.yaml",
        "explicit": EXPLICIT,
        # Key -> the one that is authored in its place; what is stated may be inherited where a profile is `resolved`.
        "composed": {},
        "resolved": False,
    },
    "config.servers": f"{SERVER}.servers",
    "config.preflight": {
        "keys": {"rollout_backend": ("str",), "vllm_mode": ("str", "NoneType"), "server_base_urls": ("list",)},
        "train": "custom.train_jsonl",
        "val": "custom.val_jsonl",
        "mode": "rollout_matching.vllm.mode",
        # Settings that decide what the server samples, each with two values, and with what else has to fit them.
        "carried": CARRIED,
    },
    # What the reference's loader adds, and what it hands on to upstream.
    "config.defaults": {
        "stage2_ab.desc_ce_weight": 1.0,
        "stage2_ab.coord_ce_weight": 0.0,
        "stage2_ab.coord_entropy_weight": 0.0,
        MULTIPLIER: 1.0,
        "custom.coord_soft_ce_w1.ce_weight": 0.0,
        "custom.coord_soft_ce_w1.gate_weight": 1.0,
    },
    "config.arguments": {
        "sections": ("model", "quantization", "data", "template", "tuner", "training", "rlhf"),
        "own": ("effective_batch_size", "save_delay_steps", "save_delay_epochs", "save_last_epoch"),
        "own_starts": ("packing", "eval_packing"),
    },
}

_SUBFOLDER = "training.artifact_subdir"
# Later, a profile may have any parents, and what counts is what it resolves to.
_RESOLVED = {
    "folders": ("configs/stage2_two_channel/prod/", "configs/stage2_two_channel/smoke/"),
    "leaf": r"/stage2.*/(prod|smoke)/",
    "parent": "",
    "free": f"a stage-2 leaf may have any parents: the rule was {removed('profile_one_hop')}",
    "explicit": tuple(k for k in EXPLICIT if k != "stage2_ab.n_softctx_iter"),
    "composed": {"training.output_dir": _SUBFOLDER, "training.logging_dir": _SUBFOLDER},
    "resolved": True,
}
# A run may do without coordinate tokens since 2026-04-18 (d68a4bb): docs/data/CONTRACT.md names `enabled: false` beside
# `true`, and shipped configs set it.
CHANGES = {
    # Knobs that were live are none that was removed.
    "before 2026-02-11": {"config.removed": REMOVED[:1]},
    "2026-02-11": {"config.removed": REMOVED[:2]},
    "2026-02-24": {"config.profile": {**CONTRACT["config.profile"], "folders": _RESOLVED["folders"]}},
    "2026-03-08": {"config.profile": {**_RESOLVED, "explicit": EXPLICIT, "composed": {}}},
    "2026-03-21": {"config.profile": _RESOLVED},
    "2026-04-18": {"config.coord_switches": ("custom.coord_tokens.skip_bbox_norm",)},
}
