"""What CoordExp promises at the template boundary: model family, vocabulary, prompts and their pins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from coordexp_audit_lib.kit.tokenizer import COORD_0, COORD_BINS

# Prompt tokens of the fixed sample by setting, as traces (`kit.prompt_trace`).
_PINS = json.loads((Path(__file__).resolve().parents[1] / "prompt_pins.json").read_text(encoding="utf-8"))

CONTRACT: dict[str, Any] = {
    # A wildcard token stands before the thousand coordinate tokens.
    "template.profile": f"qwen3_vl,first_coordinate={COORD_0},coordinates={COORD_BINS}",
    "template.base_rows": 151_936,  # embedding rows of the published checkpoint: more than its tokenizer has ids
    "template.orderings": ("sorted", "random"),
    "template.field_orders": ("desc_first", "geometry_first"),
    "template.variants": ("default", "coco_80"),
    "template.backends": ("hf", "vllm"),
    "template.prompt_pins": _PINS["coordexp"],  # measured at the reference commit
    "template.reference_prompt_pins": _PINS["reference"],
}
# What the prompts are is the pipeline's to say: pinned anew where an era has others, measured at its own commit.
# In between, prompts changed with the commits: nothing is pinned. Before 2026-02-18 an object's fields had one order,
# and the prompt one variant.
PINS = "template.prompt_pins"
CHANGES = {
    "2026-02-11": {PINS: {}, "template.field_orders": ("desc_first",), "template.variants": ("default",)},
    "2026-02-24": {PINS: {}},
    "2026-05": {PINS: _PINS["coordexp 2026-05"]},
}
