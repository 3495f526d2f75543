"""The pipeline object that the engine sees: marks, configs, names by era, contract and citations of CoordExp."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.pipeline import Pipeline, register
from coordexp_audit_lib.pipelines.coordexp import citations, citing, contract, eras
from coordexp_audit_lib.source.tree import Tree

HERE = Path(__file__).resolve().parent


class CoordExp(Pipeline):
    """A CoordExp checkout of any era."""

    name, title, repository = "coordexp", "CoordExp", citing.REPOSITORY
    variable = "COORDEXP_PYTHON"
    configs = (eras.STAGE1, eras.STAGE2)
    answers = HERE / "answers"
    recordings = HERE / "recordings"
    reference = HERE / "reference_tree"
    distributions = (
        *("accelerate", "datasets", "deepspeed", "flash-attn", "ms-swift", "numpy", "peft", "pillow", "tokenizers"),
        *("torch", "transformers", "trl", "vllm"),
    )

    def __init__(self) -> None:
        self._citations = citations.collect()

    def owns(self, root: Path) -> bool:
        return (root / eras.MARK).is_file()

    def wanted(self) -> str:
        return f"{eras.MARK} (the root of a CoordExp checkout)"

    def era(self, root: Path) -> str:
        return eras.era(Tree(root))

    def config_in(self, root: Path, config: str) -> str:
        return eras.config_in(Tree(root), config)

    def contract(self, era: str = "") -> Mapping[str, Any]:
        return contract.of_era(era)

    def citations(self) -> Mapping[str, tuple[Citation, ...]]:
        return self._citations


COORDEXP = register(CoordExp())
