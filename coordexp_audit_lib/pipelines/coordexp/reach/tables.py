"""What the engine of `source.reach` has to be told about CoordExp: where runs begin, which names hold the config, and
the conditions that no call graph sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from coordexp_audit_lib.kit.nested import get
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.source.reach import Switch

MAIN = symbols.MAIN
CONFIGS, VARIANT = "configs", "custom.trainer_variant"
SCHEMAS = (symbols.SCHEMA.path, symbols.ROLLOUT_SCHEMA.path)
# The launchers that start a run, and the key that a config must set for each ("" for none).
LAUNCHERS = {"scripts/train.sh": "", "scripts/train_stage2.sh": VARIANT}
# Programs that read configs of their own.
OTHER_PROGRAMS = ("scripts/run_infer.py", "scripts/evaluate_detection.py", "scripts/postop_confidence.py")

SWITCHES = {
    "trainer_variant": Switch(VARIANT),
    "fusion_config": Switch("custom.fusion_config"),
    "rlhf_type": Switch("rlhf.rlhf_type"),
}
HOLDERS = {
    **{"training_config": "", "custom_config": "custom", "debug_config": "debug"},
    **{"coord_offset_config": "custom.coord_offset", "coord_soft_ce_w1_cfg": "custom.coord_soft_ce_w1"},
    **{"token_type_metrics_cfg": "custom.token_type_metrics", "stage2_ab_cfg": "stage2_ab"},
}


def _names(words: str) -> frozenset[str]:
    return frozenset(f"_{w}" for w in words.split())


# Private methods that trainers, datasets and modules of these packages call on themselves (transformers 4.57, ms-swift
# 3.10).
HOOKS = {
    "transformers": _names(
        "activate_neftune deactivate_neftune determine_best_metric evaluate get_collator_with_removed_columns"
        " get_dataloader get_eval_sampler get_num_items_in_batch get_output_dir get_train_sampler hp_search_setup"
        " inner_training_loop issue_warnings_after_load load_best_model load_callback_state load_from_checkpoint"
        " load_optimizer_and_scheduler load_rng_state load_scaler maybe_log_save_evaluate move_model_to_device"
        " nested_gather pad_tensors_to_max_len prepare_context_parallel_inputs prepare_input prepare_inputs"
        " push_from_checkpoint remove_unused_columns report_to_hp_search rotate_checkpoints save save_checkpoint"
        " save_optimizer_and_scheduler save_rng_state save_scaler save_tpu set_signature_columns_if_needed"
        " sorted_checkpoints tune_save_checkpoint wrap_model gather_and_numpify align_special_tokens"
        " fsdp_qlora_plugin_updates finish_current_push is_attention_mask_causal new_epoch new_step new_training"
    ),
    "swift": _names(
        "apply_chat_template_to_messages_list collect_config_info compute_acc evalscope_eval fix_grad_norm_nan"
        " fix_gradient_checkpointing fix_zero3_gather_all_parameters get_last_checkpoint_step get_random_num"
        " get_train_sampler load_optimizer_and_scheduler load_rng_state maybe_log_save_evaluate"
        " patch_deepspeed_load_checkpoint patch_loss_function patch_predict_with_generate patch_skip_first_batches"
        " patch_tasks patch_timeout predict_data_collator prepare_batch_inputs prepare_gradient_checkpointing"
        " prepare_inputs prepare_liger_loss prepare_logging preprocess_generative_reranker_logits"
        " rotate_flash_checkpoints save save_checkpoint save_converted_model save_flash_checkpoint"
        " save_initial_model save_model"
        # of transformers' trainer, which ms-swift's are
        " inner_training_loop get_eval_sampler prepare_input load_from_checkpoint load_best_model save_scaler"
        " wrap_model get_dataloader set_signature_columns_if_needed remove_unused_columns rotate_checkpoints evaluate"
        " save_optimizer_and_scheduler save_rng_state determine_best_metric nested_gather get_num_items_in_batch"
    ),
    "torch": _names(
        "apply call_impl get_name load_from_state_dict save_to_state_dict named_members replicate_for_data_parallel"
        " register_state_dict_hook register_load_state_dict_pre_hook slow_forward wrapped_call_impl"
    ),
}

Config = Mapping[str, Any]


class Setting(msgspec.Struct, frozen=True):
    """A place or claim that counts only under a value of the config.

    local: a variable of the training program that must be more than None for it, whatever the config says.
    """

    path: str
    needs: Callable[[Any], bool]
    because: str
    local: str = ""

    def holds(self, config: Config) -> tuple[bool, str]:
        value = get(config, self.path)
        said = f"{self.path} is {value!r}" if value is not None else f"{self.path} is not set"
        return (True, said) if self.needs(value) else (False, f"{self.because}: {said}")


class Feeder(msgspec.Struct, frozen=True):
    """A claim whose violation comes about through some functions only: it counts where one of them runs.

    A tree that has none of them is not covered, for it was read at the commits that have them.
    """

    symbols: tuple[str, ...]
    because: str


class Called(msgspec.Struct, frozen=True):
    """A violation that only some calls of a function show: those with these arguments. Its place may be code that other
    calls run too."""

    symbols: tuple[str, ...]
    given: dict[str, Any] = {}


class AnyOf(msgspec.Struct, frozen=True):
    """Settings of which one is enough."""

    settings: tuple[Setting, ...]

    def holds(self, config: Config) -> tuple[bool, str]:
        told = [s.holds(config) for s in self.settings]
        good = next((said for holds, said in told if holds), None)
        return (True, good) if good is not None else (False, "; ".join(said for _, said in told))


class AllOf(msgspec.Struct, frozen=True):
    """Settings that are needed together."""

    settings: tuple[Setting, ...]

    def holds(self, config: Config) -> tuple[bool, str]:
        told = [s.holds(config) for s in self.settings]
        bad = next((said for holds, said in told if not holds), None)
        return (False, bad) if bad is not None else (True, "; ".join(said for _, said in told))


class Refused(msgspec.Struct, frozen=True):
    """A function that runs only under a setting which another function refuses before: `if x.setting: raise`."""

    by: tuple[str, ...]
    setting: str


Condition = Setting | AnyOf | AllOf | Feeder | Refused
# Claims about what the Stage-2 trainer makes of a rollout.
OF_ROLLOUTS = (
    *("append_tokenization", "closure", "fn_injected", "fp_neutral", "invalid_rollout_fallback", "match_deterministic"),
    *("matched_struct_only", "multiplier_scope", "prefix_kept", "rollout_seed", "token_roles_partition"),
)
AUGMENTING = Setting("custom.augmentation.enabled", bool, "augmentation is off", local="augmenter")
WINDOW_PACKS = Feeder(
    symbols.WINDOW_PACKS,
    "only there a value is fed on some micro-steps and not on others; where packs are trained, each carries it",
)
EXPLORER = "stage2_ab.channel_b.triage_posterior"  # its rollouts are sampled beside greedy ones
SAMPLED = AnyOf(
    (
        Setting("rollout_matching.decoding.temperature", bool, "decoding is greedy, and no seed counts"),
        Setting(f"{EXPLORER}.explorer_temperature", bool, "nothing is sampled beside it"),
    )
)
OF_STAGE2 = Setting(VARIANT, lambda v: str(v or "").startswith("stage2"), "it is about Stage-2 leaves")
ROLLS_OUT = Setting("rollout_matching.rollout_backend", bool, "no rollout is made")
BY_SERVER = Setting("rollout_matching.rollout_backend", lambda v: v == "vllm", "rollouts are not made by vLLM")
B_RATIO = "stage2_ab.schedule.b_ratio"  # where it is not set, the trainer has no two channels
TRAINS_A = Setting(B_RATIO, lambda v: v is None or v < 1, "Channel-A never trains")
TRAINS_B = Setting(B_RATIO, lambda v: v is None or v > 0, "Channel-B never trains")


def _spot(candidate: str) -> str:
    module, _, name = candidate.partition(":")
    return f"{module.replace('.', '/')}.py:{name}"


def _prompted(ordering: str, order: str, variant: str, rolls_out: Setting = ROLLS_OUT) -> AllOf:
    """A rollout under these settings of the prompt."""
    values = {
        "custom.object_ordering": (ordering, "sorted"),
        "custom.object_field_order": (order, "desc_first"),
        "custom.extra.prompt_variant": (variant, "default"),
    }

    def setting(path: str) -> Setting:
        wanted, missing = values[path]
        return Setting(path, lambda v: (v or missing) == wanted, "the config has another prompt")

    return AllOf((rolls_out, *map(setting, values)))


STRICTLY, LENIENTLY = (Called(symbols.PARSE_COORDJSON, {"mode": mode}) for mode in ("strict", "salvage"))
# By the beginning of a claim's id and words of a violation's subject; the first that fits counts.
CALLS: dict[tuple[str, str], Called] = {
    ("coordjson.strict_rejects", ""): STRICTLY,
    ("coordjson.agrees_with_reference", "in strict mode"): STRICTLY,
    ("coordjson.agrees_with_reference", "in salvage mode"): LENIENTLY,
    ("coordjson.salvage_", ""): LENIENTLY,
    ("coordjson.spans_exact", ""): LENIENTLY,
    ("coordjson.linear_time", "coordjson.growth"): LENIENTLY,
    ("coordjson.linear_time", "coordjson.rollout_growth"): Called(symbols.PARSE_ROLLOUT),
    **{(f"supervision.{name}", ""): Called(symbols.PREPARE_B | symbols.STAGE2_LOSS) for name in OF_ROLLOUTS},
}
CLAIMS: dict[str, Setting | AnyOf | Feeder] = {
    "config.length_coherent": ROLLS_OUT,
    "config.profile_one_hop": OF_STAGE2,
    "config.profile_explicit": OF_STAGE2,
    "metrics.identity_not_averaged": WINDOW_PACKS,
    "metrics.no_dilution": WINDOW_PACKS,
    "geometry.augment_identity": AUGMENTING,
    "metrics.only_when_executed": TRAINS_A,
    "metrics.reasons_add_up": TRAINS_B,
    "rollout.seeds_nonzero": SAMPLED,
    **{f"supervision.{name}": TRAINS_B for name in OF_ROLLOUTS},
    "supervision.rollout_seed": SAMPLED,
    "supervision.multiplier_scope": Setting(
        "stage2_ab.channel_b.drop_invalid_struct_ce_multiplier", lambda v: v not in (None, 1, 1.0), "it weighs nothing"
    ),
}
# By claim and words of a violation's subject.
SUBJECTS: dict[tuple[str, str], Setting | AnyOf | AllOf] = {
    ("packing.loss_equivalent", "Channel-A"): TRAINS_A,
    ("packing.loss_equivalent", "Channel-B"): TRAINS_B,
    **{
        ("template.prompt_is_prefix", f"{ordering}/{order}/{variant}, vllm"): _prompted(
            ordering, order, variant, BY_SERVER
        )
        for ordering in ("sorted", "random")
        for order in ("desc_first", "geometry_first")
        for variant in ("default", "coco_80", "lvis_stage1_federated")
    },
    **{
        ("template.prompt_is_prefix", f"{ordering}/{order}/{variant},"): _prompted(ordering, order, variant)
        for ordering in ("sorted", "random")
        for order in ("desc_first", "geometry_first")
        for variant in ("default", "coco_80", "lvis_stage1_federated")
    },
    ("config.preflight_contract", "begins with a dot"): AnyOf(
        tuple(
            Setting(f"custom.{split}_jsonl", lambda v: str(v or "").startswith("."), "no path begins with a dot")
            for split in ("train", "val")
        )
    ),
    ("config.deterministic", "custom.user_prompt"): Setting(
        "custom.user_prompt", lambda v: isinstance(v, str), "no prompt is taken from a file"
    ),
    ("pipeline_map.keys_are_read", "stage2/"): OF_STAGE2,
    ("metrics.required_keys", "b_ratio_realized"): Setting(
        "stage2_ab.schedule.b_ratio", lambda v: v in (0, 1), "a run of both channels logs it"
    ),
}
CONTINUATION = "custom.stage1_set_continuation"
JOINS_ROWS = Setting(
    f"{CONTINUATION}.train_forward.branch_runtime.mode", lambda v: v == "padding_free_packed", "no rows are joined"
)
CHOOSES_SOME = Setting(
    f"{CONTINUATION}.candidates.mode", lambda v: v == "uniform_subsample", "all candidates are scored"
)
READS_TAUGHT_BOXES = AnyOf(
    (
        Setting("custom.bbox_geo.enabled", bool, "no loss reads the boxes of the taught text"),
        Setting("custom.bbox_size_aux.enabled", bool, "nor their sizes"),
        Setting("custom.coord_soft_ce_w1.adjacent_repulsion_weight", bool, "nor their neighbours"),
    )
)
OFFICIAL_LVIS = AnyOf(
    tuple(
        Setting(f"{section}.eval_detection.metrics", lambda v: v in ("lvis", "both"), "no LVIS metric is asked for")
        for section in ("custom", "rollout_matching")
    )
)
RESTARTABLE = Setting("training.checkpoint_mode", lambda v: v == "restartable", "no checkpoint keeps its state")
CACHES_SAMPLES = Setting("training.encoded_sample_cache.enabled", bool, "no encoded samples are cached")
# By the beginning of `path:symbol`; the symbol is the last part of a dotted one.
PLACES: dict[str, Setting | AnyOf | Refused] = {
    f"{symbols.AUGMENTATION_STAGE.path}:": AUGMENTING,
    f"{symbols.AUGMENTATION.folder.rpartition('/')[0]}/": AUGMENTING,
    f"{symbols.OPTIMIZER.path}:{symbols.OPTIMIZER_WIRING.member}": Setting(
        "training.optimizer", lambda v: v == "multimodal_coord_offset", "another optimizer is chosen"
    ),
    **{_spot(candidate): RESTARTABLE for name in symbols.CHECKPOINT_STATE for candidate in name},
    f"{symbols.FULL_SUFFIX.path}:{symbols.JOIN_SUFFIXES.member}": JOINS_ROWS,
    f"{symbols.SUBSET_SAMPLING.path}:{symbols.CHOOSE_CANDIDATES.member}": CHOOSES_SOME,
    f"{symbols.SFT.path}:{symbols.SAMPLES_FINGERPRINT.member}": CACHES_SAMPLES,
    f"{symbols.TF_STAGE1.path}:{symbols.TAUGHT_BOXES.member}": READS_TAUGHT_BOXES,
    f"{symbols.DETECTION.path}:{symbols.LVIS_EVAL.member}": OFFICIAL_LVIS,
    f"{symbols.PACKED_CAPTION.path}:{symbols.STREAM_PACKER.member}": Refused(
        symbols.STATIC_PACKING_POLICY, "eval_packing"
    ),
}
# Sections that are switched off as a whole: nothing in them is read, whatever their keys are called.
SECTIONS = {"custom.augmentation": AUGMENTING}
# Programs that write what a config names: the data was made by them.
WRITERS = {symbols.CONVERTER.path: ("custom.train_jsonl", ".coord.jsonl")}
