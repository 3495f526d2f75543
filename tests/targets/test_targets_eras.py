"""Which era a tree belongs to, and under which name a config stands in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordexp_audit_lib.core.errors import SurfaceUnbound, UsageError
from coordexp_audit_lib.pipelines.coordexp import contract, eras
from coordexp_audit_lib.pipelines.coordexp.reach.configs import unloadable
from coordexp_audit_lib.source.tree import Tree

SUCCESSOR1 = "configs/stage1/profiles/4b/coord_soft_ce_gate_coco80_geometry_first.yaml"
MODULES = "src/trainers/teacher_forcing/modules"
SUCCESSOR2 = "configs/stage2_two_channel/prod/ab_mixed.yaml"


def tree_of(root: Path, *files: str) -> Tree:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    return Tree(root)


@pytest.mark.parametrize(
    ("files", "era"),
    [
        ((), "before 2026-02-11"),
        (("src/trainers/rollout_matching/parsing.py",), "2026-02-11"),
        (("src/trainers/rollout_matching/parsing.py", "src/utils/coordjson_transpiler.py"), "2026-02"),
        (("src/trainers/rollout_matching/parsing.py", "src/trainers/stage2_two_channel.py"), "2026-02-24"),
        (("src/trainers/stage2_two_channel.py", SUCCESSOR2), "2026-02-24"),
        (("src/trainers/stage2_two_channel.py", SUCCESSOR2, SUCCESSOR1), "2026-03"),
        ((f"{MODULES}/duplicate_ul.py", "src/trainers/stage2_two_channel.py"), "2026-03-08"),
        ((f"{MODULES}/loss_dead_anchor_suppression.py", "src/trainers/stage2_two_channel.py"), "2026-03-11"),
        (("src/trainers/rollout_runtime/dispatch.py", SUCCESSOR2, SUCCESSOR1), "2026-03-21"),
        (("src/infer/checkpoints.py", "src/trainers/rollout_runtime/dispatch.py", SUCCESSOR1), "2026-04-18"),
        (("src/trainers/stage1_set_continuation/__init__.py", SUCCESSOR2, SUCCESSOR1), "2026-05"),
    ],
)
def test_era(files: tuple[str, ...], era: str, tmp_path: Path) -> None:
    assert eras.era(tree_of(tmp_path, *files)) == era


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("supervision.prefix", ("2026-02-24", "2026-03-08", "2026-05"), ("rollout", "clean", "clean")),
        ("supervision.iterations", ("2026-03-11", "2026-03-21", "2026-05"), (3, 1, 1)),
        ("rollout.capped", (eras.OLDEST, "2026-02-11", "2026-02"), (False, False, True)),
        ("template.variants", (eras.OLDEST, "2026-02"), (("default",), ("default", "coco_80"))),
    ],
)
def test_what_is_promised_holds_on_until_it_changes(name: str, at: tuple[str, ...], value: tuple[object, ...]) -> None:
    """Later eras inherit what came before them, earlier ones what held up to a later one."""
    assert tuple(contract.of_era(era)[name] for era in at) == value


@pytest.mark.parametrize(
    ("files", "asked", "found"),
    [
        ((eras.STAGE1,), eras.STAGE1, eras.STAGE1),
        ((SUCCESSOR1,), eras.STAGE1, SUCCESSOR1),
        ((SUCCESSOR2,), eras.STAGE2, SUCCESSOR2),
        ((eras.STAGE2, SUCCESSOR2), eras.STAGE2, eras.STAGE2),
        (("configs/mine.yaml",), "configs/mine.yaml", "configs/mine.yaml"),
        (("configs/mine.yaml",), "./configs/mine.yaml", "configs/mine.yaml"),
    ],
)
def test_config_in(files: tuple[str, ...], asked: str, found: str, tmp_path: Path) -> None:
    assert eras.config_in(tree_of(tmp_path, *files), asked) == found


def test_a_full_path_inside_the_tree_is_made_relative(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, eras.STAGE2)
    assert eras.config_in(tree, str(tmp_path / eras.STAGE2)) == eras.STAGE2


def test_an_anchored_config_that_is_nowhere_is_unbound(tmp_path: Path) -> None:
    with pytest.raises(SurfaceUnbound, match=f"tried: {eras.STAGE2}, {SUCCESSOR2}"):
        eras.config_in(tree_of(tmp_path), eras.STAGE2)


@pytest.mark.parametrize("config", ["configs/other.yaml", "../outside.yaml", "/etc/passwd", "configs", ""])
def test_any_other_config_is_a_usage_error(config: str, tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text("")
    with pytest.raises(UsageError, match="the tree has no such config"):
        eras.config_in(tree_of(tmp_path / "tree", eras.STAGE1), config)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.yaml": "x: [1"}, "a.yaml is no YAML"),
        ({"a.yaml": "- 1"}, "a.yaml holds no mapping"),
        ({"a.yaml": "extends: b.yaml"}, "b.yaml, which a.yaml extends, is not there"),
        ({"a.yaml": "extends: b.yaml", "b.yaml": "{"}, "b.yaml, which a.yaml extends, is no YAML"),
        ({"a.yaml": "extends: [b.yaml]", "b.yaml": "extends: a.yaml"}, "a.yaml extends itself"),
        ({"a.yaml": "extends: 5"}, "neither a path nor a list"),
        ({"a.yaml": "extends: b.yaml", "b.yaml": "k: 1"}, ""),
        ({"a.yaml": ""}, ""),
    ],
)
def test_a_config_that_no_loader_could_read_is_told(files: dict[str, str], says: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    why = unloadable(Tree(tmp_path), "a.yaml")
    assert says in why and bool(says) == bool(why)
