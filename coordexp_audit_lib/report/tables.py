"""Tables and texts that a notebook shows: plain text, HTML and LaTeX of one content, each escaped for its medium.

Whatever a target, a dataset or a config said is text here: it can't become markup in the book.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from coordexp_audit_lib.report.latex import escape as latex_escape
from coordexp_audit_lib.report.text import visible


class Table:
    """A table with a header. Cells are anything with a `str`; markup in them is shown, never obeyed.

    Args:
        header: column names. rows: one sequence per row, as long as the header.
        caption: a line above the table; empty for none.
    """

    def __init__(self, header: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> None:
        self.header = [visible(h) for h in header]
        self.rows = [[visible(c) for c in row] for row in rows]
        self.caption = visible(caption)
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
        head = "".join(f"<th>{html.escape(h)}</th>" for h in self.header)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in self.rows)
        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        return f'<table class="audit">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'

    def latex(self) -> str:
        """A `longtable` whose columns share the line width in proportion to their text."""
        weights = [
            min(60, max([len(self.header[i]), *(len(r[i]) for r in self.rows)])) + 4 for i in range(len(self.header))
        ]
        spec = "".join(
            rf">{{\raggedright\arraybackslash}}p{{{0.94 * w / sum(weights):.3f}\linewidth}}" for w in weights
        )
        lines = [" & ".join(rf"\textbf{{{latex_escape(h)}}}" for h in self.header) + r" \\ \hline \endhead"]
        lines += [" & ".join(latex_escape(c) for c in row) + r" \\" for row in self.rows]
        title = rf"\noindent\textit{{{latex_escape(self.caption)}}}" + "\n\n" if self.caption else ""
        return (
            title
            + rf"{{\footnotesize\setlength{{\tabcolsep}}{{3pt}}\begin{{longtable}}{{{spec}}}"
            + "\n"
            + "\n".join(lines)
            + "\n"
            + r"\end{longtable}}"
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": self.text(), "text/html": self.html(), "text/latex": self.latex()}
