"""A model family's numbers stand in `kit/profile.py`, once; other modules take them from there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from coordexp_audit_lib.kit import picture, profile, tokenizer
from coordexp_audit_lib.kit.profile import QWEN3_VL

PACKAGE = Path(profile.__file__).parents[1]
NUMBERS = {*range(profile.IM_START, tokenizer.COORD_0 + 1), profile.IGNORE_INDEX}
MODULES = [m for m in PACKAGE.rglob("*.py") if not any(p.startswith("reference_") for p in m.parts)]


def numbers(module: Path) -> set[int]:
    """Token ids and ignored labels that a module spells out."""
    nodes = [*ast.walk(ast.parse(module.read_text(encoding="utf-8")))]
    plain = {n.value for n in nodes if isinstance(n, ast.Constant) and type(n.value) is int}
    signed = [n.operand for n in nodes if isinstance(n, ast.UnaryOp) and isinstance(n.op, ast.USub)]
    return NUMBERS & (plain | {-n.value for n in signed if isinstance(n, ast.Constant) and type(n.value) is int})


def test_ids_and_the_ignored_label_stand_once() -> None:
    spelt = {m.relative_to(PACKAGE).as_posix() for m in MODULES if numbers(m)}
    assert spelt == {"kit/profile.py"}


def test_the_vocabulary_agrees_with_the_profile() -> None:
    special = {t: tokenizer.RANKS + i for i, t in enumerate((*tokenizer.CONTROL, *tokenizer.PLAIN))}
    special |= {t: tokenizer.RANKS + len(special) + i for i, t in enumerate(tokenizer.COORD_TOKENS)}
    made = profile.of_vocabulary(special, QWEN3_VL)
    assert (made.first_coordinate, made.coordinates) == (tokenizer.COORD_0, tokenizer.COORD_BINS) == (151_670, 1000)
    for name in ("pad", "turn_start", "turn_end", "vision_start", "vision_end", "image_pad", "video_pad"):
        assert getattr(made, name) == getattr(QWEN3_VL, name), name


@pytest.mark.parametrize(("grid", "tokens"), [((1, 2, 2), 1), ([1, 4, 6], 6), ([3, 4, 2], 6)])
def test_merged(grid: list[int], tokens: int) -> None:
    assert QWEN3_VL.merged(grid) == tokens


def test_pictures_are_of_this_family() -> None:
    assert (picture.PATCH, picture.MERGE, picture.FRAMES) == (16, 2, 2)
    assert QWEN3_VL.patch_size == picture.PATCH and picture.MULTIPLE == 32
