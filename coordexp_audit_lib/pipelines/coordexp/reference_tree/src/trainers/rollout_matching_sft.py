"""Rollouts, their evaluation and their dumps.

A skeleton: it takes its settings from the config, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


class RolloutMatchingSFTTrainer:
    """Trains on its own rollouts."""

    def evaluate(self, config: Config) -> dict[str, Any]:
        """What decides how rollouts are decoded and scored in evaluation."""
        custom = config["custom"]
        extra = custom["extra"]
        rollout_matching = config["rollout_matching"]
        eval_detection = rollout_matching["eval_detection"]
        return {
            "custom.extra.prompt_variant": extra["prompt_variant"],
            "custom.token_type_metrics": custom["token_type_metrics"],
            "rollout_matching.decode_batch_size": rollout_matching["decode_batch_size"],
            "rollout_matching.desc_monitor": rollout_matching["desc_monitor"],
            "rollout_matching.eval_detection.constant_score": eval_detection["constant_score"],
            "rollout_matching.eval_detection.enabled": eval_detection["enabled"],
            "rollout_matching.eval_detection.f1ish_iou_thrs": eval_detection["f1ish_iou_thrs"],
            "rollout_matching.eval_detection.f1ish_pred_scope": eval_detection["f1ish_pred_scope"],
            "rollout_matching.eval_detection.iou_thrs": eval_detection["iou_thrs"],
            "rollout_matching.eval_detection.metrics": eval_detection["metrics"],
            "rollout_matching.eval_detection.pred_score_source": eval_detection["pred_score_source"],
            "rollout_matching.eval_detection.pred_score_version": eval_detection["pred_score_version"],
            "rollout_matching.eval_detection.score_mode": eval_detection["score_mode"],
            "rollout_matching.eval_detection.semantic_batch_size": eval_detection["semantic_batch_size"],
            "rollout_matching.eval_detection.semantic_device": eval_detection["semantic_device"],
            "rollout_matching.eval_detection.semantic_model": eval_detection["semantic_model"],
            "rollout_matching.eval_detection.semantic_threshold": eval_detection["semantic_threshold"],
            "rollout_matching.eval_detection.strict_parse": eval_detection["strict_parse"],
            "rollout_matching.eval_detection.use_segm": eval_detection["use_segm"],
            "rollout_matching.eval_prompt_variant": rollout_matching["eval_prompt_variant"],
        }

    def _write_monitor_dump(self, config: Config) -> dict[str, Any]:
        """What decides which rollouts are written down, and how."""
        rollout_matching = config["rollout_matching"]
        monitor_dump = rollout_matching["monitor_dump"]
        training = config["training"]
        return {
            "rollout_matching.monitor_dump.async_write": monitor_dump["async_write"],
            "rollout_matching.monitor_dump.dump_first_step": monitor_dump["dump_first_step"],
            "rollout_matching.monitor_dump.enabled": monitor_dump["enabled"],
            "rollout_matching.monitor_dump.every_steps": monitor_dump["every_steps"],
            "rollout_matching.monitor_dump.max_events": monitor_dump["max_events"],
            "rollout_matching.monitor_dump.max_pending_writes": monitor_dump["max_pending_writes"],
            "rollout_matching.monitor_dump.max_samples": monitor_dump["max_samples"],
            "rollout_matching.monitor_dump.max_text_chars": monitor_dump["max_text_chars"],
            "rollout_matching.monitor_dump.min_free_gb": monitor_dump["min_free_gb"],
            "rollout_matching.monitor_dump.only_world_process_zero": monitor_dump["only_world_process_zero"],
            "rollout_matching.monitor_dump.out_dir": monitor_dump["out_dir"],
            "rollout_matching.monitor_dump.write_markdown": monitor_dump["write_markdown"],
            "training.logging_first_step": training["logging_first_step"],
            "training.logging_steps": training["logging_steps"],
        }

    def _rollout_many_vllm_server(self, config: Config) -> dict[str, Any]:
        """What decides how rollouts are asked for, and of which server."""
        rollout_matching = config["rollout_matching"]
        decoding = rollout_matching["decoding"]
        offload = rollout_matching["offload"]
        vllm = rollout_matching["vllm"]
        server = vllm["server"]
        debug_dump = server["debug_dump"]
        sync = vllm["sync"]
        training = config["training"]
        return {
            "rollout_matching.decode_batch_size": rollout_matching["decode_batch_size"],
            "rollout_matching.decode_mode": rollout_matching["decode_mode"],
            "rollout_matching.decoding.temperature": decoding["temperature"],
            "rollout_matching.decoding.top_k": decoding["top_k"],
            "rollout_matching.decoding.top_p": decoding["top_p"],
            "rollout_matching.max_new_tokens": rollout_matching["max_new_tokens"],
            "rollout_matching.num_beams": rollout_matching["num_beams"],
            "rollout_matching.num_return_sequences": rollout_matching["num_return_sequences"],
            "rollout_matching.offload.enabled": offload["enabled"],
            "rollout_matching.offload.offload_model": offload["offload_model"],
            "rollout_matching.offload.offload_optimizer": offload["offload_optimizer"],
            "rollout_matching.repetition_penalty": rollout_matching["repetition_penalty"],
            "rollout_matching.rollout_backend": rollout_matching["rollout_backend"],
            "rollout_matching.vllm.cpu_offload_gb": vllm["cpu_offload_gb"],
            "rollout_matching.vllm.disable_chunked_mm_input": vllm["disable_chunked_mm_input"],
            "rollout_matching.vllm.disable_custom_all_reduce": vllm["disable_custom_all_reduce"],
            "rollout_matching.vllm.distributed_executor_backend": vllm["distributed_executor_backend"],
            "rollout_matching.vllm.enable_chunked_prefill": vllm["enable_chunked_prefill"],
            "rollout_matching.vllm.enable_lora": vllm["enable_lora"],
            "rollout_matching.vllm.enable_prefix_caching": vllm["enable_prefix_caching"],
            "rollout_matching.vllm.enforce_eager": vllm["enforce_eager"],
            "rollout_matching.vllm.gpu_memory_utilization": vllm["gpu_memory_utilization"],
            "rollout_matching.vllm.infer_batch_size": vllm["infer_batch_size"],
            "rollout_matching.vllm.kv_cache_dtype": vllm["kv_cache_dtype"],
            "rollout_matching.vllm.limit_mm_per_prompt": vllm["limit_mm_per_prompt"],
            "rollout_matching.vllm.load_format": vllm["load_format"],
            "rollout_matching.vllm.max_model_len": vllm["max_model_len"],
            "rollout_matching.vllm.max_num_batched_tokens": vllm["max_num_batched_tokens"],
            "rollout_matching.vllm.max_num_seqs": vllm["max_num_seqs"],
            "rollout_matching.vllm.mm_encoder_tp_mode": vllm["mm_encoder_tp_mode"],
            "rollout_matching.vllm.mode": vllm["mode"],
            "rollout_matching.vllm.server.debug_dump.async_write": debug_dump["async_write"],
            "rollout_matching.vllm.server.debug_dump.dump_first_step": debug_dump["dump_first_step"],
            "rollout_matching.vllm.server.debug_dump.enabled": debug_dump["enabled"],
            "rollout_matching.vllm.server.debug_dump.every_steps": debug_dump["every_steps"],
            "rollout_matching.vllm.server.debug_dump.max_chars": debug_dump["max_chars"],
            "rollout_matching.vllm.server.debug_dump.max_events": debug_dump["max_events"],
            "rollout_matching.vllm.server.debug_dump.max_pending_writes": debug_dump["max_pending_writes"],
            "rollout_matching.vllm.server.debug_dump.max_samples": debug_dump["max_samples"],
            "rollout_matching.vllm.server.debug_dump.min_free_gb": debug_dump["min_free_gb"],
            "rollout_matching.vllm.server.debug_dump.only_world_process_zero": debug_dump["only_world_process_zero"],
            "rollout_matching.vllm.server.debug_dump.out_dir": debug_dump["out_dir"],
            "rollout_matching.vllm.server.infer_timeout_s": server["infer_timeout_s"],
            "rollout_matching.vllm.server.servers[].base_url": [entry["base_url"] for entry in server["servers"]],
            "rollout_matching.vllm.server.servers[].group_port": [entry["group_port"] for entry in server["servers"]],
            "rollout_matching.vllm.server.timeout_s": server["timeout_s"],
            "rollout_matching.vllm.skip_mm_profiling": vllm["skip_mm_profiling"],
            "rollout_matching.vllm.sleep_level": vllm["sleep_level"],
            "rollout_matching.vllm.swap_space": vllm["swap_space"],
            "rollout_matching.vllm.sync.fallback_to_full": sync["fallback_to_full"],
            "rollout_matching.vllm.sync.mode": sync["mode"],
            "rollout_matching.vllm.tensor_parallel_size": vllm["tensor_parallel_size"],
            "training.seed": training["seed"],
        }
