"""Text and tables: whatever a target says is shown, never obeyed."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest

from coordexp_audit_lib.report.latex import escape, named
from coordexp_audit_lib.report.tables import MAX_CELL, Table, read_html
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
    table = Table(("word", *hostile_words[:1]), [(w, w) for w in hostile_words], caption=hostile_words[0])
    seen = Tags(table.html())
    assert seen.tags == {"table", "caption", "colgroup", "col", "thead", "tbody", "tr", "th", "td", "wbr"}
    assert seen.attributes == {"class", "scope", "style"}
    assert all(re.fullmatch(r"width:[0-9.]+%", style) for style in seen.styles)
    for word in hostile_words:
        assert visible(word) in seen.words
        assert visible(word) in table.text()
    assert set(table._repr_mimebundle_()) == {"text/plain", "text/html", "text/latex"}
    assert "\x1b" not in table.text() + table.html() + table.latex()


def test_latex_commands_in_a_table_are_ours_alone(hostile_words: tuple[str, ...]) -> None:
    latex = Table(("word",), [(w,) for w in hostile_words]).latex()
    for command in (r"\input", r"\write18", r"\end{sphinxVerbatim}", r"\frac", "$"):
        assert command not in latex.replace(r"\$", "")
    assert latex.count(r"\end{longtable}") == 1


def test_a_table_can_be_read_back_and_nothing_else_passes_for_one(hostile_words: tuple[str, ...]) -> None:
    table = Table(("a", "b"), [(w, "held") for w in (*hostile_words, "x" * 5000, "-1.5")], caption="c <b>")
    again = read_html(table.html())
    assert again is not None
    assert (again.header, again.rows, again.caption) == (table.header, table.rows, table.caption)
    for other in (
        "<b>bold</b>",
        "",
        table.html() + "<script>1</script>",
        table.html().replace("<td", "<td onclick=x", 1),
        table.html().replace("</td>", "<img src=x></td>", 1),
        html.unescape(table.html()),
        "<table>" + table.html().removeprefix('<table class="audit">'),
    ):
        assert read_html(other) is None


def test_cells_and_rows_have_limits() -> None:
    assert len(Table(("a",), [("x" * 10_000,)]).rows[0][0]) == MAX_CELL
    with pytest.raises(ValueError, match="2 cells, the header 1"):
        Table(("a",), [(1, 2)])
    with pytest.raises(ValueError, match="at least one column"):
        Table((), [])


@pytest.mark.parametrize(
    "rows", [[("a", "b")], [("x" * 600, "y")], [("id", "word " * 100)], [("a/b/c_d" * 10, "0123456789abcdef")], []]
)
def test_columns_share_at_most_the_line(rows: list[tuple[str, str]]) -> None:
    shares = Table(("first", "second"), rows).shares()
    assert sum(shares) <= 1.0001
    assert min(shares) > 0.04


def test_long_paths_may_be_broken_where_a_reader_expects_it() -> None:
    made = Table(("where",), [("src/data_sets/a.py:12",)]).html()
    assert "<td>src/<wbr>data_<wbr>sets/<wbr>a.<wbr>py:12</td>" in made
