"""Which parents configs name, and which of them are missing: a table of small trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordexp_audit_lib.boundaries.config.predicates.inheritance import config_file, parents_exist
from coordexp_audit_lib.boundaries.config.surfaces import InheritanceRequest, inheritance
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.source.tree import Tree

KEYS = ("extends", "inherit")


def problems(root: Path, files: dict[str, str]) -> list[tuple[str, int]]:
    """Path and line of each problem of a tree with these files below `configs`."""
    for name, content in files.items():
        path = root / "configs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    found = inheritance(Tree(root), InheritanceRequest("configs", KEYS)).files
    places = [p.where for p in parents_exist(found, Ledger())]
    return [(w.path.removeprefix("configs/"), w.line) for w in places if w]


@pytest.mark.parametrize(
    ("files", "wrong"),
    [
        ({"a.yaml": "x: 1", "b/c.yaml": "extends: ../a.yaml"}, []),
        ({"a.yaml": "# extends: b.yaml\nx: 1"}, []),
        ({"a.yaml": "x: 1\nextends: b.yaml"}, [("a.yaml", 2)]),
        ({"a.yaml": "inherit:\n  - b.yaml\n  - c.yaml", "b.yaml": ""}, [("a.yaml", 3)]),
        ({"a.yaml": "extends: configs/b.yaml", "b.yaml": ""}, [("a.yaml", 1)]),  # named from the file, not the root
        ({"a.yaml": "extends: b.yaml", "b.yaml": "extends: a.yaml", "c.yaml": "extends: b.yaml"}, [("a.yaml", 0)]),
        ({"a.yaml": "extends: a.yaml"}, [("a.yaml", 0)]),
        ({"a.yaml": "extends: [unclosed"}, [("a.yaml", 0)]),
        ({"a.yaml": "extends: ../../outside.yaml"}, [("a.yaml", 1)]),
    ],
)
def test_a_parent_that_is_not_there_is_told_with_its_line(
    files: dict[str, str], wrong: list[tuple[str, int]], tmp_path: Path
) -> None:
    assert problems(tmp_path, files) == wrong


def test_every_file_counts_and_two_leaves_of_one_parent_are_no_ring() -> None:
    files = [
        config_file("base.yaml", "x: 1", KEYS),
        config_file("left.yaml", "extends: base.yaml", KEYS),
        config_file("right.yaml", "extends: base.yaml", KEYS),
        config_file("leaf.yaml", "extends: [left.yaml, right.yaml]", KEYS),
    ]
    ledger = Ledger()
    assert list(parents_exist(files, ledger)) == []
    assert ledger.checked == 4
