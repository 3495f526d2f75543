"""What is read from source: collectives that only some ranks reach, and routes."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import pytest

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.source.collectives import ScanRequest, scan, scan_module
from coordexp_audit_lib.source.routes import RoutesRequest, used
from coordexp_audit_lib.source.tree import Tree


def found(source: str) -> list[str]:
    """Line, operation and `how` of every collective; `how` is empty where every rank reaches it."""
    return [f"{c.line} {c.operation} {c.how}".strip() for c in scan_module(ast.parse(textwrap.dedent(source)), "a.py")]


ALONE = {
    "rank in an if": ("def f(rank):\n if rank == 0:\n  dist.barrier()", "3 barrier branch"),
    "the else of it": ("def f(rank):\n if rank == 0:\n  x()\n else:\n  dist.broadcast(t, src=0)", "5 broadcast branch"),
    "a property": ("def f(self):\n if self.is_world_process_zero:\n  dist.all_reduce(x)", "3 all_reduce branch"),
    "a method": ("def f(self):\n if self._is_main_process():\n  torch.distributed.barrier()", "3 barrier branch"),
    "get_rank": ("def f():\n if dist.get_rank() != 0:\n  return\n dist.barrier()", "4 barrier return"),
    "environment": (
        "def f():\n if os.environ['LOCAL_RANK'] == '0':\n  accelerator.wait_for_everyone()",
        "3 wait_for_everyone branch",
    ),
    "through a name": (
        "def f():\n r = dist.get_rank()\n first = r == 0\n if first:\n  dist.barrier()",
        "5 barrier branch",
    ),
    "while": ("def f(rank):\n while rank < n:\n  dist.barrier()", "3 barrier branch"),
    "for": ("def f(rank):\n for _ in range(rank):\n  dist.barrier()", "3 barrier branch"),
    "and": ("def f(rank, world_size):\n if world_size > 1 and rank == 0:\n  dist.barrier()", "3 barrier branch"),
    "through a method": (
        "class T:\n def sync(self):\n  dist.barrier()\n def log(self, rank):\n  if rank == 0:\n   self.sync()",
        "3 barrier, 6 sync (barrier) branch",
    ),
    "on what is gathered": (
        "def f(keys):\n if not keys:\n  return\n dist.all_gather_object(out, keys)",
        "4 all_gather_object return",
    ),
    "continue": ("def f(rank):\n for x in xs:\n  if rank:\n   continue\n  dist.barrier()", "5 barrier skip"),
    "return inside a with": (
        "def f(rank):\n with torch.no_grad():\n  if rank != 0:\n   return\n dist.barrier()",
        "5 barrier return",
    ),
    "conditional expression": ("def f(rank):\n x = gather_object(y) if rank == 0 else None", "2 gather_object branch"),
    "short circuit": ("def f(rank):\n rank == 0 and dist.barrier()", "2 barrier branch"),
    "match": ("def f(rank):\n match rank:\n  case 0:\n   dist.barrier()", "4 barrier branch"),
    "set under a rank": (
        "def f(rank):\n todo = ''\n if rank == 0:\n  todo = look()\n if todo:\n  dist.barrier()",
        "6 barrier branch",
    ),
    "outside of functions": ("if os.environ['RANK'] == '0':\n dist.barrier()", "2 barrier branch"),
}

SHARED = {
    "world size": "def f(world_size):\n if world_size > 1:\n  dist.barrier()",
    "initialised": "def f():\n if not dist.is_initialized():\n  return\n dist.all_reduce(x)",
    "both branches": ("def f(rank):\n if rank == 0:\n  dist.broadcast(a, 0)\n else:\n  dist.broadcast(b, 0)"),
    "work between": "def f(rank):\n dist.barrier()\n if rank == 0:\n  push()\n dist.barrier()",
    "raise": "def f(rank):\n if rank != 0:\n  raise RuntimeError\n dist.barrier()",
    "config": "def f(self):\n if self.args.average:\n  dist.all_reduce(x)",
    "agreed flag": (
        "def f(keys):\n flag = torch.tensor([len(keys)])\n dist.all_reduce(flag)\n if flag.item() == 0:\n"
        "  return\n dist.all_gather_object(out, keys)"
    ),
    "broadcast flag": (
        "def f(self, rank):\n flag = make(rank)\n dist.broadcast(flag, src=0)\n need = int(flag.item())\n"
        " if need == 0:\n  return\n dist.barrier()"
    ),
    "union": (
        "def f(own):\n keys = sorted(own)\n dist.all_gather_object(out, keys)\n keys = sorted(union(out))\n"
        " if keys:\n  dist.all_reduce(t)"
    ),
    "told by a broadcast": (
        "def f(rank):\n todo = ['']\n if rank == 0:\n  todo = [look()]\n"
        " dist.broadcast_object_list(todo, src=0)\n if todo[0]:\n  dist.barrier()"
    ),
    "after a loop": "def f(rank):\n for x in xs:\n  if rank:\n   break\n dist.barrier()",
    "lora rank": "def f(lora_rank):\n if lora_rank > 8:\n  dist.barrier()",
}


@pytest.mark.parametrize("name", ALONE)
def test_a_collective_for_some_ranks_only_is_found(name: str) -> None:
    source, expected = ALONE[name]
    assert ", ".join(found(source)) == expected


@pytest.mark.parametrize("name", SHARED)
def test_a_collective_for_every_rank_is_no_finding(name: str) -> None:
    every = scan_module(ast.parse(SHARED[name]), "a.py")
    assert every and all(c.how == "" for c in every)


def test_names_that_only_sound_like_collectives_are_none() -> None:
    assert found("def f(rank):\n    if rank:\n        np.reduce(x); xs.gather(y); signal.broadcast(z)\n") == []


def test_nested_functions_and_methods_are_read_once() -> None:
    source = "class A:\n    def f(self):\n        def g():\n            dist.all_reduce(x)\n        g()\n"
    assert found(source) == ["5 g (all_reduce)", "4 all_reduce"]


def test_a_tree_is_read_below_its_roots_and_an_empty_one_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "src" / "a.py").write_text("def f(rank):\n    if rank == 0:\n        dist.barrier()\n")
    (tmp_path / "other" / "b.py").write_text("def f():\n    dist.barrier()\n")
    made = scan(Tree(tmp_path), ScanRequest())
    assert [(c.path, c.symbol, c.kind, c.condition) for c in made.collectives] == [("src/a.py", "f", "alone", ["rank"])]
    assert made.files == 1
    with pytest.raises(SurfaceFailed):
        scan(Tree(tmp_path), ScanRequest(("nowhere",)))


def test_routes_are_found_where_a_url_is_put_together(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "src" / "a.py").write_text(
        'u = f"{base}/infer/"\nv = base + "/health/"\nw = "/not_a_url/"\nx = f"{a}/UPPER/"\n'
    )
    (tmp_path / "scripts" / "b.sh").write_text(
        '# http://h:1/commented/\nURL="http://${HOST}:${PORT}/get_world_size/"\necho http://docs.test/page\n'
    )
    got = [(u.path, u.line, u.route) for u in used(Tree(tmp_path), RoutesRequest(("src", "scripts"))).used]
    assert got == [("scripts/b.sh", 2, "/get_world_size/"), ("src/a.py", 1, "/infer/"), ("src/a.py", 2, "/health/")]
