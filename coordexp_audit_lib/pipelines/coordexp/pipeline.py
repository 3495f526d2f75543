"""The pipeline object that the engine sees: marks, configs, names by era, contract and citations of CoordExp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.errors import SurfaceUnbound, UsageError
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Reached
from coordexp_audit_lib.core.pipeline import Named, Pipeline, register
from coordexp_audit_lib.pipelines.coordexp import citations, citing, contract, eras, places
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
    preload = "coordexp_audit_lib.pipelines.coordexp.harness.preload:parts"
    distributions = (
        *("accelerate", "albumentations", "av", "binpacking", "dashscope", "datasets", "deepspeed", "flash-attn"),
        *("matplotlib", "modelscope", "ms-swift", "msgspec", "numpy", "opencv-python", "packaging", "peft", "pillow"),
        *("pycocotools", "pydantic", "pyyaml", "qwen_vl_utils", "requests", "safetensors", "scipy", "tiktoken"),
        *("tokenizers", "torch", "torchvision", "tqdm", "transformers", "trl", "vllm"),
    )

    def owns(self, root: Path) -> bool:
        return (root / eras.MARK).is_file()

    def wanted(self) -> str:
        return f"{eras.MARK} (the root of a CoordExp checkout)"

    def era(self, root: Path) -> str:
        return eras.era(Tree(root))

    def config_in(self, root: Path, config: str) -> str:
        return eras.config_in(Tree(root), config)

    def role(self, config: str) -> str:
        return next((first for first, later in eras.SUCCESSORS.items() if config in (first, *later)), "")

    def unloadable(self, tree: Tree, config: str) -> str:
        from coordexp_audit_lib.pipelines.coordexp.reach.configs import unloadable

        return unloadable(tree, config)

    def contract(self, era: str = "") -> Mapping[str, Any]:
        return contract.of_era(era)

    def reach(
        self, tree: Tree, configs: Sequence[str], config: str, *, claim: str, where: Where | None, subject: str
    ) -> Reached:
        # Reading what a tree reaches takes a tenth of a second to import; of an artifact nothing is reached.
        from coordexp_audit_lib.pipelines.coordexp.reach import audited

        def there(name: str) -> str:
            try:
                return eras.config_in(tree, name)
            except (SurfaceUnbound, UsageError):
                return ""

        named = {there(c): c for c in ((*configs, config) if config else configs)}
        named.pop("", None)
        told = audited(tree, tuple(named)).reach(there(config) if config else "", claim, where, subject)
        return told._replace(configs=tuple(named[c] for c in told.configs))

    def places(self, era: str = "") -> Mapping[str, tuple[Named, ...]]:
        return places.PLACES

    def untraced(self) -> frozenset[str]:
        return places.UNTRACED

    def citations(self, era: str = "") -> Mapping[str, tuple[Citation, ...]]:
        return citations.collect(era)

    def beyond(self, era: str = "") -> Mapping[str, tuple[tuple[str, str], ...]]:
        return citations.beyond(era)

    def permitted(self, era: str = "") -> Mapping[str, str]:
        return citations.permitted(era)


COORDEXP = register(CoordExp())
