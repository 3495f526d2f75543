"""What the Stage-2 launcher asks before it starts a server.

A skeleton: it takes its settings from the config, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


def build_stage2_launcher_preflight(config: Config) -> dict[str, Any]:
    """The server's model and limits, the dataset files and the endpoint."""
    custom = config["custom"]
    model = config["model"]
    rollout_matching = config["rollout_matching"]
    vllm = rollout_matching["vllm"]
    server = vllm["server"]
    template = config["template"]
    return {
        "custom.train_jsonl": custom["train_jsonl"],
        "custom.val_jsonl": custom["val_jsonl"],
        "model.torch_dtype": model["torch_dtype"],
        "rollout_matching.rollout_backend": rollout_matching["rollout_backend"],
        "rollout_matching.vllm.enable_lora": vllm["enable_lora"],
        "rollout_matching.vllm.gpu_memory_utilization": vllm["gpu_memory_utilization"],
        "rollout_matching.vllm.max_model_len": vllm["max_model_len"],
        "rollout_matching.vllm.mode": vllm["mode"],
        "rollout_matching.vllm.server.servers[].base_url": [entry["base_url"] for entry in server["servers"]],
        "template.max_pixels": template["max_pixels"],
    }
