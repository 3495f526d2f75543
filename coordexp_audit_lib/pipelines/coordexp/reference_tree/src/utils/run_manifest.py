"""What a run leaves behind.

A skeleton: it takes its settings from the config, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


def write_run_manifest_files(config: Config) -> dict[str, Any]:
    """What decides where a run writes, and what it keeps."""
    custom = config["custom"]
    debug = config["debug"]
    training = config["training"]
    return {
        "custom.dump_conversation_path": custom["dump_conversation_path"],
        "custom.dump_conversation_text": custom["dump_conversation_text"],
        "debug.output_dir": debug["output_dir"],
        "training.add_version": training["add_version"],
        "training.greater_is_better": training["greater_is_better"],
        "training.logging_dir": training["logging_dir"],
        "training.metric_for_best_model": training["metric_for_best_model"],
        "training.output_dir": training["output_dir"],
        "training.run_name": training["run_name"],
        "training.save_last_epoch": training["save_last_epoch"],
        "training.save_strategy": training["save_strategy"],
        "training.save_total_limit": training["save_total_limit"],
    }
