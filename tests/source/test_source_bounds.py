"""Whatever comes in is read within bounds: nothing is expanded before it is known to fit; no read waits for ever."""

from __future__ import annotations

import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from coordexp_audit_lib.boundaries.config.predicates.chains import ChainBroken, resolve
from coordexp_audit_lib.core.errors import SurfaceFailed, UsageError
from coordexp_audit_lib.core.reading import content, regular
from coordexp_audit_lib.pipelines.coordexp.reach.configs import resolved
from coordexp_audit_lib.source import archive, parsing
from coordexp_audit_lib.source.archive import Unreadable, open_archive, open_folder
from coordexp_audit_lib.source.package import Package, Source
from coordexp_audit_lib.source.parsing import MAX_SOURCE, Parser, TooLarge, yaml_value
from coordexp_audit_lib.source.tree import Tree

LEVELS = 30
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, LEVELS))
MANY = "x=1;" * (MAX_SOURCE // 4 + 1)
ROOM = 64 << 20  # bytes beyond the input


def test_an_alias_bomb_is_refused_before_it_is_expanded() -> None:
    tracemalloc.start()
    with pytest.raises(TooLarge, match=f"more than {parsing.MAX_NODES}"):
        yaml_value(BOMB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < ROOM
    with pytest.raises(TooLarge, match="characters"):
        yaml_value("#" * (parsing.MAX_YAML + 1))


@pytest.mark.parametrize(
    "text", ["", "a: 1", "a: &x {b: [1, 2.5, null, yes]}\nc: *x", "base: &b {k: 1}\nd:\n  <<: *b\n  e: 2", "2026-01-01"]
)
def test_what_fits_is_read_as_ever(text: str) -> None:
    assert yaml_value(text) == yaml.safe_load(text)


def test_an_alias_to_what_it_stands_in_ends() -> None:
    assert isinstance(yaml_value("a: &a [*a]"), dict)


@pytest.mark.parametrize("end", ["loop", "none"])
def test_parents_that_many_files_share_are_read_once(end: str, tmp_path: Path) -> None:
    """Each file extends the next one twice: 2^30 ways lead to the last."""
    files = {f"{n}.yaml": f"extends: [{n + 1}.yaml, ./{n + 1}.yaml]\nk{n}: {n}\n" for n in range(LEVELS)}
    files[f"{LEVELS}.yaml"] = "extends: 0.yaml\n" if end == "loop" else "last: 1\n"
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    reads: list[str] = []

    def read(path: str) -> str | None:
        reads.append(path)
        return files.get(path)

    found = resolved(Tree(tmp_path), "0.yaml")
    if end == "loop":
        with pytest.raises(ChainBroken, match="cycle"):
            resolve(read, "0.yaml")
        assert found is None
    else:
        assert resolve(read, "0.yaml").merged == found.values  # type: ignore[union-attr]
        assert found is not None and len(found.files) == LEVELS + 1
    assert len(reads) <= LEVELS + 1


def test_parents_without_end_are_refused() -> None:
    with pytest.raises(ChainBroken, match="extend one another"):
        resolve(lambda path: f"extends: x{path}", "a.yaml")


def test_a_source_file_is_parsed_up_to_a_size_and_a_source_up_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "big.py").write_text(MANY)
    with pytest.raises(SurfaceFailed, match=f"more than the {MAX_SOURCE}"):
        Tree(tmp_path).module("big.py")
    parser = Parser()
    monkeypatch.setattr(parsing, "MAX_BLOCKS", 1000)
    parser.parse("x = 1\n" * 1000, "first.py")
    with pytest.raises(TooLarge, match="for one source"):
        parser.parse("x = 1", "second.py")


def made_wheel(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, text in files.items():
            made.writestr(name, text)
    return path


def test_a_wheel_that_unpacks_to_much_is_read_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = "#" * (archive.MAX_MEMBER + 1)
    files = open_archive(made_wheel(tmp_path / "p-1-py3-none-any.whl", {"p/__init__.py": bomb, "p/a.py": "A = 1"}))
    tracemalloc.start()
    with pytest.raises(Unreadable, match=f"larger than {archive.MAX_MEMBER}"):
        files.text("p/__init__.py")
    assert tracemalloc.get_traced_memory()[1] < 4 * archive.MAX_MEMBER
    tracemalloc.stop()
    assert files.text("p/a.py") == "A = 1"
    monkeypatch.setattr(archive, "MAX_TOTAL", 10)
    more = open_archive(made_wheel(tmp_path / "q-1-py3-none-any.whl", {f"p/{n}.py": "A = 1" for n in "abc"}))
    assert [more.text("p/a.py"), more.text("p/b.py")] == ["A = 1", "A = 1"]
    with pytest.raises(Unreadable, match="were read before"):
        more.text("p/c.py")


def test_what_a_package_defines_in_too_large_a_file_is_undecided(tmp_path: Path) -> None:
    files = open_archive(made_wheel(tmp_path / "p-1-py3-none-any.whl", {"p/__init__.py": MANY}))
    answer: Any = Package(Source("p", "p", "1", "wheel", files)).resolve("p:x")
    assert (answer.status, "is not read" in answer.why) == ("undecided", True)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A FIFO that nobody writes to: whoever opens it to read waits for ever."""
    os.mkfifo(tmp_path / "f.whl")
    return tmp_path / "f.whl"


def test_what_is_no_regular_file_is_not_opened(fifo: Path) -> None:
    for path in (fifo, fifo.parent, Path("/dev/zero")):
        with pytest.raises(OSError, match="no regular file"):
            regular(path)
    with pytest.raises(UsageError, match="no regular file"):
        open_archive(fifo)
    (fifo.parent / "a.py").write_text("A = 1")
    os.mkfifo(fifo.parent / "b.py")
    folder = open_folder(fifo.parent)
    with pytest.raises(Unreadable, match="no regular file"):
        folder.text("b.py")
    with pytest.raises(OSError, match="the most that is read"):
        content(fifo.parent / "a.py", 2)
