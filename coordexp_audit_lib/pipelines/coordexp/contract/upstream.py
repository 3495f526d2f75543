"""What CoordExp uses of its upstream packages, the releases that it was written for, and where its launchers lie."""

from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parents[1]

CONTRACT = {
    "upstream.contracts": yaml.load(
        (FOLDER / "upstream_contracts.yaml").read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    ),
    "upstream.pinned": {"transformers": "4.57.6", "ms-swift": "3.10.3", "vllm": "0.11.0"},
    "upstream.verdicts": FOLDER / "upstream_verdicts.json",  # written by `artifact.matrix.write_packaged`
    "upstream.launchers": ("scripts", "src/launchers"),
}
