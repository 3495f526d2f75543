"""What of a tree's own source can't run is told, and what can is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordexp_audit_lib.boundaries.pipeline_map.surfaces.code import Code, CodeRequest, read_code
from coordexp_audit_lib.source.tree import Tree

PACKS = """
def pack(samples, *, packing_length, pad=0):
    return samples

class Trainer:
    def step(self, batch, scale=1.0):
        return batch
    def run(self, batch):
        return self.step(batch)
"""

BROKEN = {
    "a file with a half of a merge": ("<<<<<<< HEAD\nx = 1\n", "syntax"),
    "a name whose import is gone": ("def f(x):\n    return asdict(x)\n", "name"),
    "a local before it is bound": (
        "from pathlib import Path\ndef f(x):\n    p = Path(x)\n    from pathlib import Path\n    return p, Path\n",
        "name",
    ),
    "an export of nothing": ("__all__ = ['gone']\n", "name"),
    "a module that is not there": ("def f():\n    from src.lost import Trainer\n    return Trainer\n", "import"),
    "a name that moved away": ("from src.packs import unpack\n", "import"),
    "a keyword that is not taken": ("from src.packs import pack\ndef f(s):\n    return pack(s, length=3)\n", "call"),
    "a required one left out": ("from src.packs import pack\ndef f(s):\n    return pack(s)\n", "call"),
    "one argument too many": (
        "from src.packs import pack\ndef f(s):\n    return pack(s, 3, packing_length=1)\n",
        "call",
    ),
    "a method with too many": (
        "class A:\n    def g(self):\n        return 1\n    def f(self):\n        self.g(2)\n",
        "call",
    ),
}
SOUND = {
    "an import that may fail": "try:\n    from src.lost import x\nexcept ImportError:\n    x = None\n",
    "a name for type checkers": "from __future__ import annotations\ndef f(x: Later) -> Later:\n    return x\n",
    "a call with all that is needed": "from src.packs import pack\ndef f(s):\n    return pack(s, packing_length=3)\n",
    "a call with starred keywords": "from src.packs import pack\ndef f(s, k):\n    return pack(s, **k)\n",
    "a parameter of the same name": "from src.packs import pack\ndef f(pack):\n    return pack(1, 2, 3)\n",
    "a local of a function around": (
        "def pack(a):\n    pass\ndef f():\n    def g():\n        return pack(1, 2)\n    pack = max\n    return g\n"
    ),
    "an import in a loop": "import os\ndef f(n):\n    for i in n:\n        if i: os.stat(i)\n        import os\n",
    "a module with names of its own making": "from src.open import anything\n",
    "a global that a function makes": "def f():\n    global made\n    made = 1\ndef g():\n    return made\n",
}


def read(tmp_path: Path, source: str) -> Code:
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "packs.py").write_text(PACKS)
    (folder / "open.py").write_text("def __getattr__(name):\n    return name\n")
    (folder / "asked.py").write_text(source)
    return read_code(Tree(tmp_path), CodeRequest(["src"]))


@pytest.mark.parametrize("name", BROKEN)
def test_what_can_not_run_is_told_with_its_file(tmp_path: Path, name: str) -> None:
    source, kind = BROKEN[name]
    told = read(tmp_path, source).broken
    assert [(b.kind, b.path) for b in told] == [(kind, "src/asked.py")]
    assert 1 <= told[0].line <= len(source.splitlines())


@pytest.mark.parametrize("name", SOUND)
def test_what_can_run_is_not_told(tmp_path: Path, name: str) -> None:
    code = read(tmp_path, SOUND[name])
    assert code.broken == []
    assert code.files == 3


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("from data_tools.exif import upright\n", ["data_tools"]),
        ("import json, data_tools\n", ["data_tools"]),
        ("import numpy.linalg\nimport src.packs\nfrom . import packs\nfrom __future__ import annotations\n", []),
        ("try:\n    import data_tools\nexcept ImportError:\n    data_tools = None\n", []),
        ("def f():\n    import data_tools\n", []),
    ],
)
def test_a_package_that_nobody_has_is_told_where_the_module_needs_it(
    tmp_path: Path, source: str, told: list[str]
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "asked.py").write_text(source)
    (tmp_path / "src" / "packs.py").write_text("")
    found = read_code(Tree(tmp_path), CodeRequest(["src"], packages=["numpy"])).broken
    assert [b.name for b in found if b.kind == "package"] == told
    assert not [b for b in read_code(Tree(tmp_path), CodeRequest(["src"])).broken if b.kind == "package"]


def test_studies_that_are_left_out_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "src" / "studies"
    folder.mkdir(parents=True)
    (folder / "one.py").write_text("print(undefined_name)\n")
    assert read_code(Tree(tmp_path), CodeRequest(["src"])).broken != []
    assert read_code(Tree(tmp_path), CodeRequest(["src"], ["src/studies"])).files == 0
