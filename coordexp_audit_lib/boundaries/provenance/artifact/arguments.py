"""What other trainers leave of a run's arguments: ms-swift's `args.json`, transformers' `training_args.bin`, PEFT's
`adapter_config.json`, a model's `config.json`, and the YAML that TRL and LLaMA-Factory are started with."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from coordexp_audit_lib.boundaries.provenance.artifact import pickled, reading, sources
from coordexp_audit_lib.boundaries.provenance.artifact.reading import Document, Unreadable

# By file name, who writes it. Looked for in the folder itself, then in the last checkpoint.
WRITERS = {
    "args.json": "ms-swift's arguments",
    "training_args.bin": "transformers' training arguments",
    "adapter_config.json": "PEFT's adapter config",
    "config.json": "the model's config",
}
YAML = "arguments.yaml"
MAX_YAML = 20
MAX_YAML_BYTES = 1 << 20
# A YAML with two of these is what a run was started with.
_KEYS = frozenset(
    {"learning_rate", "per_device_train_batch_size", "num_train_epochs", "gradient_accumulation_steps", "output_dir"}
    | {"model_name_or_path", "dataset_name", "dataset", "stage", "finetuning_type", "max_steps", "lr_scheduler_type"}
    | {"train_type", "rlhf_type", "model", "seed", "bf16"}
)
_SHOWN = re.compile(r"^\w+\(\n")  # how a dataclass of arguments prints itself, an attribute a line
_ATTRIBUTE = re.compile(r"^\s*(\w+)=(.*?),?$")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def read(root: Path) -> dict[str, Document]:
    """The documents of arguments that a run's folder holds, by name: a mapping each, or what is wrong with it."""
    found = {}
    for name in WRITERS:
        for folder in ("", *(f"{c}/" for c in reversed(reading.checkpoints(root)[-1:]))):
            document = _read(root, f"{folder}{name}")
            if not document.missing:
                found[name] = document
                break
    return {**found, **_yaml(root)}


def _read(root: Path, relative: str) -> Document:
    if not relative.endswith(pickled.BIN):
        made = reading.document(root, relative)
        return made if made.value is None else Document(_unfolded(made.value), made.defects)
    try:
        raw = reading.inside(root, relative)
        if raw is None:
            return Document(missing=True)
        return Document(pickled.settings_of(io.BytesIO(raw)))
    except (Unreadable, ValueError) as error:
        return Document(defects=[str(error)])


def _unfolded(value: dict[str, Any]) -> dict[str, Any]:
    """Arguments within arguments, which ms-swift writes as the text of an object, as a mapping."""
    return {key: _shown(below) if isinstance(below, str) else below for key, below in value.items()}


def _shown(text: str) -> Any:
    if not _SHOWN.match(text):
        return _ADDRESS.sub("", text)
    matches = filter(None, map(_ATTRIBUTE.match, text.splitlines()[1:]))
    return {m[1]: _ADDRESS.sub("", m[2]) for m in matches}


def _yaml(root: Path) -> dict[str, Document]:
    """Those at the top of the folder: under `YAML` where there is one, so that it is compared whatever it is called."""
    found = dict(_argument_files(root))
    return {YAML: next(iter(found.values()))} if len(found) == 1 else found


def _argument_files(root: Path) -> Iterator[tuple[str, Document]]:
    names = sorted(p.name for p in root.iterdir() if p.suffix in (".yaml", ".yml"))
    for name in names[:MAX_YAML]:
        try:
            raw = reading.inside(root, name, MAX_YAML_BYTES)
            value = sources.mapping(raw or b"", name)
        except (Unreadable, yaml.YAMLError):  # it is no YAML of arguments
            continue
        if len(_KEYS & value.keys()) > 1:
            yield name, Document(value)
