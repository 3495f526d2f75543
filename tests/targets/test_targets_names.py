"""Names are followed to where they are defined, in the source only."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordexp_audit_lib.source.names import resolve
from coordexp_audit_lib.source.tree import Tree
from coordexp_audit_lib.targets.table import pick

FILES = {
    "src/impl.py": "class Base:\n    def inherited(self): ...\n\ndef f(): ...\nVALUE = 1\n",
    "src/shim.py": "from .impl import Base, f as g\nfrom src.impl import VALUE\n",
    "src/star.py": "from .impl import *\n",
    "src/old.py": "import src.impl as impl\nfrom . import impl as other\nfrom numpy import array\n",
    "src/sub/__init__.py": "from ..shim import Base\nfrom .mixin import Mixin\n",
    "src/sub/mixin.py": "class Mixin:\n    def mixed(self): ...\n",
    "src/trainer.py": (
        "from swift import Trainer\nimport src.impl as impl\nfrom .sub import Mixin\n"
        "class T(Mixin, impl.Base, Trainer):\n    def own(self): ...\n"
    ),
    "src/loop.py": "from .loop2 import x\nclass A(B): ...\nclass B(A): ...\n",
    "src/loop2.py": "from .loop import x\n",
    "src/double.py": "def hidden(): ...\n",
    "src/double/__init__.py": "def shown(): ...\n",
    "src/guarded.py": "try:\n    from .absent import h\nexcept ImportError:\n    from .impl import f as h\n",
}


@pytest.fixture
def source(tmp_path: Path) -> Tree:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Tree(tmp_path)


@pytest.mark.parametrize(
    ("symbol", "path", "line", "name"),
    [
        ("src.impl:f", "src/impl.py", 4, "src.impl:f"),
        ("src.shim:g", "src/impl.py", 4, "src.impl:f"),
        ("src.shim:VALUE", "src/impl.py", 5, "src.impl:VALUE"),
        ("src.star:f", "src/impl.py", 4, "src.impl:f"),
        ("src.sub:Base.inherited", "src/impl.py", 2, "src.impl:Base.inherited"),
        ("src.old:impl.f", "src/impl.py", 4, "src.impl:f"),
        ("src.old:other.f", "src/impl.py", 4, "src.impl:f"),
        ("src.old:other", "src/impl.py", 1, "src.impl"),
        ("src.trainer:T.own", "src/trainer.py", 5, "src.trainer:T.own"),
        ("src.trainer:T.mixed", "src/sub/mixin.py", 2, "src.sub.mixin:Mixin.mixed"),
        ("src.trainer:T.inherited", "src/impl.py", 2, "src.impl:Base.inherited"),
        ("src.trainer:T.from_upstream", "src/trainer.py", 4, "src.trainer:T"),
        ("src.double:shown", "src/double/__init__.py", 1, "src.double:shown"),
        ("src.double:hidden", "src/double.py", 1, "src.double:hidden"),
        ("src.guarded:h", "src/impl.py", 4, "src.impl:f"),
        ("src.impl", "src/impl.py", 1, "src.impl"),
        ("src.loop:A.x", "src/loop.py", 2, "src.loop:A"),
    ],
)
def test_resolve(symbol: str, path: str, line: int, name: str, source: Tree) -> None:
    found = resolve(source, symbol)
    assert found is not None and (found.path, found.line, found.symbol) == (path, line, name)
    assert len(found.digest) == 16


@pytest.mark.parametrize(
    "symbol", ["src.impl:absent", "src.absent:f", "src.loop:x", "src.old:array", ":f", "src.star:x"]
)
def test_what_is_not_in_the_tree(symbol: str, source: Tree) -> None:
    assert resolve(source, symbol) is None


@pytest.mark.parametrize(
    ("candidates", "picked"),
    [
        (("src.shim:Base", "src.impl:Base"), "src.impl:Base"),  # a re-export gives way to the definition
        (("src.shim:Base", "src.absent:Base"), "src.shim:Base"),
        (("src.absent:Base", "src.shim:Base"), "src.shim:Base"),
        (("src.impl:f", "src.shim:g"), "src.impl:f"),
        (("src.trainer:T.mixed",), "src.trainer:T.mixed"),
    ],
)
def test_pick(candidates: tuple[str, ...], picked: str, source: Tree) -> None:
    found = pick(source, candidates)
    assert found is not None and found[0] == picked
