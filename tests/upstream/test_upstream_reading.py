"""Names, signatures, fields and bodies are read as Python would have them, from source that is never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordexp_audit_lib.boundaries.upstream.artifact.releases import open_source
from coordexp_audit_lib.boundaries.upstream.predicates.contracts import Call, Contract, Field, Part
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import differences, verdict
from coordexp_audit_lib.source import spelling
from coordexp_audit_lib.source.facts import Ask, Seen
from coordexp_audit_lib.source.observed import see
from coordexp_audit_lib.source.package import Package

LAZY = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from .a import Old, Both
else:
    _import_structure = {"a": ["Both", "Ghost"]}
    _import_structure["a"].append("Late")
    _import_structure["b"] = ["Other"]
    import sys
    sys.modules[__name__] = _LazyModule(__name__, __file__, _import_structure)
"""
ATTRS = """
MODULE_ATTRS = {"LLM": ".entry:LLM", "Lost": ".entry:Nothing"}
def __getattr__(name):
    if name in MODULE_ATTRS:
        return load(MODULE_ATTRS[name])
    raise AttributeError(name)
"""
OPAQUE = "def __getattr__(name):\n    return made(name)\n"
COLLECTED = """
from .tools import define_import_structure
import_structure = define_import_structure(Path(__file__).parent / "models", prefix="models")
"""
MANY = "class Both: pass\nclass Old: pass\nclass Late: pass\n"

IN_LAZY = {"__init__": LAZY, "a": MANY, "b": ""}

# label, files below swift/ without .py, a name without its `swift.`, where it is defined or why not
NAMES = [
    ("a definition", {"m": "class X: pass"}, "m:X", "m:X"),
    ("relative import", {"__init__": "from .m import X", "m": "class X: pass"}, ":X", "m:X"),
    ("from a sibling", {"p/a": "from .b import X", "p/b": "class X: pass"}, "p.a:X", "p.b:X"),
    ("two levels up", {"p/q/a": "from ...m import X as Y", "m": "class X: pass"}, "p.q.a:Y", "m:X"),
    ("alias by assignment", {"m": "class New: pass\nOld = New"}, "m:Old", "m:New"),
    ("inside an if", {"m": "if ok:\n    class X: pass\nelse:\n    X = None"}, "m:X", "m:X"),
    (
        "in a try",
        {"m": "try:\n    from .n import X\nexcept ImportError:\n    X = None", "n": "class X: pass"},
        "m:X",
        "n:X",
    ),
    ("a star import", {"__init__": "from .m import *", "m": "class X: pass"}, ":X", "m:X"),
    ("a star that hides it", {"__init__": "from .m import *", "m": "__all__ = ['Y']\nclass X: pass"}, ":X", "gone"),
    ("stars in a circle", {"a": "from .b import *", "b": "from .a import *\nclass X: pass"}, "a:X", "b:X"),
    ("for type checkers only", IN_LAZY, ":Old", "gone"),
    ("in the lazy table", IN_LAZY, ":Both", "a:Both"),
    ("added to the lazy table", IN_LAZY, ":Late", "a:Late"),
    ("offered and not defined", IN_LAZY, ":Ghost", "gone"),
    ("in a table of __getattr__", {"__init__": ATTRS, "entry": "class LLM: pass"}, ":LLM", "entry:LLM"),
    ("offered there, not defined", {"__init__": ATTRS, "entry": "class LLM: pass"}, ":Lost", "gone"),
    ("made by __getattr__", {"__init__": OPAQUE}, ":X", "undecided"),
    (
        "collected from __all__",
        {"__init__": COLLECTED, "models/x": "__all__ = ['X']\nclass X: pass"},
        ":X",
        "models.x:X",
    ),
    ("not in the __all__", {"__init__": COLLECTED, "models/x": "__all__ = []\nclass X: pass"}, ":X", "gone"),
    ("a submodule", {"m": ""}, ":m", "m"),
    ("another distribution", {"m": "from transformers import Trainer"}, "m:Trainer", "outside"),
    ("no such module", {}, "nowhere:X", "gone"),
    ("up the hierarchy", {"m": "class A:\n def f(self): pass\nclass B(A): pass"}, "m:B.f", "m:A.f"),
    (
        "a base of another file",
        {"m": "from . import n\nclass B(n.A[int]): pass", "n": "class A:\n def f(self): pass"},
        "m:B.f",
        "n:A.f",
    ),
    ("a base elsewhere", {"m": "from trl import T\nclass B(T): pass"}, "m:B.f", "outside"),
    ("on no base", {"m": "class B(object): pass"}, "m:B.f", "gone"),
    ("set outside __init__", {"m": "class B:\n    def start(me):\n        me.pool = []"}, "m:B.pool", "m:B.pool"),
    ("a method by another name", {"m": "class B:\n    def f(self): pass\n    g = f"}, "m:B.g", "m:B.f"),
    ("a syntax error", {"m": "class B(:\n"}, "m:B", "undecided"),
    ("a NUL", {"m": "x = '\0'"}, "m:x", "undecided"),
]


@pytest.mark.parametrize(("files", "symbol", "wanted"), [n[1:] for n in NAMES], ids=[n[0] for n in NAMES])
def test_where_a_name_is_defined(wheel, files: dict[str, str], symbol: str, wanted: str) -> None:  # type: ignore[no-untyped-def]
    package = Package(open_source(str(wheel({f"swift/{name}.py": text for name, text in files.items()}))))
    found = package.resolve(f"swift{symbol}" if symbol.startswith(":") else f"swift.{symbol}")
    assert wanted in (getattr(found, "symbol", "").removeprefix("swift."), getattr(found, "status", None))


def seen(wheel, source: str, **asked: object) -> Seen:  # type: ignore[no-untyped-def]
    return see(Package(open_source(str(wheel({"swift/m.py": source})))), Ask("swift.m:X", **asked))  # type: ignore[arg-type]


A = "class A:\n def __init__(self, a): pass\n"
BY_NAME = Call(0, ("a",))
CALLS = [
    ("as it is", "def X(a, b=1): pass", Call(1, ("b",)), []),
    ("a new optional parameter is no drift", "def X(a, new=0, *, newer=0, b=1): pass", Call(1, ("b",)), []),
    ("a new required parameter is", "def X(a, new, b=1): pass", Call(1, ("b",)), ["it needs new, which is not given"]),
    ("a keyword is gone", "def X(a): pass", Call(1, ("b",)), ["it takes no b"]),
    ("a keyword by position only", "def X(a, b, /): pass", Call(1, ("b",)), ["it takes no b"]),
    (
        "too few positions",
        "def X(*, a): pass",
        Call(1),
        ["it takes 0 positional arguments, and gets 1", "it needs a, which is not given"],
    ),
    ("the rest takes them", "def X(*args, **kw): pass", Call(3, ("b",)), []),
    ("twice the same", "def X(a): pass", Call(1, ("a",)), ["a comes by position and by name"]),
    (
        "another meaning",
        "def X(ids, types, grid=None): pass",
        Call(2, order=("ids", "grid")),
        ["its argument 2 is types, and grid is put there"],
    ),
    ("a dataclass", "@dataclass\nclass X:\n a: int\n b: int = 0", BY_NAME, []),
    ("a dataclass without it", "@dataclass\nclass X:\n b: int = 0", BY_NAME, ["it takes no a"]),
    ("a constructor up the hierarchy", A + "class X(A): pass", BY_NAME, []),
    ("handed on", A + "class X(A):\n def __init__(self, **kw): super().__init__(**kw)", BY_NAME, []),
    (
        "handed on and refused",
        "class A:\n def __init__(self): pass\nclass X(A):\n def __init__(self, **kw): super().__init__(**kw)",
        BY_NAME,
        ["it takes no a (swift.m:A.__init__ refuses it)"],
    ),
    (
        "handed on twice",
        A + "class X(A):\n def __init__(self, **kw): super().__init__(a=1, **kw)",
        BY_NAME,
        ["swift.m:X.__init__ hands a on itself, so that it is given twice"],
    ),
    ("no constructor", "class X: pass", BY_NAME, ["it takes no argument"]),
    ("made by a call", "def f(a): pass\nX = wrap(f)", Call(1), ["its signature cannot be read: it is a attribute"]),
]


@pytest.mark.parametrize(("source", "call", "wanted"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS])
def test_whether_a_call_fits(wheel, source: str, call: Call, wanted: list[str]) -> None:  # type: ignore[no-untyped-def]
    part, source = Part("swift.m:X", call=call), f"from dataclasses import dataclass\n{source}"
    assert [p.what for p in differences(part, seen(wheel, source, call=True))] == wanted


FIELDS = [
    ("kept", "    x: int = 1", Field("x", "int", "1"), []),
    ("wider type", "    x: Union[int, str, None] = 1", Field("x", "int", "1"), []),
    ("the new spelling", "    x: 'list[str] | None' = None", Field("x", "Optional[List[str]]", "None"), []),
    ("narrower type", "    x: str = '1'", Field("x", "int"), ["x takes str, and gets int"]),
    ("one of the literals", "    x: Literal['a', 'vllm'] = 'a'", Field("x", "Literal['vllm']"), []),
    (
        "not of the literals",
        "    x: Literal['a', 'b'] = 'a'",
        Field("x", "Literal['vllm']"),
        ["x takes Literal['a', 'b'], and gets Literal['vllm']"],
    ),
    ("a default factory", "    x: list = field(default_factory=list)", Field("x", "", "list()"), []),
    ("another default", "    x: int = 2", Field("x", "int", "1"), ["x is 2 by default, and 1 is relied on"]),
    ("a default that nothing relies on", "    x: int = 2", Field("x", "int"), []),
    ("required now", "    x: int", Field("x", "int", "1"), ["x is required by default, and 1 is relied on"]),
    ("gone", "    y: int = 1", Field("x", "int"), ["no field x"]),
    ("no field but a class variable", "    x: ClassVar[int] = 1", Field("x"), ["no field x"]),
]


@pytest.mark.parametrize(("body", "field", "wanted"), [f[1:] for f in FIELDS], ids=[f[0] for f in FIELDS])
def test_whether_a_field_is_kept(wheel, body: str, field: Field, wanted: list[str]) -> None:  # type: ignore[no-untyped-def]
    part = Part("swift.m:X", fields=(field,))
    source = f"from dataclasses import dataclass\n@dataclass\nclass X:\n{body}\n"
    assert [p.what for p in differences(part, seen(wheel, source, fields=("x",)))] == wanted


def test_a_field_of_a_base_elsewhere_is_not_decidable(wheel) -> None:  # type: ignore[no-untyped-def]
    source = "from transformers import T\nfrom dataclasses import dataclass\n@dataclass\nclass X(T):\n    y: int = 1\n"
    (problem,) = differences(Part("swift.m:X", fields=(Field("x"),)), seen(wheel, source, fields=("x",)))
    assert problem.kind == "undecidable"
    assert "transformers.T" in problem.what


BODY = '''
class X:
    """Serves /infer/ and nothing else."""
    def run(self):
        """/doc/"""
        self.app.post(f"{self.base}/update/", json={"payload": 1})
        if position_ids.ndim == 3 and position_ids.shape[0]  ==  4:
            log(logs)
'''


def test_words_and_expressions_of_a_body(wheel) -> None:  # type: ignore[no-untyped-def]
    found = seen(
        wheel,
        BODY,
        words=("/infer/", "/doc/", "/update/", "payload", "other"),
        expressions=("position_ids.shape[0] == 4", "position_ids.shape[0] == 3", "log(logs)", "log(logs, 1)"),
    )
    assert found.words == ["/update/", "payload"]
    assert found.expressions == ["log(logs)", "position_ids.shape[0] == 4"]


def test_keys_of_a_mapping(wheel) -> None:  # type: ignore[no-untyped-def]
    found = seen(wheel, "X: dict[str, str] = {'a': 'b'}\nX['c'] = 'd'\nY = {'e': 'f'}", keys=("a", "c", "e"))
    assert found.keys == ["a", "c"]


@pytest.mark.parametrize(
    ("method", "call", "wanted"),
    [
        ("def f(self, m): return names(m)", Call(1, none_for_self=True), []),
        (
            "def f(self, m): return self.names(m)",
            Call(1, none_for_self=True),
            ["its body reads self, and it is called with None for self"],
        ),
        (
            "@staticmethod\n    def f(m): return m",
            Call(1, none_for_self=True),
            ["it is static now, and is called with None for self"],
        ),
        ("@staticmethod\n    def f(m): return m", Call(1, of_class=True), []),
        ("@classmethod\n    def f(cls, m): return m", Call(1, of_class=True), []),
        ("def f(self, m): return m", Call(1, of_class=True), ["it needs an instance now, and is called on the class"]),
    ],
)
def test_calls_on_the_class(wheel, method: str, call: Call, wanted: list[str]) -> None:  # type: ignore[no-untyped-def]
    package = Package(open_source(str(wheel({"swift/m.py": f"class X:\n    {method}\n"}))))
    part = Part("swift.m:X.f", call=call)
    assert [p.what for p in differences(part, see(package, part.ask))] == wanted


@pytest.mark.parametrize(
    ("files", "word", "what"),
    [
        ({"swift/m.py": "def X(a): pass"}, "kept", []),
        ({"swift/new.py": "def X(a): pass"}, "moved", ["to swift.new:X"]),
        ({"swift/deep/er.py": "def X(a): pass"}, "moved", ["to swift.deep.er:X"]),
        (
            {"swift/new.py": "def X(): pass"},
            "changed",
            ["to swift.new:X", "it takes 0 positional arguments, and gets 1"],
        ),
        ({}, "gone", ["there is no module swift.m"]),
        ({"swift/m.py": "from other import X"}, "undecidable", ["it may come from another distribution: other.X"]),
        ({"swift/m.py": "def X(a:"}, "undecidable", ["swift/m.py does not parse (line 1)"]),
    ],
)
def test_verdicts(wheel, files: dict[str, str], word: str, what: list[str]) -> None:  # type: ignore[no-untyped-def]
    contract = Contract("x", "ms-swift", "i", "t", "u", (Part("swift.m:X", ("swift.new:X",), Call(1)),))
    package = Package(open_source(str(wheel(files))))
    made = verdict(contract, "1", [see(package, contract.parts[0].ask)])
    assert (made.word, [p.what for p in made.problems]) == (word, what)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0.", "0.0"),
        ("'a'", "'a'"),
        ('"a"', "'a'"),
        ("[]", "[]"),
        ("field(default=3)", "3"),
        ("field(default_factory=lambda: [])", "[]"),
        ("field(default_factory=dict)", "dict()"),
        ("field()", ""),
        ("field(repr=False)", ""),
        ("Kind.A", "Kind.A"),
    ],
)
def test_defaults_are_spelled_one_way(text: str, wanted: str) -> None:
    assert spelling.default(text) == wanted


def test_nothing_of_a_release_is_run(wheel, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    mark = tmp_path / "ran"
    code = f"open({str(mark)!r}, 'w')\nclass X: pass\n"
    path = wheel({"swift/__init__.py": code, "swift/m.py": code})
    assert see(Package(open_source(str(path))), Ask("swift.m:X")).status == "found"
    assert not mark.exists()
