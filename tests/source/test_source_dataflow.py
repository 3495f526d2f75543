"""The one engine, on values that are the letters which may reach a name."""

import ast
import textwrap

import pytest

from coordexp_audit_lib.source.dataflow import Flow, Summaries


class Letters(Flow[frozenset]):
    """A text is its letters; `sink(x)` notes what reaches it, and under which guards."""

    nothing = frozenset()

    def __init__(self):
        super().__init__()
        self.sunk = []

    def join(self, parts):
        return frozenset().union(*parts)

    def of_Constant(self, node):
        return frozenset(node.value) if isinstance(node.value, str) else self.nothing

    def of_Call(self, node):
        value = self.join(self.value(a) for a in node.args)
        if isinstance(node.func, ast.Name) and node.func.id == "sink":
            self.sunk.append(("".join(sorted(value)), [g.how for g in self.under]))
        return value


FLOWS = {
    "the last binding counts": ("x = 'a'\nx = 'b'\nsink(x)", [("b", [])]),
    "two branches are joined": ("if c:\n  x = 'a'\nelse:\n  x = 'b'\nsink(x)", [("ab", [])]),
    "one branch": ("x = 'a'\nif c:\n  x = 'b'\nsink(x)", [("ab", [])]),
    "a branch that returns does not reach on": ("x = 'a'\nif c:\n  x = 'b'\n  return\nsink(x)", [("a", [])]),
    "a loop's end reaches its beginning": ("x = 'a'\nfor i in y:\n  sink(x)\n  x = 'b'", [("a", []), ("ab", [])]),
    "a loop may not run": ("x = 'a'\nwhile c:\n  x = 'b'\nsink(x)", [("ab", [])]),
    "a handler sees what was there before": (
        "x = 'a'\ntry:\n  x = 'b'\nexcept E:\n  sink(x)\nsink(x)",
        [("ab", []), ("ab", [])],
    ),
    "a handler that raises does not reach on": ("x = 'a'\ntry:\n  x = 'b'\nexcept E:\n  raise\nsink(x)", [("b", [])]),
    "tuples and stars": ("a, (*b, c) = 'x'\nsink(b)", [("x", [])]),
    "an item adds to the whole": ("x = 'a'\nx[0] = 'b'\nsink(x)", [("ab", [])]),
    "a comprehension keeps its names to itself": (
        "x = 'a'\ny = [x for x in 'b']\nsink(x)\nsink(y)",
        [("a", []), ("b", [])],
    ),
    "a walrus": ("if (x := 'a'):\n  sink(x)", [("a", ["branch"])]),
    "a match": ("x = 'a'\nmatch 'q':\n  case 1:\n    x = 'b'\nsink(x)", [("ab", [])]),
    "a with": ("with 'a' as x:\n  sink(x)", [("a", [])]),
    "under a condition": ("if 'q':\n  sink('a')\nsink('b')", [("a", ["branch"]), ("b", [])]),
    "after some have returned": ("if 'q':\n  return\nsink('a')", [("a", ["return"])]),
    "after some have left the round": ("for i in y:\n  if 'q':\n    continue\n  sink('a')\nsink('b')", None),
    "a conditional expression": ("sink('a') if 'q' else 0", [("a", ["branch"])]),
    "a short circuit": ("'q' and sink('a')", [("a", ["branch"])]),
    "an inner function is another matter": ("x = 'a'\ndef f():\n  sink(x)", []),
}


@pytest.mark.parametrize("name", FLOWS)
def test_what_reaches_a_name_and_under_what(name):
    text, expected = FLOWS[name]
    flow = Letters()
    flow.block(ast.parse(textwrap.dedent(text)).body)
    if expected is None:
        expected = [("a", ["skip"])] * flow.rounds + [("b", [])]
    assert flow.sunk == expected


def test_a_sweep_takes_bindings_in_any_order():
    class Weak(Letters):
        def assign(self, name, value, source):
            self.names[name] = self.names.get(name, self.nothing) | value

    flow = Weak()
    flow.sweep(ast.walk(ast.parse("x = 'a'\nx = 'b'\nfor i in 'c': pass\n[k for k in 'd']\n(w := 'e')")))
    assert flow.names == {"x": {*"ab"}, "i": {"c"}, "k": {"d"}, "w": {"e"}}


def test_summaries_only_grow_and_say_when_something_is_new():
    known = Summaries(lambda parts: frozenset().union(*parts), frozenset())
    assert known.give("f", "x", frozenset("a")) and not known.give("f", "x", frozenset("a"))
    assert known.give("f", "x", frozenset("b")) and known.parameter("f", "x") == frozenset("ab")
    assert (
        known.returned("f", frozenset("c")) and known.result("f") == frozenset("c") and known.result("g") == frozenset()
    )
