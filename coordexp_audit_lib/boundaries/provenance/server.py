"""The rollout server's flags: six that change what it samples, under the names that launchers give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Our name -> names at the launcher (`swift rollout`), without dashes.
NAMES: dict[str, tuple[str, ...]] = {
    "dtype": ("torch_dtype", "vllm_dtype"),
    "data_parallel": ("vllm_data_parallel_size", "data_parallel_size", "dp"),
    "tensor_parallel": ("vllm_tensor_parallel_size", "tensor_parallel_size", "tp"),
    "max_model_len": ("vllm_max_model_len",),
    "eager": ("vllm_enforce_eager", "enforce_eager"),
    "memory_utilisation": ("vllm_gpu_memory_utilization", "gpu_memory_utilization", "memory_utilization"),
}
PREFIX = "coordexp_stage2_server_"
_BY_NAME = {alias: name for name, aliases in NAMES.items() for alias in (name, *aliases)}


def canonical(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Flags under our names; those that are none of the six keep their own."""
    made = {}
    for name, value in flags.items():
        bare = name.lower().lstrip("-").replace("-", "_").removeprefix(PREFIX)
        made[_BY_NAME.get(bare, name)] = value
    return made


def is_server_mode(resolved: Any) -> bool:
    """Whether a resolved config rolls out on a vLLM server."""
    rollout = resolved.get("rollout_matching") if isinstance(resolved, Mapping) else None
    if not isinstance(rollout, Mapping) or rollout.get("rollout_backend", "vllm") != "vllm":
        return False
    vllm = rollout.get("vllm")
    return isinstance(vllm, Mapping) and vllm.get("mode") == "server"
