"""Text and tables: whatever a target says is shown, never obeyed."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from coordexp_audit_lib.report.latex import escape, named
from coordexp_audit_lib.report.tables import (
    MAX_CELL,
    RESOURCE,
    bundle,
    from_bundle,
    plain,
    presentable,
    shares,
    show_frames,
    table,
    to_html,
    to_latex,
)
from coordexp_audit_lib.report.text import cut, printable, shown, visible


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, ünïcode 中文 😀", "plain, ünïcode 中文 😀"),
        ("a\nb\tc\r", "a⏎b⇥c␍"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\u202egnp\u2066\u200b\ufeff\u2028\x85", "\\u202egnp\\u2066\\u200b\\ufeff\\u2028\\x85"),
        ("\ud800\x00\x7f\U000e0041", "\\ud800\\x00\\x7f\\U000e0041"),
        ("\u3164\u2800\u00a0\ufe0f", "\\u3164\\u2800\\xa0\\ufe0f"),
        ("\u0301x", "\\u0301x"),
        ("e\u0301" + "\u0302" * 4, "e\u0301\u0302\u0302\\u0302\\u0302"),
        (None, "None"),
    ],
)
def test_unseen_characters_are_shown(text: object, expected: str) -> None:
    assert visible(text) == expected
    assert visible(expected) == expected


def test_printable_keeps_line_breaks_only() -> None:
    assert printable("a\n\tb\r\n\x1b[1m\u2028") == "a\n    b␍\n\\x1b[1m\\u2028"


def test_values_are_shown_as_json_and_cut() -> None:
    assert shown({"b": [1, None], "a": "x"}) == '{"a": "x", "b": [1, null]}'
    assert shown("x" * 1000) == cut("x" * 1000, 400)
    assert len(cut("x" * 1000, 400)) == 400
    assert cut("x" * 1000, 400).endswith("… (of 1000 characters)")
    assert cut(cut("x" * 1000, 400), 400) == cut("x" * 1000, 400)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100% & #1 {x} ~ ^", r"100\% \& \#1 \{x\} \textasciitilde{} \textasciicircum{}"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("* [x]", r"{*} {[}x{]}"),
        ("中 é", r"\textbackslash{}u4e2d é"),
        ("a  b", "a \\ b"),
    ],
)
def test_latex_prints_the_text_itself(text: str, expected: str) -> None:
    bare = escape(text).replace(r"\penalty100{}", "").replace(r"\penalty5000{}", "")
    assert bare == expected


def test_long_words_can_be_broken() -> None:
    assert r"\penalty100{}" in escape("a/b")
    assert r"\penalty5000{}" in escape("0123456789abcdef")
    assert r"\penalty" not in escape("a few short words")


def test_characters_without_a_glyph_are_named() -> None:
    assert named("ok 中\n😀") == "ok \\u4e2d\n\\U0001f600"


class Tags(HTMLParser):
    """The tags that a browser would see, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.styles: set[str] = set()
        self.words: list[str] = [""]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.styles |= {value or "" for name, value in attrs if name == "style"}
        if tag != "wbr":  # a place where a browser may break a word, not an end of it
            self.words.append("")

    def handle_data(self, data: str) -> None:
        self.words[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.words.append("")


def test_a_table_holds_hostile_words_as_text(hostile_words: tuple[str, ...]) -> None:
    frame = table(("word", hostile_words[0]), [(w, w) for w in hostile_words], caption=hostile_words[0])
    seen = Tags(to_html(frame))
    assert seen.tags == {"table", "caption", "colgroup", "col", "thead", "tbody", "tr", "th", "td", "wbr"}
    assert seen.attributes == {"class", "scope", "style", "data-label"}
    assert all(re.fullmatch(r"width:[0-9.]+%", style) for style in seen.styles)
    for word in hostile_words:
        assert visible(word) in seen.words
        assert visible(word) in plain(frame)
    assert set(bundle(frame)) == {"text/plain", "text/html", RESOURCE}
    assert "\x1b" not in plain(frame) + to_html(frame) + to_latex(frame)


def test_any_frame_is_escaped_also_one_that_a_reader_made(hostile_words: tuple[str, ...]) -> None:
    words = [w for w in hostile_words if "\ud800" not in w]  # pandas itself refuses a lone surrogate
    made = pd.DataFrame({"word": words, "n": range(len(words))}).groupby("word").sum()
    assert Tags(to_html(made)).tags <= {"table", "thead", "tbody", "tr", "th", "td", "wbr", "colgroup", "col"}
    assert all(visible(word) in Tags(to_html(made)).words for word in words)


def test_latex_commands_in_a_table_are_ours_alone(hostile_words: tuple[str, ...]) -> None:
    latex = to_latex(table(("word",), [(w,) for w in hostile_words]))
    for command in (r"\input", r"\write18", r"\end{sphinxVerbatim}", r"\frac", "$"):
        assert command not in latex.replace(r"\$", "")
    assert latex.count(r"\end{longtable}") == 1


def test_a_table_is_kept_as_data_and_nothing_else_passes_for_one(hostile_words: tuple[str, ...]) -> None:
    rows = [(w, "held", 1, 0.5) for w in (*hostile_words, "x" * 5000, "-1.5", None)]
    frame = table(("a", "status", "n", "share"), rows, caption="c <b>")
    again = from_bundle(json.loads(json.dumps(bundle(frame)[RESOURCE])))
    assert (to_html(again), to_latex(again), plain(again)) == (to_html(frame), to_latex(frame), plain(frame))
    for other in ({}, [], "<table>", {"schema": {"fields": [{"name": "a"}]}, "data": "x"}, {"schema": {}, "data": [1]}):
        with pytest.raises(ValueError):
            from_bundle(other)


def test_columns_are_typed_and_missing_values_have_one_sign() -> None:
    rows = [("P1", 1, 0.25, [1, 2], True), ("P0", "-", None, {"a": "b"}, False)]
    frame = table(("severity", "n", "share", "value", "seen"), rows)
    kinds = ["category", "Int64", "float64", "object", "bool"]
    assert [str(t) for t in frame.dtypes] == kinds and frame.severity.min() == "P0"
    assert plain(frame).splitlines()[2:] == [
        "P1          1    0.25     [1, 2]      yes",
        'P0          -    -        {"a": "b"}  no',
    ]
    assert plain(frame[frame.n > 5]).splitlines()[2].split() == ["none", "-", "-", "-", "-"]


def test_cells_and_rows_have_limits() -> None:
    assert len(presentable(table(("a",), [("x" * 10_000,)])).iloc[0, 0]) == MAX_CELL
    with pytest.raises(ValueError, match="2 cells, the header 1"):
        table(("a",), [(1, 2)])
    for header in ((), ("a", "a")):
        with pytest.raises(ValueError, match="a name each"):
            table(header, [])


@pytest.mark.parametrize(
    "rows", [[("a", "b")], [("x" * 600, "y")], [("id", "word " * 100)], [("a/b/c_d" * 10, "0123456789abcdef")], []]
)
def test_columns_share_at_most_the_line(rows: list[tuple[str, str]]) -> None:
    found = shares(presentable(table(("first", "second"), rows)))
    assert sum(found) <= 1.0001
    assert min(found) > 0.04


def test_long_paths_may_be_broken_where_a_reader_expects_it_and_numbers_never() -> None:
    made = table(("where", "share"), [("src/data_sets/a.py:12", -0.125)])
    assert ">src/<wbr>data_<wbr>sets/<wbr>a.<wbr>py:12</td>" in to_html(made)
    assert ">-0.125</td>" in to_html(made) and "{-}0.125 " in to_latex(made)


def test_a_notebook_shows_every_frame_so_and_keeps_it_as_data() -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    try:
        show_frames()
        data, _ = shell.display_formatter.format(pd.DataFrame({"said": ["<b>bold</b>"]}))
    finally:
        InteractiveShell.clear_instance()
    assert RESOURCE in data and "<b>" not in data["text/html"]
