"""What CoordExp's runs leave behind: packages and flags that are recorded, and what a field that differs can change."""

# The first pattern found in the field's path decides. What no pattern knows may change anything: `objective`.
RANKS = (
    # Names, places and times.
    ("nothing", r"[.:](created_at|run_name|output_dir|logging_dir|schema_version|config_path|base_config_path)$"),
    ("nothing", r"^run_metadata\.json:(config|base_config|run_manifest_files|files|command|git_branch)\b"),
    ("nothing", r"[.:](file|repo_root|path|branch|remote|base_url|host|port|COORDEXP_STAGE2_LAUNCHER)$"),
    ("nothing", r"\.(COORDEXP_STAGE2_SERVER_BASE_URL|MASTER_ADDR|MASTER_PORT|CONDA_\w+|HF_HOME|TRANSFORMERS_CACHE)$"),
    ("nothing", r"\.(TORCH_HOME|SLURM_JOB_ID|SLURM_NODELIST|NCCL_DEBUG|conda_env)$"),
    ("nothing", r"\.training\.(logging_\w+|report_to|save_\w+|hub_\w+|push_to_hub|disable_tqdm|log_level\w*)$"),
    ("nothing", r"\.(debug\.|timeout_s|infer_timeout_s|wait_\w+|infer_dump\w*)"),
    # Where and how fast.
    ("speed", r"\.(OMP_NUM_THREADS|MKL_NUM_THREADS|TOKENIZERS_PARALLELISM|CUDA_VISIBLE_DEVICES|CUDA_DEVICE_ORDER)$"),
    ("speed", r"\.(RANK|LOCAL_RANK|SLURM_\w+|PYTORCH_CUDA_ALLOC_CONF|server_gpus|COORDEXP_STAGE2_\w+_GPUS)$"),
    ("speed", r"(dataloader_num_workers|dataloader_p\w+|gradient_checkpointing|preprocessing_num_\w+|\.cores$)"),
    ("speed", r"(hardware\.memory|data_parallel|SERVER_DP$|(?i:memory_utili[sz]ation)|enable_prefix_caching)"),
    ("speed", r"(decode_batch_size|max_num_seqs|sleep_level|offload)"),
    # The same objective in other arithmetic.
    ("numerics", r"(dtype|DTYPE|\.bf16|\.fp16|\.tf32|attn_impl|attn_implementation|ATTN_IMPL|use_liger|deepspeed)"),
    ("numerics", r"(tensor_parallel|SERVER_TP$|enforce_eager|\.eager$|ENFORCE_EAGER$|hardware\.|VLLM_USE_V1)"),
    ("numerics", r"upstream\.(python|torch|vllm|flash_attn|deepspeed|accelerate|safetensors)\b"),
    ("numerics", r"\.(PYTHONHASHSEED|CUBLAS_WORKSPACE_CONFIG|NVIDIA_TF32_OVERRIDE|NCCL_ALGO|NCCL_PROTO|WORLD_SIZE)$"),
    ("numerics", r"\.training\.(per_device_\w+_batch_size|gradient_accumulation_steps|full_determinism)$"),
    # transformers and ms-swift own loss, template and collation, so their versions stay with the objective.
)

CONTRACT = {
    "provenance.packages": ("transformers", "torch", "vllm", "swift"),
    "provenance.server": {
        # Our name of each flag -> its names at the launcher (`swift rollout`), without dashes.
        "names": {
            "dtype": ("torch_dtype", "vllm_dtype"),
            "data_parallel": ("vllm_data_parallel_size", "data_parallel_size", "dp"),
            "tensor_parallel": ("vllm_tensor_parallel_size", "tensor_parallel_size", "tp"),
            "max_model_len": ("vllm_max_model_len",),
            "eager": ("vllm_enforce_eager", "enforce_eager"),
            "memory_utilisation": ("vllm_gpu_memory_utilization", "gpu_memory_utilization", "memory_utilization"),
        },
        "prefix": "coordexp_stage2_server_",  # of the variables that tell them to the training process
        # Key, the value that means a server, and what it is if not set.
        "mode": (("rollout_matching.rollout_backend", "vllm", "vllm"), ("rollout_matching.vllm.mode", "server", "")),
    },
    # Keys of a config in which a check sets something.
    "provenance.keys": {
        "servers": "rollout_matching.vllm.server.servers",
        "token": "training.hub_token",
        "name": "training.run_name",
        "rate": "training.learning_rate",
        "section": "custom",
    },
    "provenance.caches": {
        "names": ("packing plan",),
        # What the cached depends on -> changes of the config that must change the key (one is enough); a change that
        # the tree refuses to load says nothing. tokens: with these the tokenizer gets a token more, too.
        "depends": {
            "tokenizer": ({"model.model": "audit/another-checkpoint"},),
            "chat template": ({"template.template": "qwen2_5_vl"},),
            "budget of pixels": ({"template.max_pixels": 401408},),
            "longest sequence": ({"global_max_length": 7000},),
            "rule of truncation": ({"template.truncation_strategy": "left"},),
            "user prompt": ({"custom.user_prompt": "Audited: name every object."},),
            "order of an object's fields": (
                {"custom.object_field_order": "desc_first"},
                {"custom.object_field_order": "geometry_first"},
            ),
            "dataset": ({"custom.train_jsonl": "public_data/audited/train.coord.jsonl"},),
        },
        "tokens": ("tokenizer",),
        "nothing": {"training.learning_rate": 1.25e-5},
    },
    "provenance.save_only_model": "training.save_only_model",
    "provenance.resumed": "training.resume_from_checkpoint",
    "provenance.ranks": RANKS,
}

CACHES = {**CONTRACT["provenance.caches"], "names": ("packing plan", "encoded samples")}  # type: ignore[dict-item]
CHANGES = {"2026-03": {"provenance.caches": CACHES}}
