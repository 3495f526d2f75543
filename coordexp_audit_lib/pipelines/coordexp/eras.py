"""How CoordExp's names move: which era a tree belongs to, and what became of a config."""

from __future__ import annotations

from pathlib import Path

from coordexp_audit_lib.core.errors import SurfaceUnbound, UsageError
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.source.tree import Tree

MARK = symbols.SFT.path
STAGE1 = "configs/stage1/ablation/geometry_first_coco80.yaml"
STAGE2 = "configs/stage2_ab/prod/ab_mixed.yaml"

# An anchored config, then the names under which its like stands at other commits: later ones, then earlier ones, the
# nearest first.
SUCCESSORS = {
    STAGE1: (
        "configs/stage1/profiles/4b/coord_soft_ce_gate_coco80_geometry_first.yaml",
        *("configs/dlora/sft_stage1_softce_w1.yaml", "configs/dlora/sft_coord_loss.yaml"),
    ),
    STAGE2: (
        "configs/stage2_two_channel/prod/ab_mixed.yaml",
        *("configs/stage2_ab/ab_mixed.yaml", "configs/dlora/stage2_rollout_matching_ckpt3106.yaml"),
        "configs/rollout_matching_sft_template.yaml",
    ),
}

# Newest first: the first era whose every file or folder stands in the tree is the tree's. The era of 2026-03-08 marks
# targets of accepted objects, that of 2026-03-11 a second view of each rollout, that of 2026-03-21 the end of soft
# self-context, that of 2026-04-18 answers of bare numbers.
ERAS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("2026-05", (symbols.SET_CONTINUATION.folder,)),
    ("2026-04-18", (symbols.CHECKPOINTS.path,)),
    ("2026-03-21", (symbols.ROLLOUT_DISPATCH.path,)),
    ("2026-03", ("configs/stage2_two_channel", "configs/stage1/profiles")),
    ("2026-03-11", (symbols.DEAD_ANCHORS.path,)),
    ("2026-03-08", (symbols.DUPLICATES.path,)),
    ("2026-02-24", (symbols.TWO_CHANNEL.path,)),
    ("2026-02", (symbols.PARSING.path, symbols.TRANSPILER.path)),
    ("2026-02-11", (symbols.PARSING.path,)),
)
OLDEST = "before 2026-02-11"


def era(tree: Tree) -> str:
    """The era of a tree, by the files that it holds."""
    for name, marks in ERAS:
        if all((tree.root / mark).exists() for mark in marks):
            return name
    return OLDEST


def config_in(tree: Tree, config: str) -> str:
    """The name under which `config` stands in the tree, relative to its root.

    Raises:
        SurfaceUnbound: an anchored config that this tree does not hold under any known name.
        UsageError: any other config that the tree does not hold.
    """
    given = Path(config).expanduser()
    inside = given.is_absolute() and given.resolve().is_relative_to(tree.root)
    wanted = given.resolve().relative_to(tree.root).as_posix() if inside else given.as_posix()
    names: tuple[str, ...] = (wanted, *SUCCESSORS.get(wanted, ()))
    for name in names:
        full = (tree.root / name).resolve()
        if full.is_relative_to(tree.root) and full.is_file():
            return name
    if wanted in SUCCESSORS:
        raise SurfaceUnbound(f"the config is not in this tree (tried: {', '.join(names)})", where=config)
    raise UsageError("the tree has no such config", where=config, remedy="give a path relative to the checkout")
