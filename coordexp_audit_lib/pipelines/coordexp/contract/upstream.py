"""What CoordExp uses of its upstream packages, the releases that it was written for, and where its launchers lie."""

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[1]


def _written(name: str) -> Any:
    return yaml.load((FOLDER / name).read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


CONTRACT = {
    "upstream.contracts": _written("upstream_contracts.yaml"),
    "upstream.release_contracts": _written("upstream_release_contracts.yaml"),  # of releases alone
    "upstream.pinned": {"transformers": "4.57.6", "ms-swift": "3.10.3", "vllm": "0.11.0"},
    "upstream.verdicts": FOLDER / "upstream_verdicts.json",  # written by `artifact.matrix.write_packaged`
    "upstream.launchers": ("scripts", "src/launchers"),
}
