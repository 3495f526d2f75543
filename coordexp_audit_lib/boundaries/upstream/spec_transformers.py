"""What CoordExp at b46e74f uses of transformers."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.upstream.spec import Call, Contract, Field, Part

OPTIMIZER = "src/optim/coord_offset_optimizer.py"
TRAINERS = "src/trainers/rollout_matching_sft.py, src/trainers/stage2_ab_training.py"
QWEN = "transformers.models.qwen3_vl.modeling_qwen3_vl"
HELPERS, MODEL, MATRIX = "upstream.trainer_helpers", "upstream.qwen3vl_surface", "upstream.versions_matrix"


def _trainer(name: str, call: Call) -> Part:
    return Part(f"transformers:Trainer.{name}", (f"transformers.trainer:Trainer.{name}",), call)


def _contract(id: str, invariant: str, title: str, used: str, *parts: Part) -> Contract:
    return Contract(id, "transformers", invariant, title, used, parts)


CONTRACTS = (
    _contract(
        "transformers.decay_names",
        HELPERS,
        "Trainer.get_decay_parameter_names",
        OPTIMIZER,
        _trainer("get_decay_parameter_names", Call(1, none_for_self=True)),
    ),
    _contract(
        "transformers.create_optimizer",
        HELPERS,
        "Trainer.create_optimizer",
        TRAINERS,
        _trainer("create_optimizer", Call()),
        Part("transformers:Trainer", ("transformers.trainer:Trainer",), members=("optimizer", "lr_scheduler", "args")),
    ),
    _contract(
        "transformers.optimizer_kwargs",
        HELPERS,
        "Trainer.get_optimizer_cls_and_kwargs",
        OPTIMIZER,
        _trainer("get_optimizer_cls_and_kwargs", Call(2, of_class=True, order=("args", "model"))),
        Part(
            "transformers:TrainingArguments",
            ("transformers.training_args:TrainingArguments",),
            fields=(
                Field("learning_rate", "float"),
                Field("weight_decay", "float"),
                Field("adam_beta1", "float"),
                Field("adam_beta2", "float"),
                Field("adam_epsilon", "float"),
                Field("optim", "str"),
                Field("optim_args", "str"),
            ),
            imported=False,
        ),
    ),
    _contract(
        "transformers.trainer_hooks",
        HELPERS,
        "Trainer methods that are overridden",
        TRAINERS,
        _trainer("compute_loss", Call(2, ("return_outputs", "num_items_in_batch"))),
        _trainer("training_step", Call(3)),
        _trainer("prediction_step", Call(2, ("prediction_loss_only", "ignore_keys"))),
        _trainer("get_train_dataloader", Call()),
        _trainer("log", Call(1)),
        _trainer("add_callback", Call(1)),
        _trainer("_save_checkpoint", Call(2)),
    ),
    _contract(
        "transformers.callbacks",
        HELPERS,
        "TrainerCallback, state and control",
        "src/callbacks/*.py",
        Part(
            "transformers:TrainerCallback",
            ("transformers.trainer_callback:TrainerCallback",),
            members=(
                "on_train_begin",
                "on_train_end",
                "on_epoch_begin",
                "on_epoch_end",
                "on_step_begin",
                "on_step_end",
                "on_substep_end",
                "on_evaluate",
                "on_save",
                "on_log",
            ),
        ),
        Part(
            "transformers:TrainerState",
            ("transformers.trainer_callback:TrainerState",),
            fields=(
                Field("global_step"),
                Field("epoch"),
                Field("best_metric"),
                Field("best_global_step"),
                Field("best_model_checkpoint"),
            ),
        ),
        Part(
            "transformers:TrainerControl",
            ("transformers.trainer_callback:TrainerControl",),
            fields=(Field("should_save"),),
        ),
        Part("transformers.trainer_utils:SaveStrategy", members=("NO", "STEPS", "EPOCH", "BEST")),
        Part("transformers.trainer_utils:PREFIX_CHECKPOINT_DIR"),
    ),
    _contract(
        "transformers.training_arguments",
        MATRIX,
        "TrainingArguments named in the anchored configs",
        "configs/base.yaml, src/config/loader.py",
        Part(
            "transformers:TrainingArguments",
            ("transformers.training_args:TrainingArguments",),
            fields=tuple(
                Field(n)
                for n in (
                    "bf16",
                    "dataloader_drop_last",
                    "dataloader_num_workers",
                    "dataloader_persistent_workers",
                    "dataloader_pin_memory",
                    "dataloader_prefetch_factor",
                    "deepspeed",
                    "do_eval",
                    "eval_steps",
                    "eval_strategy",
                    "gradient_accumulation_steps",
                    "gradient_checkpointing",
                    "greater_is_better",
                    "learning_rate",
                    "logging_dir",
                    "logging_first_step",
                    "logging_steps",
                    "lr_scheduler_kwargs",
                    "lr_scheduler_type",
                    "max_grad_norm",
                    "metric_for_best_model",
                    "num_train_epochs",
                    "output_dir",
                    "per_device_eval_batch_size",
                    "per_device_train_batch_size",
                    "report_to",
                    "run_name",
                    "save_only_model",
                    "save_safetensors",
                    "save_steps",
                    "save_strategy",
                    "save_total_limit",
                    "seed",
                    "warmup_ratio",
                    "weight_decay",
                )
            ),
            imported=False,
        ),
    ),
    _contract(
        "transformers.qwen3vl_forward",
        MODEL,
        "Qwen3VLForConditionalGeneration.forward",
        TRAINERS,
        Part(
            "transformers:Qwen3VLForConditionalGeneration.forward",
            (f"{QWEN}:Qwen3VLForConditionalGeneration.forward",),
            Call(
                0,
                (
                    "input_ids",
                    "attention_mask",
                    "position_ids",
                    "past_key_values",
                    "inputs_embeds",
                    "pixel_values",
                    "image_grid_thw",
                    "use_cache",
                    "cu_seq_lens_q",
                    "cu_seq_lens_k",
                    "max_length_q",
                    "max_length_k",
                ),
            ),
        ),
    ),
    _contract(
        "transformers.get_rope_index",
        MODEL,
        "Qwen3VLModel.get_rope_index",
        "ms-swift 3.10.3's qwen3_vl template",
        Part(
            f"{QWEN}:Qwen3VLModel.get_rope_index",
            (),
            Call(3, ("attention_mask",), order=("input_ids", "image_grid_thw", "video_grid_thw")),
        ),
        Part(f"{QWEN}:Qwen3VLForConditionalGeneration", members=("model",)),
    ),
    _contract(
        "transformers.four_rows",
        MODEL,
        "4-row position_ids",
        TRAINERS,
        Part(f"{QWEN}:Qwen3VLTextModel.forward", expressions=("position_ids.shape[0] == 4", "position_ids[0]")),
    ),
)
