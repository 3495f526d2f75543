"""Compare two manifests field by field, and rank each difference by the most that it can change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

Rank = Literal["objective", "numerics", "speed", "nothing"]
RANKS: tuple[Rank, ...] = ("objective", "numerics", "speed", "nothing")
_MISSING = "(not recorded)"
_PER_ITEM = 64  # a longer list is compared as one value


class Difference(msgspec.Struct, frozen=True):
    """One field that differs. before, after: the values, or `(not recorded)`."""

    field: str
    rank: Rank
    before: Any
    after: Any


# The first pattern found in the field's path decides. What no pattern knows may change anything: `objective`.
_RULES: tuple[tuple[Rank, str], ...] = (
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
_COMPILED = tuple((rank, re.compile(pattern)) for rank, pattern in _RULES)


def rank_of(field: str) -> Rank:
    """The most that a field can change."""
    return next((rank for rank, pattern in _COMPILED if pattern.search(field)), "objective")


def flat(documents: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of a manifest by `document:dotted.path`."""
    return {f"{name}:{path}": value for name, tree in documents.items() for path, value in _leaves(tree, "")}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _leaves(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and 0 < len(value) <= _PER_ITEM and any(isinstance(v, (dict, list)) for v in value):
        for number, below in enumerate(value):
            yield from _leaves(below, f"{path}[{number}]")
    else:
        yield path, value


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """The differing fields of two manifests, what can change most first, then by name."""
    a, b = flat(before), flat(after)
    found = [
        Difference(field, rank_of(field), a.get(field, _MISSING), b.get(field, _MISSING))
        for field in a.keys() | b.keys()
        if field not in a or field not in b or not _equal(a[field], b[field])
    ]
    return sorted(found, key=lambda d: (RANKS.index(d.rank), d.field))


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


def counts(found: list[Difference]) -> dict[str, int]:
    """How many differences there are of each rank."""
    return {rank: sum(d.rank == rank for d in found) for rank in RANKS}
