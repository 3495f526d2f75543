"""Tables that a notebook shows: plain text, HTML and LaTeX of one content, each escaped for its medium.

Whatever a target, a dataset or a config said is text here: it can't become markup in the book.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

from coordexp_audit_lib.core.finding import STATUSES
from coordexp_audit_lib.report.latex import escape as latex_escape
from coordexp_audit_lib.report.text import cut, visible

MAX_CELL = 600  # characters; a longer cell would not fit a page of the PDF, which can't break a row

# Measured for \footnotesize on the book's text width.
_LINE = 108  # characters of average width
_NARROWEST, _WIDEST_WORD = 5, 18
_WIDE = 0.999  # a table whose columns take the whole line has more text than fits
_BREAK = re.compile(r"(?<=\w)([_./:]+)(?=[^\W\d])")  # where a path, a key or a symbol may go on in the next line


class Table:
    """A table with a header. Cells are anything with a `str`; markup in them is shown, never obeyed.

    Args:
        header: column names. rows: one sequence per row, as long as the header.
        caption: a line above the table; empty for none.
    """

    def __init__(self, header: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> None:
        self.header = [_cell(h) for h in header]
        self.rows = [[_cell(c) for c in row] for row in rows]
        self.caption = _cell(caption)
        if not self.header:
            raise ValueError("a table needs at least one column")
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"a row has {len(row)} cells, the header {len(self.header)}: {row}")

    def text(self) -> str:
        """Aligned columns, one row a line."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.header))]
        drawn = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines]
        rule = "  ".join("-" * w for w in widths)
        return "\n".join([*([self.caption] if self.caption else []), drawn[0], rule, *drawn[1:]])

    def html(self) -> str:
        """A `table` of class `audit`, with the widths of `shares` where it is wide; a status has itself as class."""
        head = "".join(f'<th scope="col">{_broken(h)}</th>' for h in self.header)
        body = "".join("<tr>" + "".join(map(_data, row)) + "</tr>\n" for row in self.rows)
        caption = f"<caption>{_broken(self.caption)}</caption>\n" if self.caption else ""
        shares = self.shares()
        widths = "".join(f'<col style="width:{100 * share:.1f}%">' for share in shares) if sum(shares) > _WIDE else ""
        columns = f"<colgroup>{widths}</colgroup>\n" if widths else ""
        kind = "audit wide" if widths else "audit"
        return (
            f'<table class="{kind}">{caption}{columns}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>'
        )

    def latex(self) -> str:
        """A `longtable` (packages `longtable`, `array`) that is as wide as it needs, at most the line."""
        columns = "".join(
            rf">{{\raggedright\arraybackslash}}p{{\dimexpr {share:.4f}\linewidth-2\tabcolsep\relax}}"
            for share in self.shares()
        )
        head = " & ".join(rf"\textbf{{{latex_escape(h)}}}" for h in self.header) + r" \\ \hline"
        caption = rf"{{@{{}}p{{\linewidth}}@{{}}}}{{\textit{{{latex_escape(self.caption)}}}}} \\[2pt]"
        return "\n".join(
            [
                r"{\footnotesize\setlength{\LTpre}{3pt}\setlength{\LTpost}{6pt}%",
                r"\setlength{\tabcolsep}{3pt}\renewcommand{\arraystretch}{1.15}%",
                r"\setlength{\LTleft}{0pt}\setlength{\LTright}{\fill}%",
                rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}",
                *([rf"\multicolumn{{{len(self.header)}}}{caption}"] if self.caption else []),
                rf"\hline {head} \endfirsthead",
                rf"\hline {head} \endhead",
                r"\hline \endfoot",
                *(" & ".join(latex_escape(c) for c in row) + r" \\" for row in self.rows),
                r"\end{longtable}}",
            ]
        )

    def shares(self) -> list[float]:
        """The columns' shares of the line: what each needs where that fits, else words first and then fairly."""
        columns = list(zip(self.header, *self.rows, strict=True))
        longest = [max(_NARROWEST, *(_ems(c) for c in column)) for column in columns]
        if sum(longest) <= _LINE:
            return [wide / _LINE for wide in longest]
        words = [min(_WIDEST_WORD, max(_NARROWEST, *(len(w) for c in column for w in _words(c)))) for column in columns]
        # The square root keeps a column of essays from starving those of sentences.
        wants = [(wide - word) ** 0.5 if wide > word else 0.0 for wide, word in zip(longest, words, strict=True)]
        spare = max(0.0, _LINE - sum(words))
        given = [word + spare * want / (sum(wants) or 1) for word, want in zip(words, wants, strict=True)]
        return [wide / sum(given) for wide in given]

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": self.text(), "text/html": self.html(), "text/latex": self.latex()}


def read_html(text: str) -> Table | None:
    """The table whose `html()` is exactly `text`; None if there is none, so that nothing else passes for one."""
    parser = _Reader()
    try:
        parser.feed(text)
        parser.close()
        table = Table(parser.header, parser.rows, parser.caption)
    except ValueError:
        return None
    return table if table.html() == text else None


class _Reader(HTMLParser):
    """Collects cells; it need not be strict, because what it collected must give the same HTML again."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.header: list[str] = []
        self.rows: list[list[str]] = []
        self.caption = ""
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "wbr":
            return
        self._text = ""
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "th":
            self.header.append(self._text)
        elif tag == "td" and self.rows:
            self.rows[-1].append(self._text)
        elif tag == "caption":
            self.caption = self._text
        elif tag == "thead":
            self.rows.clear()


def _cell(value: Any) -> str:
    return cut(visible(value), MAX_CELL)


def _broken(cell: str) -> str:
    """Escaped text with places where a browser may break it."""
    return "<wbr>".join(html.escape(part) for part in _BREAK.sub("\\1\0", cell).split("\0"))


def _data(cell: str) -> str:
    if cell in STATUSES:
        return f'<td class="{cell}">{cell}</td>'
    number = ' class="number"' if cell.lstrip("-").replace(".", "", 1).isdecimal() else ""
    return f"<td{number}>{_broken(cell)}</td>"


def _ems(cell: str) -> float:
    """The width of a cell on one line, in characters of average width."""
    return len(cell) + 1.5


def _words(cell: str) -> list[str]:
    """The pieces of a cell between places where LaTeX may break it."""
    for c in "_./:,;=()[]{}<>|-+&":
        cell = cell.replace(c, f"{c} ")
    return cell.split()
