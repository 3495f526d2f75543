"""What names mean in source that is read: imports, re-exports, bases, calls, and what stands where."""

import ast
import textwrap

import pytest

from coordexp_audit_lib.source.names import Index, Module, arguments, called, definitions, own_nodes, resolve
from coordexp_audit_lib.source.tree import Tree

SOURCE = """
import json as j
from . import near
from ..far import thing as other
from pkg.deep import Base

class C(Base):
    def m(self, a, *, b=1):
        def inner(): ...
        return lambda: a

if True:
    def f(x, y): ...
"""


def module(text, path="pkg/sub/mod.py"):
    return Module(path, ast.parse(textwrap.dedent(text)))


def test_every_definition_is_named_with_its_class_and_whether_it_is_inner():
    told = [(d.qualname, d.owner, d.inner) for d in definitions(ast.parse(SOURCE))]
    assert told == [("C", "", False), ("C.m", "C", False), ("C.m.inner", "", True), ("f", "", False)]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("j.loads", "json.loads"),
        ("near.x", "pkg.sub.near.x"),
        ("other", "pkg.far.thing"),
        ("Base", "pkg.deep.Base"),
        ("local.x", "local.x"),
        ("f()", ""),
    ],
)
def test_a_dotted_name_is_told_as_imported(written, meant):
    assert module(SOURCE).dotted(ast.parse(written, mode="eval").body) == meant


def test_inner_functions_are_no_functions_of_a_module():
    assert list(module(SOURCE).functions) == ["C.m", "f"]


@pytest.mark.parametrize(
    ("call", "expected"),
    [("f(1, 2)", ["f"]), ("self.m(1)", ["C.m"]), ("near.g()", ["g"]), ("nobody()", []), ("x.m()", [])],
)
def test_a_call_reaches_what_imports_tell(call, expected):
    here, there = module(SOURCE), Module("pkg/sub/near.py", ast.parse("def g(): ..."))
    reached = called({m.path: m for m in (here, there)}, here, ast.parse(call, mode="eval").body)
    assert [name for _, name in reached] == expected


def test_arguments_skip_what_is_bound_already():
    call = ast.parse("o.m(1, b=2, c=3)", mode="eval").body
    given = [(n, ast.unparse(e)) for n, e in arguments(call, module(SOURCE).functions["C.m"])]
    assert given == [("a", "1"), ("b", "2")]


def test_own_nodes_leave_inner_definitions_out():
    names = {n.id for n in own_nodes(ast.parse("a\ndef f(): b\nclass C: c").body) if isinstance(n, ast.Name)}
    assert names == {"a"}


def tree(tmp_path, **files):
    for name, text in files.items():
        path = tmp_path / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Tree(tmp_path)


def test_a_member_is_found_through_a_re_export_and_a_base(tmp_path):
    there = tree(
        tmp_path, a="from b import C", b="from c import Base\nclass C(Base): ...", c="class Base:\n    def m(self): ..."
    )
    found = resolve(there, "a:C.m")
    assert found is not None and (found.symbol, found.path, found.line) == ("c:Base.m", "c.py", 2)


@pytest.mark.parametrize(
    ("symbol", "found"),
    [
        ("old:a_name_that_is_long_enough", "src.x:C.a_name_that_is_long_enough"),
        ("old:short", None),
        ("old:C.short", "src.x:C.short"),
        ("old:twice_and_so_no_proof_at_all", None),
    ],
)
def test_a_moved_definition_is_found_by_its_last_name(tmp_path, symbol, found):
    body = "class C:\n    def a_name_that_is_long_enough(self): ...\n    def short(self): ...\n"
    twice = "def twice_and_so_no_proof_at_all(): ...\n"
    there = tree(tmp_path, src__x=body + twice, src__y=twice, other__z=body, src__broken="def (")
    located = Index(there, "src").only(symbol)
    assert (located.symbol if located else None) == found
