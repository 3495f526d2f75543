"""What CoordExp's pipeline map promises: two anchored entrypoints, eight stages, and the keys that drive each.

Keys are written as `boundaries.pipeline_map.cases.Map.keys_of` reads them.
"""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.pipelines.coordexp import eras, symbols

STAGE1, STAGE2 = "stage1", "stage2"
BOTH = (STAGE1, STAGE2)

_BOTH = {
    "launch": """
        model.model custom.{trainer_variant,visual_kd.*} deepspeed.{enabled,config} debug.{enabled,output_dir}
        global_max_length training.{run_name,output_dir,effective_batch_size,per_device_train_batch_size}
    """,
    "data": """
        custom.{train_jsonl,val_jsonl,emit_norm,json_format,object_ordering,object_field_order,use_summary,fusion_config}
        custom.{train_sample_limit,val_sample_limit,val_sample_with_replacement,bypass_prob}
        custom.{augmentation.*,augmentation_curriculum} custom.coord_tokens.enabled template.max_pixels training.seed
        debug.{enabled,train_sample_limit,val_sample_limit} data.{dataset,val_dataset,dataset_num_proc}^
        data.dataloader_{num_workers,pin_memory,prefetch_factor,persistent_workers}^
    """,
    "template": """
        template.{template,truncation_strategy}^ template.system custom.coord_tokens.{enabled,skip_bbox_norm}
        custom.{user_prompt,system_prompt_summary,use_summary,object_ordering,object_field_order,json_format,emit_norm}
        custom.extra.prompt_variant
    """,
    "packing": """
        training.packing training.packing_{buffer,min_fill_ratio,drop_last} training.eval_packing
        training.{per_device_train_batch_size,effective_batch_size} model.attn_impl template.truncation_strategy
        global_max_length
    """,
    "trainer": """
        model.model tuner.{train_type,lora_rank,lora_alpha,modules_to_save}
        tuner.{use_swift_lora,use_dora,freeze_llm,freeze_vit,freeze_aligner,target_modules,target_regex}^
        tuner.{lora_dropout,lora_bias}^ training.{effective_batch_size,num_train_epochs,learning_rate}
        training.{optimizer,lr_scheduler_type,lr_scheduler_kwargs.min_lr,warmup_ratio}^
        training.{max_grad_norm,gradient_checkpointing,bf16}^ custom.coord_soft_ce_w1.enabled
        custom.coord_offset.{enabled,tie_head,ids.*,embed_lr,head_lr,weight_decay,dtype}
    """,
    "metrics": """
        training.{eval_strategy,eval_steps,report_to}^ training.{metric_for_best_model,greater_is_better}
        training.per_device_eval_batch_size custom.{val_jsonl,val_sample_limit}
    """,
    "artifacts": """
        training.{output_dir,run_name,logging_dir,add_version,save_strategy,save_total_limit,save_last_epoch}
        training.{save_steps,save_only_model,save_safetensors}^ training.{metric_for_best_model,greater_is_better}
        custom.{dump_conversation_text,dump_conversation_path} debug.output_dir
    """,
}

_STAGE1 = {
    "launch": "model.torch_dtype^",
    "packing": """
        custom.token_type_metrics.{enabled,include,exclude} training.per_device_eval_batch_size
    """,
    "trainer": """
        training.{vit_lr,aligner_lr,weight_decay}
        custom.coord_soft_ce_w1.{ce_weight,soft_ce_weight,w1_weight,gate_weight}
        custom.coord_soft_ce_w1.{temperature,target_sigma,target_truncate}
    """,
    "metrics": """
        custom.token_type_metrics.{enabled,log_top5,coord_monitor_mass,coord_monitor_mass_max_tokens}
        training.{logging_steps,logging_first_step}^
    """,
    "artifacts": "training.save_delay_steps",
}

_STAGE2 = {
    "launch": """
        model.torch_dtype stage2_ab.* custom.{train_jsonl,val_jsonl} template.max_pixels
        rollout_matching.rollout_backend
        rollout_matching.vllm.{mode,max_model_len,enable_lora,gpu_memory_utilization}
        rollout_matching.vllm.server.servers[].base_url
    """,
    "packing": "training.dataloader_drop_last",
    "trainer": """
        training.{vit_lr,aligner_lr,weight_decay}^
        stage2_ab.{schedule.b_ratio,n_softctx_iter,softctx_grad_mode,softctx_temperature,desc_ce_weight}
        stage2_ab.{bbox_smoothl1_weight,bbox_ciou_weight,coord_ce_weight,coord_el1_weight,coord_ehuber_weight}
        stage2_ab.{coord_huber_delta,coord_entropy_weight,coord_gate_weight}
        stage2_ab.channel_b.drop_invalid_struct_ce_multiplier
        custom.{object_field_order,object_ordering}
        custom.coord_soft_ce_w1.{ce_weight,soft_ce_weight,w1_weight,gate_weight}
        custom.coord_soft_ce_w1.{temperature,target_sigma,target_truncate}
        rollout_matching.{candidate_top_k,maskiou_gate,maskiou_resolution,fp_cost,fn_cost,ot_cost,ot_epsilon,ot_iters}
        rollout_matching.{target_sigma,target_truncate,temperature_coord,soft_ce_weight,w1_weight,gate_weight}
    """,
    "metrics": """
        training.do_eval^ custom.token_type_metrics.* custom.extra.prompt_variant
        rollout_matching.{decode_batch_size,eval_prompt_variant,desc_monitor.*}
        rollout_matching.eval_detection.{enabled,metrics,use_segm,strict_parse,iou_thrs,f1ish_iou_thrs,f1ish_pred_scope}
        rollout_matching.eval_detection.semantic_{model,threshold,device,batch_size}
        rollout_matching.eval_detection.{pred_score_source,pred_score_version,score_mode,constant_score}
    """,
    "artifacts": """
        rollout_matching.monitor_dump.{enabled,every_steps,dump_first_step,only_world_process_zero,max_events,max_samples}
        rollout_matching.monitor_dump.{max_text_chars,async_write,max_pending_writes,min_free_gb,out_dir,write_markdown}
        training.{logging_steps,logging_first_step}
    """,
    "rollout": """
        rollout_matching.{rollout_backend,decode_batch_size,decode_mode,max_new_tokens,num_beams,num_return_sequences}
        rollout_matching.repetition_penalty rollout_matching.decoding.{temperature,top_p,top_k} training.seed
        rollout_matching.offload.{enabled,offload_model,offload_optimizer}
        rollout_matching.vllm.{mode,tensor_parallel_size,max_model_len,gpu_memory_utilization,enable_lora,load_format}
        rollout_matching.vllm.{enable_prefix_caching,sleep_level,enforce_eager,disable_custom_all_reduce,max_num_seqs}
        rollout_matching.vllm.{max_num_batched_tokens,distributed_executor_backend,infer_batch_size}
        rollout_matching.vllm.{enable_chunked_prefill,disable_chunked_mm_input,kv_cache_dtype,cpu_offload_gb,swap_space}
        rollout_matching.vllm.{limit_mm_per_prompt,mm_encoder_tp_mode,skip_mm_profiling}
        rollout_matching.vllm.server.{timeout_s,infer_timeout_s,servers[].base_url,servers[].group_port}
        rollout_matching.vllm.server.debug_dump.{enabled,every_steps,dump_first_step,only_world_process_zero,max_events}
        rollout_matching.vllm.server.debug_dump.{max_samples,max_chars,async_write,max_pending_writes,min_free_gb,out_dir}
        rollout_matching.vllm.sync.{mode,fallback_to_full}
    """,
}

# Fields of the materialised config that no YAML key sets: the loader fills them, so no stage lists them.
_NOT_KEYS = {
    "custom.output_variant": "follows custom.use_summary",
    "prompts.system": "the loader's choice among the prompt tables",
    "prompts.user": "the loader's choice among the prompt tables",
    "prompts.output_variant": "follows custom.use_summary",
    "extra": "always empty: a top-level extra is refused",
    "quantization": "an empty section of upstream arguments",
    "rlhf": "an empty section of upstream arguments",
    "stage2_ab": "absent in Stage 1",
    "rollout_matching": "absent in Stage 1",
}


def _edited(text: str, *edits: tuple[str, str]) -> str:
    """The text with parts replaced; one that is not there is an error of this table."""
    for before, after in edits:
        if before not in text:
            raise ValueError(f"the map's keys have no {before!r}")
        text = text.replace(before, after)
    return text


def _latest() -> dict[str, dict[str, str]]:
    """The keys since 2026-03: the objective as modules, two views of each rollout, sizes of decoding by their use."""
    both, stage1, stage2 = dict(_BOTH), dict(_STAGE1), dict(_STAGE2)
    coordinates = "custom.coord_soft_ce_w1.enabled"
    both["data"] = _edited(both["data"], (",fusion_config", ""))
    both["trainer"] = _edited(both["trainer"], (coordinates, ""))
    both["artifacts"] = _edited(
        both["artifacts"], (",add_version", ""), ("save_safetensors}^", "save_safetensors,add_version}^")
    )
    stage1["trainer"] += f" {coordinates}"
    stage1["metrics"] = _edited(stage1["metrics"], ("token_type_metrics.{enabled,", "token_type_metrics.{"))
    # What lies deeper below `channel_b`, and the modules of the objective, are read by paths made at run time.
    stage2["trainer"] = """
        training.{vit_lr,aligner_lr,weight_decay}^ stage2_ab.schedule.b_ratio
        stage2_ab.channel_b.{insertion_order,invalid_rollout_policy} custom.{object_field_order,object_ordering}
        rollout_matching.{candidate_top_k,maskiou_gate,maskiou_resolution,fp_cost,fn_cost,ot_cost,ot_epsilon,ot_iters}
    """
    stage2["metrics"] = _edited(
        stage2["metrics"], ("{decode_batch_size,", "{eval_decode_batch_size,eval_rollout_backend,")
    )
    stage2["rollout"] = _edited(
        stage2["rollout"],
        *((",decode_batch_size", ",channel_b_decode_batch_size"), ("sleep_level,", ""), (",infer_batch_size", "")),
        ("rollout_matching.vllm.sync.{mode,fallback_to_full}", "rollout_matching.vllm.sync.mode"),
    )
    return {"": both, STAGE1: stage1, STAGE2: stage2}


def _entrypoints(stage1: str, stage2: str, launcher: str = "scripts/train_stage2.sh") -> tuple[dict[str, Any], ...]:
    return (
        {
            "id": STAGE1,
            "title": "Stage 1 (supervised fine-tuning)",
            "launcher": "scripts/train.sh",
            "config": stage1,
            "must_start": (("module", symbols.SFT[0]),),
        },
        {
            "id": STAGE2,
            "title": "Stage 2 AB (rollouts through a vLLM server)",
            "launcher": launcher,
            "config": stage2,
            "must_start": (("module", symbols.SFT[0]), ("command", "swift rollout")),
            "mark": "stage2",
        },
    )


# What a module of the pipeline may import at its top: what its environment has, by the names of the imports.
PACKAGES = (
    *("PIL", "accelerate", "albumentations", "av", "binpacking", "cv2", "datasets", "deepspeed", "flash_attn"),
    *("huggingface_hub", "lvis", "matplotlib", "modelscope", "msgspec", "numpy", "packaging", "pandas", "peft"),
    *("psutil", "pycocotools", "pydantic", "qwen_vl_utils", "regex", "requests", "safetensors", "scipy"),
    *("sentence_transformers", "sklearn", "swift", "tensorboard", "tiktoken", "tokenizers", "torch", "torchvision"),
    *("tqdm", "transformers", "trl", "typing_extensions", "vllm", "yaml"),
)

CONTRACT = {
    "pipeline_map.entrypoints": _entrypoints(eras.STAGE1, eras.STAGE2),
    "pipeline_map.stages": (
        {"id": "launch", "title": "Launch and config", "entrypoints": BOTH},
        {"id": "data", "title": "Dataset ingestion and validation", "entrypoints": BOTH},
        {"id": "template", "title": "Chat template and tokenization", "entrypoints": BOTH},
        {"id": "packing", "title": "Packing, collation and masks", "entrypoints": BOTH},
        {"id": "trainer", "title": "Trainer forward and loss", "entrypoints": BOTH},
        {"id": "metrics", "title": "Evaluation and metrics", "entrypoints": BOTH},
        {"id": "artifacts", "title": "Checkpoints and artifacts", "entrypoints": BOTH},
        {"id": "rollout", "title": "vLLM server-mode rollouts", "entrypoints": (STAGE2,)},
    ),
    "pipeline_map.keys": {"": _BOTH, STAGE1: _STAGE1, STAGE2: _STAGE2},
    "pipeline_map.not_keys": _NOT_KEYS,
    "pipeline_map.forwarders": tuple(symbols.BUILD_ARGUMENTS),
    "pipeline_map.sections": ("model", "quantization", "data", "template", "tuner", "training", "rlhf"),
    # what a run may pass through; studies of finished runs stand apart
    "pipeline_map.code": {"roots": ("src",), "leave_out": ("src/analysis",), "packages": PACKAGES},
    "pipeline_map.open": ("custom.extra.",),
}
_LATER1, _LATER2 = (eras.SUCCESSORS[c][0] for c in (eras.STAGE1, eras.STAGE2))
CHANGES = {
    "before 2026-02-11": {
        "pipeline_map.entrypoints": _entrypoints(eras.STAGE1, eras.STAGE2, "scripts/stage2_ab_server_train.sh")
    },
    "2026-02-24": {"pipeline_map.entrypoints": _entrypoints(eras.STAGE1, _LATER2)},
    "2026-03": {"pipeline_map.entrypoints": _entrypoints(_LATER1, _LATER2), "pipeline_map.keys": _latest()},
}
