"""Which lines of a tree ran: functions of the tree alone, in threads and forked processes too, with what left it."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

from coordexp_audit_lib.kit.lines import Watch, innermost
from coordexp_audit_lib.kit.tracing import lines

SOURCE = """LIMIT = 3

def bounded(value):
    if value > LIMIT:
        raise ValueError("too large")
    return value

def tolerant(value):
    try:
        return bounded(value)
    except ValueError:
        return LIMIT

def parse(section):
    return inner(section["inner"])

def inner(part):
    return part.get("known", 0)
"""


@pytest.fixture
def tree(tmp_path: Path) -> ModuleType:
    path = tmp_path / "tree" / "code.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("a_watched_tree", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def watch(tree: ModuleType, tmp_path: Path, *keys: str) -> Watch:
    return Watch(str(Path(str(tree.__file__)).parent), str(tmp_path / "kept"), keys)


def test_lines_of_functions_of_the_tree_are_told_in_order(tree: ModuleType, tmp_path: Path) -> None:
    with watch(tree, tmp_path) as seen:
        Path("a").joinpath("b")
        tree.bounded(2)
    assert seen.told()["lines"] == [["code.py", 4], ["code.py", 6]]
    assert sys.gettrace() is None


def test_what_was_caught_in_the_tree_did_not_leave_it(tree: ModuleType, tmp_path: Path) -> None:
    with watch(tree, tmp_path) as seen:
        tree.tolerant(9)
        with pytest.raises(ValueError):
            tree.bounded(9)
    assert seen.told()["raised"] == [["code.py", 5, "ValueError"]]
    with watch(tree, tmp_path) as seen:
        tree.tolerant(9)
    assert seen.told()["raised"] == []


def test_a_key_is_followed_into_the_function_that_is_given_its_mapping(tree: ModuleType, tmp_path: Path) -> None:
    with watch(tree, tmp_path, "stray") as seen:
        tree.parse({"inner": {"known": 1, "stray": 2}})
    assert seen.told()["holds"] == [["code.py", 14, "stray", 2], ["code.py", 17, "stray", 1]]


def test_lines_of_threads_and_of_forked_processes_are_told(tree: ModuleType, tmp_path: Path) -> None:
    with watch(tree, tmp_path) as seen:
        thread = threading.Thread(target=tree.bounded, args=(1,))
        thread.start()
        thread.join()
        child = os.fork()
        if child == 0:
            tree.inner({})
            os._exit(0)
        os.waitpid(child, 0)
    assert seen.told()["lines"] == [["code.py", 4], ["code.py", 6], ["code.py", 18]]


def test_the_line_that_ran_most_often_is_hot_also_while_lines_are_counted(tree: ModuleType, tmp_path: Path) -> None:
    with watch(tree, tmp_path) as seen:
        counted = lines(lambda n: [tree.bounded(1) for _ in range(n)], 5)
    assert counted >= 10
    assert seen.told()["hot"][0] == ["code.py", 4, 5]


def test_the_innermost_line_of_the_tree_under_an_exception(tree: ModuleType) -> None:
    root = str(Path(str(tree.__file__)).parent)
    with pytest.raises(AttributeError) as raised:
        tree.parse({"inner": None})
    assert innermost(raised.value, root) == ("code.py", 18)
    assert innermost(ValueError("never raised"), root) is None
