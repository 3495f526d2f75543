"""What of a tree runs under a config: calls, objects, registries, inheritance, and branches that the config decides."""

import itertools
import textwrap

import pytest

from coordexp_audit_lib.source.reach import (
    Graph,
    Node,
    Program,
    Settings,
    Switch,
    Written,
    schema_defaults,
    written_names,
)
from coordexp_audit_lib.source.reach.settings import NOTHING, Known
from coordexp_audit_lib.source.tree import Tree

HOOKS = {"upstream": frozenset({"_save"})}
SWITCHES = {"variant": Switch("custom.variant")}
HOLDERS = {"config": "", "custom": "custom"}


def graph(tmp_path, files, merged=None, entry="pkg/main.py:main", written=NOTHING):
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(textwrap.dedent(text))
    settings = Settings(merged or {}, {}, SWITCHES, HOLDERS, written)
    path, _, name = entry.partition(":")
    return Graph(Program(Tree(tmp_path)), settings, [Node(path, name)], HOOKS)


def ran(tmp_path, source, merged=None, **rest):
    """Names of one module that run, inner ones and methods included."""
    found = graph(tmp_path, {"pkg/main.py": source}, merged, **rest)
    return {n.name for n in found.parents if n.path == "pkg/main.py" and n.name} - {"main"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(): ...\ndef g(): ...\ndef main(): f()", {"f"}),
        ("def f(): ...\ndef main(): return [f]", {"f"}),  # handed on as a value
        ("def f(): g()\ndef g(): ...\ndef main(): f()", {"f", "g"}),
        ("def main():\n    def inner(): ...\n    def other(): ...\n    inner()", {"main.inner"}),
        ("def f(): ...\ndef main(f): f()", set()),  # a parameter of that name
        ("def f(): ...\ndef main():\n    def g():\n        f = 1\n    f()", {"f"}),  # another function's own name
        ("def f(): ...\ndef main(x: f) -> f: ...", set()),  # an annotation calls nothing
        ("def f(): ...\nTABLE = {'f': f}\ndef main(): ...", set()),  # a table that nobody reads
        ("def f(): ...\nTABLE = {'f': f}\ndef main(): TABLE['f']()", {"f", "TABLE"}),
        ("def f(): ...\n__all__ = ['f']\ndef main(): ...", set()),
        ("def reg(f): return f\n@reg\ndef f(): ...\ndef main(): ...", {"reg", "f"}),  # the decorator may keep it
        ("from functools import lru_cache\n@lru_cache\ndef f(): ...\ndef main(): ...", set()),
        ("def f(): ...\nX = f()\ndef main(): ...", {"f"}),  # at import
        ("def f(): ...\nif __name__ == '__main__':\n    f()\ndef main(): ...", set()),
    ],
)
def test_a_function_runs_where_code_that_runs_names_it(tmp_path, source, expected):
    assert ran(tmp_path, source) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("C()", {"C", "C.__init__", "C.public", "C.asked"}),
        ("C()._private()", {"C", "C.__init__", "C.public", "C.asked", "C._private"}),
        ("getattr(C(), '_private')", {"C", "C.__init__", "C.public", "C.asked", "C._private"}),
        ("isinstance(1, C)", set()),
        ("C", {"C", "C.__init__", "C.public", "C.asked"}),
    ],
)
def test_methods_run_once_objects_are_about(tmp_path, body, expected):
    source = f"""
    class C:
        def __init__(self): self.asked()
        def public(self): ...
        def asked(self): ...
        def _private(self): ...
    def main(): {body}
    """
    assert ran(tmp_path, source) == expected


INHERITED = """
from upstream import Trainer
class Base(Trainer):
    def step(self): self._work()
    def _work(self): ...
    def _save(self): ...
    def _idle(self): ...
class Child(Base):
    def step(self): {step}
    def _work(self): ...
def main(): {made}()
"""


@pytest.mark.parametrize(
    ("made", "step", "runs", "does_not"),
    [
        (
            "Child",
            "self._work()",
            {"Child.step", "Child._work", "Base._save"},
            {"Base.step", "Base._work", "Base._idle"},
        ),
        ("Child", "super().step()", {"Base.step", "Child._work"}, {"Base._work", "Base._idle"}),
        ("Child", "super(Child, self).step()", {"Base.step"}, {"Base._work"}),
        ("Base", "...", {"Base.step", "Base._work", "Base._save"}, {"Child", "Child.step", "Child._work"}),
    ],
)
def test_the_method_that_an_object_finds_first_runs(tmp_path, made, step, runs, does_not):
    found = ran(tmp_path, INHERITED.format(made=made, step=step))
    assert runs <= found
    assert not does_not & found


def test_a_private_method_counts_as_an_override_where_the_base_is_of_an_unlisted_package(tmp_path):
    source = "import other\nclass C(other.Thing):\n    def _hook(self): ...\ndef main(): C()"
    assert "C._hook" in ran(tmp_path, source)
    assert "C._hook" not in ran(tmp_path, source.replace("other", "upstream"))


def test_a_mixin_that_is_handed_about_overrides_what_it_is_joined_with(tmp_path):
    source = """
    class Mixin:
        def compute(self): self._part()
        def _part(self): ...
        def _save(self): ...
        def _idle(self): ...
    def main(base):
        mixins = []
        mixins.append(Mixin)
        type("Joined", (*mixins, base), {})
    """
    assert ran(tmp_path, source) == {"Mixin", "Mixin.compute", "Mixin._part", "Mixin._save"}


def test_names_are_followed_through_imports_and_packages(tmp_path):
    files = {
        "pkg/__init__.py": "",
        "pkg/main.py": "from .sub import thing\nfrom . import far as f\ndef main():\n    thing()\n    f.used()",
        "pkg/sub/__init__.py": "from .deep import thing, other",
        "pkg/sub/deep.py": "def thing(): ...\ndef other(): ...",
        "pkg/far.py": "def used(): ...\ndef idle(): ...\nLIMIT = 3",
        "pkg/alone.py": "def used(): ...",
    }
    found = graph(tmp_path, files)
    assert found.at("pkg/sub/deep.py", symbol="pkg.sub.deep:thing").reached
    assert found.at("pkg/far.py", 1).why == "pkg/main.py:main → used"
    assert found.at("pkg/sub/deep.py", symbol="other").why == "nothing that runs names other"
    assert found.at("pkg/alone.py", 1).why == "nothing that runs imports pkg/alone.py"
    assert found.at("pkg/missing.py", 1).reached is None
    assert found.at("pkg/far.py", symbol="no_such").reached is None
    assert found.at("pkg/far.py", symbol="LIMIT").reached  # set when the module is imported


def test_what_a_base_class_in_another_file_names_in_its_body_runs(tmp_path):
    files = {
        "pkg/main.py": "from pkg.base import Base\nclass C(Base): ...\ndef main(): C()",
        "pkg/base.py": "from pkg.part import make, Part\nclass Base:\n    part: Part = make()\n    other = None",
        "pkg/part.py": "def make(): ...\nclass Part:\n    def __init__(self): ...\ndef idle(): ...",
    }
    found = graph(tmp_path, files)
    assert [found.at("pkg/part.py", symbol=n).reached for n in ("make", "Part.__init__", "idle")] == [True, True, False]
    assert found.at("pkg/part.py", symbol="make").why == "pkg/main.py:main → C → Base → make"


def test_an_import_inside_a_function_counts_once_that_runs(tmp_path):
    files = {
        "pkg/main.py": "def used():\n    import pkg.a\ndef idle():\n    import pkg.b\ndef main(): used()",
        "pkg/a.py": "def f(): ...\nf()",
        "pkg/b.py": "def f(): ...\nf()",
    }
    found = graph(tmp_path, files)
    assert [found.at(f"pkg/{m}.py", symbol="f").reached for m in "ab"] == [True, False]


def test_a_program_that_is_the_entry_runs_its_main_block(tmp_path):
    source = "def f(): ...\ndef g(): ...\nif __name__ == '__main__':\n    f()"
    assert ran(tmp_path, source, entry="pkg/main.py:") == {"f"}


VARIANT = """
def pick(args):
    variant = getattr(args, "variant", None)
    if variant == "two":
        return two()
    elif variant in {"three", "four"}:
        return three()
    return one()
def one(): ...
def two(): ...
def three(): ...
def main(args): pick(args)
"""


@pytest.mark.parametrize(
    ("custom", "expected"),
    [
        ({"variant": "two"}, {"two"}),
        ({"variant": "four"}, {"three"}),
        ({"variant": None}, {"one"}),
        ({}, {"one"}),  # the switch says what a missing key is
        ({"variant": "other"}, {"one"}),
    ],
)
def test_a_switch_of_the_config_leaves_one_branch(tmp_path, custom, expected):
    assert ran(tmp_path, VARIANT, {"custom": custom}) - {"pick"} == expected


@pytest.mark.parametrize(
    ("test", "holds"),
    [
        ("config.custom.on", True),
        ("not config.custom.on", False),
        ("custom.level == 3", True),
        ("custom.level > 3 or custom.off", False),
        ("config.custom.get('on', False) and unknown()", None),
        ("unknown() and config.custom.off", False),
        ("unknown() or config.custom.on", True),
        ("(unknown() or 'a') == 'a'", None),  # which of the two it is, is not known
        ("custom.text.strip().lower() == 'yes'", True),
        ("isinstance(custom.level, int)", True),
        ("isinstance(custom.nothing, str)", False),
        ("custom.nothing is not None", False),
        ("custom.free.get('absent', 'static') == 'static'", True),
        ("custom.free.absent", None),  # an attribute that no key gives may come from anywhere
        ("custom.changed", None),  # somebody assigns to it
        ("custom.free.get('mode') == 'Fast'", True),
        ("model.on", None),  # an object that happens to be called like a section
        ("is_three(custom.level)", True),
        ("bool(custom.free)", True),
        ("1 if custom.on else 0", True),
    ],
)
def test_a_branch_is_left_out_only_where_the_config_decides_it(tmp_path, test, holds):
    custom = {
        "on": True,
        "off": False,
        "level": 3,
        "text": " Yes",
        "nothing": None,
        "free": {"mode": "Fast"},
        "changed": True,
    }
    source = f"""
    def is_three(value):
        return value in (3, "3")
    def a(): ...
    def b(): ...
    def main(config, custom, model, unknown):
        if {test}:
            a()
        else:
            b()
    """
    found = ran(tmp_path, source, {"custom": custom, "model": {"on": False}}, written=Written(frozenset({"changed"})))
    assert found & {"a", "b"} == {True: {"a"}, False: {"b"}, None: {"a", "b"}}[holds]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("if custom.on:\n        return\n    a()", set()),
        ("if custom.on:\n        raise ValueError\n    a()", set()),
        ("if custom.off:\n        return\n    a()", {"a"}),
        ("try:\n        raise ValueError\n    except ValueError:\n        pass\n    a()", {"a"}),
        ("try:\n        return 1\n    finally:\n        pass\n    a()", set()),
        ("for _ in x:\n        continue\n    a()", {"a"}),
        ("with x:\n        raise ValueError\n    a()", {"a"}),  # the manager may swallow it
        ("found = None\n    if custom.off:\n        found = x\n    if found is not None:\n        a()", set()),
        ("found = None\n    if x:\n        found = x\n    if found is not None:\n        a()", {"a"}),
        ("found = []\n    x(found)\n    if found:\n        a()", {"a"}),  # filled meanwhile
        (
            "try:\n        import y\n    except ImportError:\n        y = None\n    if y is not None:\n        a()",
            {"a"},
        ),
        ("n = 0\n    for _ in x:\n        n += 1\n    if n:\n        a()", {"a"}),
        ("f = None\n    def set_f():\n        nonlocal f\n        f = 1\n    if f:\n        a()", {"a"}),
    ],
)
def test_what_stands_behind_an_exit_does_not_run(tmp_path, body, expected):
    source = f"def a(): ...\ndef main(custom, x):\n    {body}\n"
    assert ran(tmp_path, source, {"custom": {"on": True, "off": False}}) & {"a"} == expected


def test_a_line_in_a_branch_that_does_not_run_says_what_decides(tmp_path):
    source = "def main(custom):\n    if custom.on:\n        x = 1\n    else:\n        x = 2\n    return x\n"
    found = graph(tmp_path, {"pkg/main.py": source}, {"custom": {"on": True}})
    assert found.at("pkg/main.py", 3).reached
    assert found.at("pkg/main.py", 5).why == "line 5 does not run: custom.on is True"


def test_a_schema_gives_the_values_that_a_config_leaves_out(tmp_path):
    (tmp_path / "schema.py").write_text(
        textwrap.dedent("""
        from dataclasses import dataclass, field
        from typing import Optional
        @dataclass
        class Inner:
            on: bool = False
            other: bool = False
            @classmethod
            def from_mapping(cls, data):
                return cls(data.get("on", False), data.get("other", True))
        @dataclass
        class Whole:
            name: str
            level: int = 3
            inner: Inner = field(default_factory=Inner)
            maybe: Optional[Inner] = None
        """)
    )
    defaults = schema_defaults(Program(Tree(tmp_path)), Node("schema.py", "Whole"))
    settings = Settings({"inner": {}}, defaults, holders={"config": ""})
    known = {c: settings.of(("config", *c.split("."))) for c in ("level", "inner", "inner.on", "inner.other", "name")}
    assert known["level"].value == 3
    assert known["inner"].value
    assert known["inner.on"].value is False
    assert repr(known["inner.other"]) == "unknown"  # the parser takes another default than the class
    assert repr(known["name"]) == "unknown"
    assert repr(settings.of(("config", "maybe"))) == "unknown"  # the parser may make one all the same


def test_a_text_that_a_parser_may_write_otherwise_is_not_known():
    settings = Settings(
        {"inner": {"mode": "VLLM", "other": "hf"}, "variant": "A"},
        {"inner.mode": "hf"},
        {"v": Switch("variant")},
        {"c": ""},
    )
    assert repr(settings.of(("c", "inner", "mode"))) == "unknown"
    assert settings.of(("c", "inner", "other")).value == "hf"
    assert repr(settings.of(("v",))) == "unknown"


def test_names_that_code_assigns_to_are_told_but_not_those_of_an_object_itself(tmp_path):
    source = """
    def f(self, x):
        x.a = 1
        x["b"] = setattr(x, "c", 3)
        x.update({"d": 4}, e=5)
        set_it(x, "h", 7)
        replace(x, i=8)
        del x["j"]
        x.pop("k")
        self.g = 6
    """
    (tmp_path / "a.py").write_text(textwrap.dedent(source))
    assert written_names(Program(Tree(tmp_path)), ["a.py"]) == Written(frozenset("achi"), frozenset("bdejk"))


@pytest.mark.parametrize(
    ("written", "known"),
    [
        (Written(keys=frozenset({"on"})), True),  # some mapping's key of that name is no field of a typed object
        (Written(attributes=frozenset({"on"})), False),
    ],
)
def test_a_key_that_is_written_to_a_mapping_leaves_a_typed_field_as_it_is(written, known):
    settings = Settings({"inner": {}}, {"inner.on": False}, holders={"config": ""}, written=written)
    assert repr(settings.of(("config", "inner", "on"))) == ("unknown" if not known else repr(Known(False, SAID)))
    mapping = Settings({"inner": {"on": False}}, {}, holders={"config": ""}, written=written)
    assert repr(mapping.of(("config", "inner", "on"))) == "unknown"


SAID = "inner.on is False by default"
PLANS = """
from dataclasses import dataclass
RENAMED = {{"old": "second"}}
@dataclass(frozen=True)
class Plan:
    name: str
    packs: bool
    owner: str | None = None
def plan_of(variant):
    \"\"\"Which plan.\"\"\"
    name = str(variant or "")
    other = RENAMED.get(name)
    if other is not None:
        raise ValueError(f"use {{other}}")
    if name == "second":
        return _second(name=name)
    return Plan(name=name, packs=True)
def _second(*, name):
    return Plan(name=name, packs=False, owner="trainer")
def owned(variant):
    plan = plan_of(variant)
    return plan.owner is not None
def a(): ...
def b(): ...
def main(config, unknown):
    variant = getattr(config, "variant", None)
    plan = plan_of(variant)
    is_owned = owned(variant)
    alias = is_owned
    if {test}:
        a()
    else:
        b()
"""


@pytest.mark.parametrize(
    "test", ["is_owned", "alias", "plan.owner is not None", "not plan.packs", "config.on and alias"]
)
@pytest.mark.parametrize(("variant", "runs"), [("second", "a"), (None, "b"), ("first", "b")])
def test_a_branch_on_what_small_functions_make_of_the_config_is_decided(tmp_path, test, variant, runs):
    custom = {"on": True} if variant is None else {"on": True, "variant": variant}
    merged = {"on": True, "custom": custom}
    assert ran(tmp_path, PLANS.format(test=test), merged) & {"a", "b"} == {runs}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('    name = str(variant or "")', '    name = str(variant or "")\n    for name in variant: ...'),  # a loop
        ("    packs: bool\n", "    packs: bool\n    def __post_init__(self): self.owner = 1\n"),  # made by code
        ('    if name == "second"', "    if unknown(name):\n        return None\n    if name == 'second'"),
        ("def owned(variant):", "@unknown\ndef owned(variant):"),
    ],
)
def test_a_function_that_is_not_small_decides_nothing(tmp_path, before, after):
    source = PLANS.format(test="is_owned")
    assert before in source
    found = ran(tmp_path, source.replace(before, after), {"custom": {"variant": "second"}})
    assert found & {"a", "b"} == {"a", "b"}


MODES = """
def read(text, *, mode, order="plain"):
    return _scan(text)
def _scan(text): ...
def reread(text, mode="strict"):
    return read(text, mode=mode)
def builder(): reread("x")
def trainer(): {call}
def main(custom):
    builder()
    if custom.on:
        trainer()
"""


@pytest.mark.parametrize(
    ("call", "on", "path"),
    [
        ('read("x", mode="salvage")', True, "main → trainer → read → _scan"),
        ('reread("x", "salvage")', True, "main → trainer → reread → read → _scan"),
        ('read("x", mode=input())', True, "main → trainer → read → _scan"),  # it may be
        ('read("x", mode="strict")', True, ""),
        ('read("x", mode="salvage")', False, ""),
    ],
)
def test_a_call_is_told_by_its_arguments(tmp_path, call, on, path):
    found = graph(tmp_path, {"pkg/main.py": MODES.format(call=call)}, {"custom": {"on": on}})
    read, scan = Node("pkg/main.py", "read"), Node("pkg/main.py", "_scan")
    assert found.through([read], {"mode": "salvage"}, scan) == (path and f"pkg/main.py:{path}")
    assert found.through([read], {"order": "other"}, scan) == ""
    assert found.through([read], {}) == found.path_to(read)


def test_a_file_that_does_not_parse_is_not_known_and_breaks_nothing(tmp_path):
    files = {"pkg/main.py": "import pkg.bad\nfrom pkg.bad import f\ndef main(): f()", "pkg/bad.py": "def f(:"}
    found = graph(tmp_path, files)
    assert found.at("pkg/main.py", 3).reached
    assert found.at("pkg/bad.py", 1).reached is None


def test_a_long_path_is_shown_in_short(tmp_path):
    names = "abcdefghij"
    chain = "\n".join(f"def {a}(): {b}()" for a, b in itertools.pairwise(names))
    found = graph(tmp_path, {"pkg/main.py": f"{chain}\ndef j(): ...\ndef main(): a()"})
    assert found.at("pkg/main.py", symbol="j").why == "pkg/main.py:main → a → b → … → h → i → j"


def test_a_path_begins_with_who_starts_it_and_names_a_class_with_its_method(tmp_path):
    (tmp_path / "m.py").write_text("class C:\n    def __init__(self): f()\ndef f(): ...\ndef main(): C()")
    started = {Node("m.py", "main"): "run.sh", Node("m.py", "f"): "other.sh"}
    found = Graph(Program(Tree(tmp_path)), Settings({}), started)
    assert found.at("m.py", symbol="f").why == "run.sh → m.py:main → C.__init__ → f"


def test_cycles_of_imports_bases_and_values_end(tmp_path):
    files = {
        "pkg/main.py": "from pkg.b import X\nclass A(X): ...\ndef main():\n    v = w\n    w = v\n    if v:\n        A",
        "pkg/b.py": "from pkg.main import A\nfrom pkg.b import X as Y\nclass X(A): ...",
    }
    assert graph(tmp_path, files).at("pkg/main.py", symbol="A").reached


def test_a_package_that_loads_a_module_of_its_own_name_hands_out_its_names(tmp_path):
    files = {
        "pkg/main.py": "def main():\n    from pkg.part import Thing\n    Thing()",
        "pkg/part/__init__.py": """
            import importlib.util
            from pathlib import Path
            PATH = Path(__file__).resolve().parents[1] / "part.py"
            SPEC = importlib.util.spec_from_file_location("part", PATH)
            def __getattr__(name):
                return getattr(SPEC, name)
        """,
        "pkg/part.py": "from .part.inner import f\nclass Thing:\n    def __init__(self): f()",
        "pkg/part/inner.py": "def f(): ...\ndef g(): ...",
    }
    found = graph(tmp_path, files)
    assert found.at("pkg/part.py", symbol="Thing.__init__").reached
    assert [found.at("pkg/part/inner.py", symbol=name).reached for name in "fg"] == [True, False]


def test_names_that_are_given_as_text_are_followed(tmp_path):
    files = {
        "pkg/main.py": """
            import importlib
            FACTORY = "pkg.made:build"
            class C:
                def _a(self): ...
                def _b(self): ...
                def _c(self): ...
            def main(which):
                importlib.import_module("pkg.plugin")
                for name in ("_a", "_b"):
                    getattr(C(), name)
                load(FACTORY)
        """,
        "pkg/made.py": "def build(): ...\ndef idle(): ...",
        "pkg/plugin.py": "def f(): ...\nf()",
    }
    found = graph(tmp_path, files)
    assert [found.at("pkg/main.py", symbol=f"C._{m}").reached for m in "abc"] == [True, True, False]
    assert found.at("pkg/plugin.py", symbol="f").reached
    assert [found.at("pkg/made.py", symbol=name).reached for name in ("build", "idle")] == [True, False]


def test_a_mixin_may_override_what_a_class_of_the_tree_calls_on_itself(tmp_path):
    source = """
    class Base:
        def run(self): self._step()
        def _step(self): ...
    class Mixin:
        def _step(self): ...
        def _idle(self): ...
    def main(): type("Joined", (Mixin, Base), {})
    """
    assert ran(tmp_path, source) == {"Base", "Base.run", "Base._step", "Mixin", "Mixin._step"}


def test_a_decorator_of_the_tree_may_keep_the_function_whatever_it_is_called(tmp_path):
    source = "def cache(f): return f\n@cache\ndef f(): ...\ndef main(): ..."
    assert ran(tmp_path, source) == {"cache", "f"}
