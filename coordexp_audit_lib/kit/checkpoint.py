"""What a checkpoint's folder holds, as `provenance.save` is told. Standard library only."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def held(folder: str) -> dict[str, Any]:
    """Its files, the tensors of each safetensors file, and the index; nothing of a folder that is not there."""
    if not os.path.isdir(folder):
        return {"files": [], "tensors": {}}
    names = sorted(os.listdir(folder))
    tensors = {n: header(os.path.join(folder, n)) for n in names if n.endswith(".safetensors")}
    index = Path(folder, "model.safetensors.index.json")
    made = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else None
    return {"files": names, "tensors": tensors, "index": made}


def header(path: str) -> dict[str, int]:
    """Tensor names and sizes in bytes of a safetensors file."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(size))
    return {k: v["data_offsets"][1] - v["data_offsets"][0] for k, v in entries.items() if k != "__metadata__"}
