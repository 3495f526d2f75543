"""What CoordExp at b46e74f uses of ms-swift's training pipeline, and of vLLM (directly, or through ms-swift 3.10.3)."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.upstream.spec import Call, Contract, Field, Part

HELPERS, MATRIX = "upstream.trainer_helpers", "upstream.versions_matrix"
CLIENT = "upstream.client_surface"
OPTIMIZER, ENTRY = "src/optim/coord_offset_optimizer.py", "src/sft.py"
OWN_FIELDS = (
    "add_version",
    "aligner_lr",
    "attn_impl",
    "dataset",
    "dataset_num_proc",
    "freeze_aligner",
    "freeze_llm",
    "freeze_vit",
    "lora_alpha",
    "lora_bias",
    "lora_dropout",
    "lora_rank",
    "max_length",
    "max_pixels",
    "model",
    "modules_to_save",
    "optimizer",
    "target_modules",
    "target_regex",
    "template",
    "torch_dtype",
    "train_type",
    "truncation_strategy",
    "use_dora",
    "use_swift_lora",
    "val_dataset",
    "vit_lr",
)


def _swift(id: str, invariant: str, title: str, used: str, *parts: Part) -> Contract:
    return Contract(id, "ms-swift", invariant, title, used, parts)


def _vllm(id: str, title: str, used: str, *parts: Part) -> Contract:
    return Contract(id, "vllm", CLIENT, title, used, parts)


SWIFT = (
    _swift(
        "swift.optimizers",
        HELPERS,
        "optimizers_map and the multimodal optimizer",
        OPTIMIZER,
        Part("swift.plugin:optimizers_map", ("swift.optimizers:optimizers_map", "swift:optimizers_map")),
        Part("swift.plugin.optimizer:create_multimodal_optimizer", (), Call(3)),
        Part(
            "swift.plugin.optimizer:get_param_startswith",
            ("swift.optimizers.multimodal:get_param_startswith",),
            Call(3, order=("model", "chosen_prefix", "rejected_prefix")),
        ),
        Part(
            "swift.trainers.mixin:SwiftMixin.create_optimizer_and_scheduler",
            imported=False,
            expressions=("optimizer_callback(self.args, self.model, self.train_dataset)",),
        ),
    ),
    _swift(
        "swift.trainer",
        MATRIX,
        "Seq2SeqTrainer: constructor",
        ENTRY,
        Part(
            "swift.trainers:Seq2SeqTrainer",
            (),
            Call(0, ("model", "args", "data_collator", "train_dataset", "eval_dataset", "callbacks", "template")),
        ),
        Part("swift.trainers:TrainerFactory.get_trainer_cls", (), Call(1, of_class=True)),
    ),
    _swift(
        "swift.trainer_hooks",
        HELPERS,
        "methods of SwiftMixin that are overridden",
        "src/trainers/*.py, src/trainers/metrics/mixins.py",
        Part("swift.trainers.mixin:SwiftMixin._compute_acc", (), Call(2), imported=False),
        # CoordExp's `log` takes logs alone, as ms-swift calls it; transformers' own call gives start_time as well.
        Part(
            "swift.trainers.mixin:SwiftMixin._maybe_log_save_evaluate",
            (),
            expressions=("self.log(logs)",),
            imported=False,
        ),
    ),
    _swift(
        "swift.pipeline",
        MATRIX,
        "SwiftSft, SwiftRLHF",
        ENTRY,
        Part(
            "swift.llm.train.sft:SwiftSft",
            ("swift.pipelines.train.sft:SwiftSft",),
            Call(1),
            members=("model", "template", "_get_data_collator", "_get_trainer_kwargs"),
        ),
        Part("swift.llm.train.rlhf:SwiftRLHF", ("swift.pipelines.train.rlhf:SwiftRLHF",), Call(1)),
        Part(
            "swift.llm.train.sft:SwiftSft.prepare_model",
            ("swift.pipelines.train.sft:SwiftSft.prepare_model",),
            Call(2, ("template", "train_dataset")),
            imported=False,
        ),
    ),
    _swift(
        "swift.train_arguments",
        MATRIX,
        "TrainArguments named in the anchored configs",
        "src/config/loader.py",
        Part(
            "swift.llm.argument:TrainArguments",
            ("swift.arguments:SftArguments",),
            fields=tuple(map(Field, OWN_FIELDS)),
            members=("training_args",),
        ),
        Part(
            "swift.llm.argument:RLHFArguments",
            ("swift.arguments:RLHFArguments",),
            fields=(Field("rlhf_type", "Literal['gkd']"), Field("beta", "float")),
        ),
    ),
    _swift(
        "swift.functions",
        MATRIX,
        "to_device, get_dist_setting, get_logger, …",
        "src/**",
        Part("swift.llm:to_device", ("swift.utils:to_device",), Call(2)),
        Part("swift.utils:get_dist_setting", (), Call()),
        Part("swift.utils:get_logger", (), Call()),
        Part("swift.utils:unwrap_model_for_generation", (), Call(2, ("gather_deepspeed3_params",))),
        Part("swift.trainers.rlhf_trainer.gkd_trainer:GKDTrainer", ("swift.rlhf_trainers.gkd_trainer:GKDTrainer",)),
    ),
)

VLLM = (
    _vllm(
        "vllm.llm",
        "LLM",
        "src/infer/engine.py",
        Part(
            "vllm:LLM",
            (),
            Call(
                0,
                (
                    "model",
                    "trust_remote_code",
                    "allowed_local_media_path",
                    "seed",
                    "tensor_parallel_size",
                    "gpu_memory_utilization",
                    "max_model_len",
                ),
            ),
        ),
        Part("vllm:LLM.chat", (), Call(1, ("sampling_params", "use_tqdm")), imported=False),
    ),
    _vllm(
        "vllm.sampling_params",
        "SamplingParams",
        "src/infer/engine.py",
        Part("vllm:SamplingParams", (), Call(0, ("temperature", "top_p", "max_tokens", "repetition_penalty", "seed"))),
    ),
    _vllm(
        "vllm.engine",
        "LLMEngine: sleep, add_lora, reset_prefix_cache",
        "src/trainers/rollout_matching_sft.py",
        *(
            Part(f"vllm:LLMEngine.{name}", (f"vllm.v1.engine.llm_engine:LLMEngine.{name}",), call, imported=False)
            for name, call in (("sleep", Call(1)), ("add_lora", Call(1)), ("reset_prefix_cache", Call()))
        ),
    ),
    _vllm(
        "vllm.weight_sync",
        "PyNccl group behind VLLMClient",
        "through ms-swift 3.10.3",
        Part(
            "vllm.distributed.device_communicators.pynccl:PyNcclCommunicator",
            (),
            Call(1, ("device",)),
            members=("broadcast", "rank", "group"),
        ),
        Part(
            "vllm.distributed.utils:StatelessProcessGroup.create",
            (),
            Call(0, ("host", "port", "rank", "world_size"), of_class=True),
        ),
        Part("vllm.utils:get_open_port", ("vllm.utils.network_utils:get_open_port",), Call()),
        Part("vllm.lora.models:LoRAModel"),
    ),
)

CONTRACTS = (*SWIFT, *VLLM)
