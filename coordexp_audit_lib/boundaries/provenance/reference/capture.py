"""What a run stands on: packages, ms-swift's source, processor, graphics processors, environment.

Nothing heavy is imported to read a version. Whether a package would import is told without importing it where that is
enough (it is not there, or has no files); `probe=True` tries it in a process of its own with a time limit.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata, util
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.provenance.predicates.redaction import redact, redacted
from coordexp_audit_lib.kit.git import Source, source_of

# Import name -> distribution.
PACKAGES = {n: n for n in ("transformers", "torch", "vllm", "swift", "accelerate", "deepspeed", "flash_attn")}
PACKAGES |= {n: n for n in ("peft", "safetensors", "tokenizers", "trl")}
PACKAGES |= {"swift": "ms-swift", "flash_attn": "flash-attn"}

# Only these variables are ever read into a manifest: none of them holds a secret by its purpose.
ALLOWED_ENVIRONMENT = (
    *("ROOT_IMAGE_DIR", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
    *("NCCL_DEBUG", "NCCL_ALGO", "NCCL_PROTO", "PYTORCH_CUDA_ALLOC_CONF", "TOKENIZERS_PARALLELISM", "PYTHONHASHSEED"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "HF_HOME", "HF_HUB_OFFLINE", "TRANSFORMERS_CACHE", "TORCH_HOME"),
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID", "SLURM_NTASKS"),
    *("SLURM_NODELIST", "CONDA_DEFAULT_ENV", "MAX_PIXELS", "VIDEO_MAX_PIXELS", "ATTN_IMPL", "VLLM_USE_V1"),
)

_PROBE_SECONDS = 60.0
_SMI_SECONDS = 1.0


class Found(msgspec.Struct, frozen=True):
    """A package: version of its distribution, file of its root module, and why it can't be imported if it can't."""

    version: str | None = None
    file: str | None = None
    error: str | None = None


Lookup = Callable[[str, str], Found]


def installed(module: str, distribution: str) -> Found:
    """What is installed under an import name, found without importing it."""
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        version = None
    loaded = sys.modules.get(module)
    try:
        spec = getattr(loaded, "__spec__", None) or util.find_spec(module)
    except (ImportError, ValueError, AttributeError) as error:
        return Found(version, error=f"{type(error).__name__}: {error}")
    if spec is None:
        return Found(version, error=f"ModuleNotFoundError: No module named {module!r}")
    stated = getattr(loaded, "__version__", None) if version is None else version
    return Found(str(stated) if stated else None, spec.origin, None if stated else "no version is stated anywhere")


def probed(module: str, distribution: str, seconds: float = _PROBE_SECONDS) -> Found:
    """The same, and the import is tried in a process of its own."""
    found = installed(module, distribution)
    if found.error is not None or module in sys.modules:
        return found
    try:
        command = [sys.executable, "-c", f"import {module}"]
        ran = subprocess.run(command, capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return msgspec.structs.replace(found, error=f"the import was given up: {type(error).__name__}")
    if ran.returncode == 0:
        return found
    last = ran.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit status {ran.returncode}"]
    return msgspec.structs.replace(found, error=last[0][:300])


def upstream(lookup: Lookup = installed) -> dict[str, Any]:
    """Python, every package of `PACKAGES`, and where ms-swift's source comes from."""
    packages = {name: lookup(name, distribution) for name, distribution in PACKAGES.items()}
    made: dict[str, Any] = {"python": platform.python_version()}
    for name, found in packages.items():
        made[name] = {k: v for k, v in msgspec.to_builtins(found).items() if v is not None}
    made["ms_swift"] = told(swift_source(packages["swift"]))
    return made


def swift_source(swift: Found) -> Source:
    """The working tree that ms-swift runs from, or what it is instead."""
    if swift.file is None:
        return Source("", False, statement=f"not a git checkout: ms-swift is not there ({swift.error or 'no file'})")
    return source_of(Path(swift.file).resolve())


def told(source: Source) -> dict[str, Any]:
    """Where code comes from, as a manifest tells it: what is known, without the credentials of a remote's address."""
    kept = {k: v for k, v in source._asdict().items() if v is not None or k == "checkout"}
    return {k: redact(v) if k in ("branch", "remote") else v for k, v in kept.items()}


def environment(environ: Mapping[str, str], known: tuple[str, ...] = ()) -> dict[str, str]:
    """The allowed variables that are set, without secrets in their values."""
    kept = {name: environ[name] for name in ALLOWED_ENVIRONMENT if environ.get(name, "").strip()}
    made: dict[str, str] = redacted(kept, known)
    return made


def hardware() -> dict[str, Any]:
    """Processor, memory, and graphics processors with their driver; what can't be read is said, not left out."""
    cpu = next((v for k, v in _pairs(Path("/proc/cpuinfo")) if k == "model name"), None) or platform.machine()
    memory = next((v for k, v in _pairs(Path("/proc/meminfo")) if k == "MemTotal"), None)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"{platform.system()} {platform.release()}"
    return {"cpu": cpu, "cores": cores, "memory": memory or "not known", "system": system, "gpu": _graphics()}


def _pairs(path: Path) -> list[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")[:65536]
    except OSError:
        return []
    parts = (line.partition(":") for line in text.splitlines())
    return [(key.strip(), value.strip()) for key, colon, value in parts if colon]


def _graphics() -> dict[str, Any]:
    cards = [dict(_pairs(p)).get("Model") for p in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))]
    version = Path("/proc/driver/nvidia/version")
    if version.is_file():
        driver = version.read_text(encoding="utf-8", errors="replace").splitlines()[:1]
        return {"devices": [c for c in cards if c], "driver": driver[0] if driver else "not known"}
    program = shutil.which("nvidia-smi")
    if program is None:
        return {"devices": [], "driver": "none: no NVIDIA driver is loaded"}
    try:
        query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
        ran = subprocess.run(query, capture_output=True, timeout=_SMI_SECONDS, stdin=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return {"devices": [], "driver": f"not known: nvidia-smi gave no answer ({type(error).__name__})"}
    rows = [line.rpartition(",") for line in ran.stdout.decode("utf-8", "replace").splitlines() if line.strip()]
    return {"devices": [r[0].strip() for r in rows], "driver": rows[0][2].strip() if rows else "not known"}
