"""What an argument of a trainer can change, by its name: transformers' training arguments and what ms-swift, TRL,
LLaMA-Factory and PEFT add to them. What no rule knows may change anything."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.provenance.predicates.drift import Rules


def _any(*names: str) -> str:
    """A pattern of paths in which one of the names is a step; `*` stands for the rest of a name."""
    return rf"(^|[.:])({'|'.join(n.replace('*', '[^.:]*') for n in names)})($|[.\[])"


RANKS: Rules = (
    # Names, places and times; what is written and when.
    ("nothing", _any("output_dir", "logging_*", "run_name", "add_version", "report_to", "project", "trackio_*")),
    ("nothing", _any("save_*", "hub_*", "push_to_hub*", "use_hf", "disable_tqdm", "log_*", "plot_loss")),
    (
        "nothing",
        _any("overwrite_*", "cache_dir", "swanlab_*", "wandb_*", "ray_*", "ddp_timeout", "create_checkpoint_*"),
    ),
    ("nothing", _any("vllm_server_*", "num_completions_to_print", "log_completions")),
    ("nothing", _any("_name_or_path", "inference_mode", "auto_mapping", "local_rank", "rank", "local_process_index")),
    ("nothing", _any("include_tokens_*", "include_num_*", "skip_memory_*", "debug", "_n_gpu", "time", "timestamp")),
    # Where and how fast.
    ("speed", _any("dataloader_num_workers", "dataloader_p*", "dataset_num_proc", "preprocessing_num_workers")),
    ("speed", _any("*gradient_checkpointing*", "lazy_tokenize", "load_from_cache_file", "torch_empty_cache_steps")),
    ("speed", _any("vllm_gpu_memory_*", "vllm_max_num_*", "vllm_enable_prefix_*", "sleep_level", "offload_*")),
    ("speed", _any("disable_gradient_checkpointing", "move_model_batches", "async_generate")),
    # The same objective in other arithmetic, or another evaluation of it.
    ("numerics", _any("*dtype", "bf16*", "fp16*", "half_precision_backend", "tf32", "attn_*", "_attn_*", "flash_attn")),
    ("numerics", _any("deepspeed*", "hf_deepspeed_config", "fsdp*", "zero_hpz*", "use_liger_*", "torch_compile*")),
    ("numerics", _any("per_device_*", "per_gpu_*", "gradient_accumulation_steps", "full_determinism", "*world_size")),
    ("numerics", _any("vllm_tensor_*", "vllm_data_*", "vllm_enforce_*", "tensor_parallel_*", "pipeline_parallel_*")),
    ("numerics", _any("ddp_*", "accelerator_config", "n_gpu", "device", "peft_version", "parallel_mode")),
    ("numerics", _any("eval_*", "do_eval", "eval_strategy", "evaluation_strategy", "predict_with_generate")),
)
