"""The template stage.

A skeleton: it takes its settings from the config, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


def get_template_prompts(config: Config) -> dict[str, Any]:
    """What decides how a record becomes messages, text and tokens."""
    custom = config["custom"]
    coord_tokens = custom["coord_tokens"]
    extra = custom["extra"]
    template = config["template"]
    return {
        "custom.coord_tokens.enabled": coord_tokens["enabled"],
        "custom.coord_tokens.skip_bbox_norm": coord_tokens["skip_bbox_norm"],
        "custom.emit_norm": custom["emit_norm"],
        "custom.extra.prompt_variant": extra["prompt_variant"],
        "custom.json_format": custom["json_format"],
        "custom.object_field_order": custom["object_field_order"],
        "custom.object_ordering": custom["object_ordering"],
        "custom.system_prompt_summary": custom["system_prompt_summary"],
        "custom.use_summary": custom["use_summary"],
        "custom.user_prompt": custom["user_prompt"],
        "template.system": template["system"],
    }
