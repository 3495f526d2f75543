"""Loads a config: YAML files with their bases, then the defaults of the sections that it has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Config = Mapping[str, Any]
ALWAYS = ("custom", "debug", "deepspeed", "template")  # sections whose defaults hold even where no file names them
SECTIONS = ("model", "quantization", "data", "template", "tuner", "training", "rlhf")
OURS = (
    *("effective_batch_size", "packing", "packing_buffer", "packing_min_fill_ratio", "packing_drop_last"),
    *("eval_packing", "save_delay_steps", "save_last_epoch"),
)


class ConfigLoader:
    """Every method is static: a config is a plain mapping."""

    @staticmethod
    def load_yaml(path: str) -> dict[str, Any]:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}

    @staticmethod
    def load_yaml_with_extends(path: str) -> dict[str, Any]:
        """A file laid over the file that it extends."""
        config = ConfigLoader.load_yaml(path)
        base = config.pop("extends", None)
        if base is None:
            return config
        return merged(ConfigLoader.load_yaml_with_extends(str(Path(path).parent / base)), config)

    @staticmethod
    def load_materialized_training_config(path: str) -> dict[str, Any]:
        """The merged config laid over the defaults of the sections that it has."""
        config = ConfigLoader.load_yaml_with_extends(path)
        defaults = ConfigLoader.load_yaml(str(Path(__file__).with_name("defaults.yaml")))
        present = {k: v for k, v in defaults.items() if k in ALWAYS or k in config}
        return merged(present, config)

    @staticmethod
    def build_train_arguments(config: Config) -> dict[str, Any]:
        """The sections that upstream takes, as one flat mapping without the keys that are ours."""
        flat: dict[str, Any] = {}
        for section in SECTIONS:
            flat.update(config.get(section) or {})
        for key in OURS:
            flat.pop(key, None)
        return {**flat, "max_model_len": config["global_max_length"]}


def merged(base: Config, over: Config) -> dict[str, Any]:
    """`over` laid on `base`, mappings into each other, everything else replaced."""
    both = dict(base)
    for key, value in over.items():
        old = both.get(key)
        both[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both
