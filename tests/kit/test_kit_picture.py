"""Generated pictures: every patch tells where it is from."""

from __future__ import annotations

import numpy as np
import pytest

from coordexp_audit_lib.kit import picture


@pytest.mark.parametrize(("width", "height", "grid"), [(64, 64, [1, 4, 4]), (128, 96, [1, 6, 8]), (32, 64, [1, 4, 2])])
def test_grid_and_rows(width: int, height: int, grid: list[int]) -> None:
    found, rows = picture.patches(picture.pixels(0, width, height))
    assert found == grid
    assert rows.shape == (grid[1] * grid[2], 1536) and rows.dtype == np.uint8


def test_no_two_patches_of_these_pictures_are_alike() -> None:
    digests = [d for n in range(6) for d in picture.row_digests(picture.patches(picture.pixels(n, 128, 96))[1])]
    assert len(set(digests)) == len(digests) == 6 * 48


def test_rows_run_over_blocks_of_two_by_two() -> None:
    """Row k of a 64 x 64 picture begins with the top left pixel of its patch."""
    image = picture.pixels(3, 64, 64)
    corners = [(0, 0), (0, 16), (16, 0), (16, 16), (0, 32)]
    rows = picture.patches(image)[1]
    assert [int(rows[k][0]) for k in range(5)] == [int(image[y, x, 0]) for y, x in corners]


def test_sides_must_be_multiples_of_32() -> None:
    with pytest.raises(ValueError, match="48 x 64"):
        picture.patches(picture.pixels(0, 48, 64))
