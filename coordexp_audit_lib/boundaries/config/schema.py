"""The keys of a CoordExp-style config, and the rules between them: `check_config` yields what is wrong with a mapping.

Sections that are handed to upstream's trainer arguments (`model`, `template`, `data`, `tuner`, `training`,
`quantization`, `rlhf`) list the keys that this pipeline's configs use, not all that upstream knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from coordexp_audit_lib.boundaries.config.chain import lookup, steps
from coordexp_audit_lib.boundaries.config.contract import batch_adds_up, respects_segments
from coordexp_audit_lib.boundaries.config.values import (
    Kind,
    Problem,
    anything,
    flag,
    free,
    items,
    number,
    optional,
    section,
    text,
    whole,
)

STAGE2_VARIANTS = ("stage2_ab_training", "rollout_matching_sft")
REQUIRED, LENGTHS = "config.required_key", "config.length_coherent"
WEIGHT = number(0)
COUNT = optional(whole(0))


def _upstream(names: str) -> dict[str, Kind]:
    return dict.fromkeys(names.split(), anything)


MODEL = _upstream("model model_type torch_dtype dtype attn_impl max_model_len device_map revision")
TEMPLATE = _upstream("template system max_length truncation_strategy max_pixels padding_side")
DATA = _upstream(
    "dataset val_dataset dataset_num_proc dataloader_num_workers dataloader_pin_memory"
    " dataloader_prefetch_factor dataloader_persistent_workers dataset_shuffle"
)
TUNER = _upstream(
    "train_type use_swift_lora use_dora freeze_llm freeze_vit freeze_aligner target_modules target_regex"
    " modules_to_save lora_rank lora_alpha lora_dropout lora_bias adapters"
)
QUANTIZATION = _upstream("quant_method quant_bits bnb_4bit_compute_dtype bnb_4bit_quant_type")
RLHF = _upstream("rlhf_type teacher_model beta temperature") | {"llm_kd_weight": WEIGHT}
TRAINING: dict[str, Kind] = _upstream(
    "gradient_checkpointing lr_scheduler_type bf16 report_to seed warmup_ratio max_grad_norm weight_decay add_version"
    " save_safetensors save_total_limit save_only_model logging_steps logging_first_step max_steps num_train_epochs"
    " per_device_eval_batch_size dataloader_drop_last metric_for_best_model greater_is_better optimizer learning_rate"
    " vit_lr aligner_lr eval_strategy eval_steps save_strategy save_steps run_name output_dir logging_dir do_eval"
    " save_delay_steps save_delay_epochs save_last_epoch packing_buffer packing_min_fill_ratio packing_drop_last"
    " packing_mode packing_allow_single_long packing_wait_timeout_s"
) | {
    "lr_scheduler_kwargs": free,
    "packing": flag(),
    "eval_packing": flag(),
    "effective_batch_size": whole(1),
    "per_device_train_batch_size": whole(1),
    "gradient_accumulation_steps": whole(1),
}

COORD_SOFT_CE_W1 = section(
    {"enabled": flag(), "temperature": number(above=0), "target_sigma": number(above=0), "target_truncate": COUNT}
    | dict.fromkeys(("ce_weight", "soft_ce_weight", "w1_weight", "gate_weight"), WEIGHT)
)
COORD_OFFSET = section(
    {
        "enabled": flag(),
        "tie_head": flag(),
        "embed_lr": optional(number(0)),
        "head_lr": optional(number(0)),
        "weight_decay": number(0),
        "dtype": optional(text()),
        "ids": section({"start": whole(0), "end": whole(0)}, required=("start", "end")),
    }
)
TOKEN_TYPES = section(
    {
        "enabled": flag(),
        "include": items(text()),
        "exclude": items(text()),
        "log_top5": flag(),
        "coord_monitor_mass": flag(),
        "coord_monitor_mass_max_tokens": whole(0),
    }
)
AUGMENTATION_PARAMS = section(
    _upstream(
        "prob max_deg multiple scale aspect_ratio min_coverage completeness_threshold min_objects max_targets"
        " max_attempts max_size overlap_threshold context lo hi align_multiple brightness contrast saturation gamma"
        " hue_delta_deg sat val clip_limit tile_grid_size cutoff factor"
    )
)
AUGMENTATION = section(
    {
        "enabled": flag(),
        "bypass_prob": number(0, 1),
        "ops": items(section({"name": text(), "params": AUGMENTATION_PARAMS}, required=("name",))),
    }
)
CUSTOM = section(
    {
        "train_jsonl": text(),
        "val_jsonl": optional(text()),
        "user_prompt": text(),
        "trainer_variant": text(),
        "object_field_order": text("desc_first", "geometry_first"),
        "object_ordering": text("sorted", "random"),
        "json_format": text("standard"),
        "emit_norm": text("none"),
        "use_summary": flag(),
        "train_sample_limit": COUNT,
        "val_sample_limit": COUNT,
        "val_sample_with_replacement": flag(),
        "dump_conversation_path": optional(text()),
        "coord_tokens": section(dict.fromkeys(("enabled", "skip_bbox_norm"), flag(must=True))),
        "coord_soft_ce_w1": COORD_SOFT_CE_W1,
        "coord_offset": COORD_OFFSET,
        "token_type_metrics": TOKEN_TYPES,
        "augmentation": optional(AUGMENTATION),
        "augmentation_curriculum": optional(section({})),
        "extra": free,
    },
    required=("train_jsonl", "object_field_order"),
    removed={"coord_expectation_metrics": "remove it: decoded-coordinate diagnostics are no longer supported"},
)

STAGE2_AB = section(
    {
        "schedule": section(
            {"b_ratio": number(0, 1)},
            required=("b_ratio",),
            removed={"pattern": "use stage2_ab.schedule.b_ratio, the share of Channel-B steps"},
        ),
        "n_softctx_iter": whole(1),
        "softctx_grad_mode": text("unroll", "em_detach"),
        "softctx_temperature": number(above=0),
        "coord_huber_delta": number(above=0),
        "channel_b": section(
            {"drop_invalid_struct_ce_multiplier": number(1, 4)},
            removed={
                "mode": "remove it: Channel-B is always step-budgeted",
                "async": "remove it: rollouts are synchronous",
                "rollouts_per_step": "use training.effective_batch_size",
                "enable_pipeline": "remove it: it is automatic",
                "rollout_decode_batch_size": "use rollout_matching.decode_batch_size",
                "stop_neutral": "remove it",
                "reordered_gt_sft": "remove it",
                "desc_ce_weight_matched": "remove it",
                "semantic_desc_gate": "remove it",
            },
        ),
    }
    | dict.fromkeys(
        (
            "desc_ce_weight",
            "bbox_smoothl1_weight",
            "bbox_ciou_weight",
            "coord_ce_weight",
            "coord_el1_weight",
            "coord_ehuber_weight",
            "coord_entropy_weight",
            "coord_gate_weight",
        ),
        WEIGHT,
    ),
    required=("schedule",),
)

_DUMP: dict[str, Kind] = {
    "enabled": flag(),
    "every_steps": COUNT,
    "dump_first_step": flag(),
    "only_world_process_zero": flag(),
    "max_events": whole(0),
    "max_samples": whole(0),
    "async_write": flag(),
    "max_pending_writes": whole(0),
    "min_free_gb": number(0),
    "out_dir": optional(text()),
}
SERVER = section(
    {
        "timeout_s": number(),
        "infer_timeout_s": optional(number()),
        "debug_dump": section({**_DUMP, "max_chars": COUNT}),
        "servers": items(
            section({"base_url": text(), "group_port": whole(1, 65535)}, required=("base_url", "group_port")), 1
        ),
    },
    removed=dict.fromkeys(("base_url", "group_port"), "use rollout_matching.vllm.server.servers, a list of both"),
)
VLLM = section(
    _upstream("tensor_parallel_size enable_lora enable_prefix_caching sleep_level enforce_eager max_num_seqs")
    | {
        "mode": text("server", "colocate"),
        "server": SERVER,
        "max_model_len": whole(1),
        "gpu_memory_utilization": number(0, 1),
        "sync": section({"mode": text("full", "adapter", "auto"), "fallback_to_full": flag()}),
    }
)
ROLLOUT_MATCHING = section(
    {
        "rollout_backend": text("vllm", "hf"),
        "decode_mode": text("greedy", "beam"),
        "decode_batch_size": whole(1),
        "max_new_tokens": whole(1),
        "repetition_penalty": number(above=0),
        "candidate_top_k": whole(1),
        "maskiou_gate": number(0, 1),
        "maskiou_resolution": whole(1),
        "fp_cost": number(0),
        "fn_cost": number(0),
        "ot_cost": text(),
        "ot_epsilon": number(above=0),
        "ot_iters": whole(1),
        "vllm": VLLM,
        "decoding": section({"temperature": number(0), "top_p": number(0, 1), "top_k": whole(-1)}),
        "offload": section(dict.fromkeys(("enabled", "offload_model", "offload_optimizer"), flag())),
        "monitor_dump": section({**_DUMP, "max_text_chars": COUNT, "write_markdown": flag()}),
        "desc_monitor": section(
            {
                "enabled": flag(),
                "every_steps": COUNT,
                "mode": text("semantic", "both", "exact"),
                "max_pairs": whole(0),
                "semantic_threshold": number(0, 1),
            }
        ),
        "eval_detection": section(
            {
                "enabled": flag(),
                "metrics": text("coco", "both"),
                "use_segm": flag(),
                "strict_parse": flag(),
                "score_mode": text("constant"),
                "constant_score": number(0, 1),
                "pred_score_source": text(),
                "pred_score_version": whole(0),
            }
        ),
    }
    | dict.fromkeys(("soft_ce_weight", "w1_weight", "gate_weight"), optional(WEIGHT)),
    removed={"rollout_buffer": "remove it: every rollout is used once"},
)

CONFIG = section(
    {
        "model": section(MODEL),
        "template": section(TEMPLATE),
        "data": section(DATA),
        "tuner": section(TUNER),
        "training": section(TRAINING, required=("effective_batch_size",)),
        "quantization": section(QUANTIZATION),
        "rlhf": section(RLHF),
        "custom": CUSTOM,
        "stage2_ab": STAGE2_AB,
        "rollout_matching": ROLLOUT_MATCHING,
        "deepspeed": section({"enabled": flag(), "config": anything}, required=("enabled",)),
        "debug": section(
            {"enabled": flag(), "output_dir": optional(text()), "train_sample_limit": COUNT, "val_sample_limit": COUNT}
        ),
        "global_max_length": whole(1),
    },
    required=("model", "template", "training", "custom"),
    removed={"extra": "move the knob under custom.extra, the only section with free keys"},
)

WEIGHT_DEFAULTS = {
    "stage2_ab.desc_ce_weight": 1.0,
    "stage2_ab.coord_ce_weight": 0.0,
    "stage2_ab.coord_entropy_weight": 0.0,
    "stage2_ab.channel_b.drop_invalid_struct_ce_multiplier": 1.0,
    "custom.coord_soft_ce_w1.ce_weight": 0.0,
    "custom.coord_soft_ce_w1.gate_weight": 1.0,
}


def check_config(config: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with a resolved config: unknown, removed and missing keys, values, and rules between keys."""
    problems = list(CONFIG(config, ""))
    yield from problems
    if not problems:
        yield from _rules(config)


def _rules(config: Mapping[str, Any]) -> Iterator[Problem]:
    variant = lookup(config, steps("custom.trainer_variant"))
    if variant in STAGE2_VARIANTS and not config.get("rollout_matching"):
        yield Problem("rollout_matching", f"the section is required for {variant}", "set it", REQUIRED)
    if variant == STAGE2_VARIANTS[0] and not config.get("stage2_ab"):
        yield Problem("stage2_ab", f"the section is required for {variant}", "set it", REQUIRED)
    if "rollout_matching" in lookup(config, steps("custom.extra"), {}):
        remedy = "move its keys to the top-level section rollout_matching"
        yield Problem("custom.extra.rollout_matching", "the section was moved", remedy, "config.removed_key_rejected")
    yield from check_lengths(config)


def check_lengths(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Training and rollout must agree on how long a sequence may be (tokens)."""
    limit = lookup(config, steps("rollout_matching.vllm.max_model_len"))
    backend = lookup(config, steps("rollout_matching.rollout_backend"), "vllm")
    if limit is None or backend != "vllm":
        return
    longest = config.get("global_max_length")
    if longest is not None and longest > limit:
        what = f"{limit} is less than global_max_length {longest}: the server would refuse or cut what training accepts"
        yield Problem("rollout_matching.vllm.max_model_len", what, "raise it to global_max_length", LENGTHS)
    budget = lookup(config, steps("rollout_matching.max_new_tokens"))
    if budget is not None and budget >= limit:
        what = f"{budget} leaves no room for a prompt in rollout_matching.vllm.max_model_len {limit}"
        yield Problem("rollout_matching.max_new_tokens", what, "set it below max_model_len", LENGTHS)


def check_batch(config: Mapping[str, Any], world_size: int) -> Iterator[Problem]:
    """One optimizer step sees exactly the effective batch."""
    training = config["training"]
    effective, per_device = training["effective_batch_size"], training.get("per_device_train_batch_size", 1)
    accumulation = accumulation_of(training, world_size)
    if not batch_adds_up(effective, per_device, world_size, accumulation):
        what = f"{effective} is not {per_device} per device x {world_size} ranks x {accumulation} accumulation steps"
        remedy = "use a multiple of per-device batch x world size"
        yield Problem("training.effective_batch_size", what, remedy, "config.batch_divisible")


def accumulation_of(training: Mapping[str, Any], world_size: int) -> int:
    """The accumulation steps that are set, or as many whole ones as fit into the effective batch."""
    per_device: int = training.get("per_device_train_batch_size", 1)
    fitting = max(1, training["effective_batch_size"] // (per_device * world_size))
    return int(training.get("gradient_accumulation_steps", fitting))


def check_attention(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Packed training needs a kernel that keeps the segments apart."""
    backend = lookup(config, steps("model.attn_impl"))
    if config["training"].get("packing") and not respects_segments(backend):
        what = f"packing needs an attention backend that reads segment boundaries, found {backend!r}"
        remedy = "set it to flash_attention_2, or training.packing to false"
        yield Problem("model.attn_impl", what, remedy, "config.packing_backend")
