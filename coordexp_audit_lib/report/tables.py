"""Tables are data frames, and this is how they are shown: by one Styler, escaped for HTML, LaTeX or a terminal.

Whatever a target, a dataset or a config said is text here: it can't become markup in a notebook or the book. A notebook
keeps a table as data too (JSON Table Schema), and the book makes its HTML and LaTeX of that data, never of kept markup.
"""

from __future__ import annotations

import html
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from coordexp_audit_lib.core.finding import AUTHORITIES, REACHES, SEVERITIES, STATUSES
from coordexp_audit_lib.report.latex import escape as latex_escape
from coordexp_audit_lib.report.sources import PACKAGE
from coordexp_audit_lib.report.text import breakable, cut, shown, visible

if TYPE_CHECKING:
    import pandas as pd

RESOURCE = "application/vnd.dataresource+json"  # a table as data: JSON Table Schema
MAX_CELL = 600  # characters; a longer cell would not fit a page of the PDF, which can't break a row
NOTHING = "-"  # in place of a missing value
CAPTION = "caption"  # the key of a frame's `attrs`

# Columns of these names hold words of a closed list, in this order.
WORDS: dict[str, Sequence[str]] = {
    "severity": SEVERITIES,
    "status": STATUSES,
    "authority": AUTHORITIES,
    "reach": REACHES,
    "kind": ("B", "S", "A"),
}

# Measured for \footnotesize on the book's text width.
_LINE = 108  # characters of average width
_NARROWEST, _WIDEST_WORD = 5, 18
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?")
_WIDE = 0.999  # a table whose columns take the whole line has more text than fits


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> pd.DataFrame:
    """A frame with these columns, typed: numbers are numbers, `severity`, `status` and the like ordered categories.

    Args:
        header: column names, each once. rows: one sequence per row, as long as the header; None and "-" are missing
        values. caption: a line above the table; empty for none.

    Raises:
        ValueError: there is no column, two have one name, or a row has another length.
    """
    import pandas as pd

    names = [_given(str(h)) for h in header]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"a table needs columns with a name each, not {names}")
    for row in rows:
        if len(row) != len(names):
            raise ValueError(f"a row has {len(row)} cells, the header {len(names)}: {row}")
    columns = {}
    for n, name in enumerate(names):
        values = [_given(row[n]) for row in rows]
        columns[name] = pd.Series(values, dtype=_dtype(name, values))
    return captioned(pd.DataFrame(columns), caption)


def captioned(frame: pd.DataFrame, caption: str) -> pd.DataFrame:
    """The frame, which from here on is shown with the line above it."""
    if caption:
        frame.attrs[CAPTION] = caption
    return frame


def _given(cell: Any) -> Any:
    """A cell as a column holds it: UTF-8, which a text from outside need not be, and no sign where nothing is."""
    if not isinstance(cell, str):
        return cell
    return None if cell == NOTHING else cell.encode("utf-8", "backslashreplace").decode("utf-8")


def _dtype(name: str, values: Sequence[Any]) -> Any:
    """The type of a column: pandas' own guess, but for words of a closed list, whole numbers with gaps, and no rows."""
    import pandas as pd

    known = [v for v in values if v is not None]
    if name in WORDS and all(isinstance(v, str) and v in WORDS[name] for v in known):
        return pd.CategoricalDtype(list(WORDS[name]), ordered=True)
    if known and len(known) < len(values) and all(type(v) is int for v in known):
        return "Int64"
    return None if known else "str"


def text(header: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """Aligned columns, one row a line, for a terminal."""
    from tabulate import tabulate

    cells = [[_cell(c) for c in row] for row in rows]
    drawn = tabulate(cells, [_cell(h) for h in header], tablefmt="simple", disable_numparse=True)
    lines = [_cell(caption)] if caption else []
    return "\n".join([*lines, *(line.rstrip() for line in drawn.splitlines())])


def plain(frame: pd.DataFrame) -> str:
    """A frame for a terminal."""
    made = presentable(frame)
    return text(list(made.columns), made.to_numpy(dtype=object).tolist(), frame.attrs.get(CAPTION, ""))


def presentable(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as it is shown: numbers rounded to six digits, anything else as text of at most `MAX_CELL` characters
    that can be seen, an index that means something as columns, and an empty frame as a row that says so."""
    import pandas as pd

    flat = frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()
    names = [" / ".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in flat.columns]
    columns: dict[str, pd.Series[Any]] = {}
    for n, name in enumerate(names):
        values = [None if _missing(v) else v for v in flat.iloc[:, n].astype(object).tolist()]
        columns[name if name not in columns else f"{name} ({n})"] = _shown(values)
    made = pd.DataFrame(columns)
    if made.empty and names:
        made = pd.DataFrame([{name: "none" if not n else None for n, name in enumerate(columns)}], dtype="str")
    return captioned(made, frame.attrs.get(CAPTION, ""))


def _shown(values: list[Any]) -> Any:
    """A column as it is shown."""
    import pandas as pd

    known = [v for v in values if v is not None]
    if known and all(isinstance(v, int) and not isinstance(v, bool) and v.bit_length() < 63 for v in known):
        return pd.Series(values, dtype="Int64")
    if known and all(isinstance(v, float) and math.isfinite(v) for v in known):
        return pd.Series([None if v is None else float(f"{v:.6g}") for v in values], dtype="Float64")
    return pd.Series([None if v is None else _cell(v) for v in values], dtype="str")


def styled(frame: pd.DataFrame, escape: Callable[[str], str]) -> Any:
    """The one Styler of every table: of a frame as `presentable` makes it, each text through `escape`."""
    styler = _styler()(frame).hide(axis="index")
    styler = styler.format(lambda value: escape(_cell(value))).format_index(lambda name: escape(_cell(name)), axis=1)
    caption = frame.attrs.get(CAPTION, "")
    return styler.set_caption(escape(_cell(caption))) if caption else styler


@cache
def _styler() -> Any:
    from pandas.io.formats.style import Styler

    return Styler.from_custom_template(str(PACKAGE / "resources"), html_table="table.html.jinja")


def to_html(frame: pd.DataFrame) -> str:
    """A `table` of class `audit`, with the widths of `shares` where it is wide; a status has itself as class."""
    made = presentable(frame)
    widths = shares(made)
    wide = widths if sum(widths) > _WIDE else []
    labels = [html.escape(_cell(name)) for name in made.columns]
    told = {"widths": wide, "labels": labels, "classes": _classes, "exclude_styles": True}
    return str(styled(made, breakable).to_html(**told)).strip()


def _classes(value: Any) -> str:
    if isinstance(value, str):
        return f' class="{value}"' if value in STATUSES else ""
    return "" if _missing(value) else ' class="number"'


def to_latex(frame: pd.DataFrame) -> str:
    """A `longtable` (packages `longtable`, `array`, `booktabs`) that is as wide as it needs, at most the line."""
    made = presentable(frame)
    columns = "".join(
        rf">{{\raggedright\arraybackslash}}p{{\dimexpr {share:.4f}\linewidth-2\tabcolsep\relax}}"
        for share in shares(made)
    )
    form = {"environment": "longtable", "column_format": f"@{{}}{columns}@{{}}", "hrules": True}
    drawn = styled(made, _in_latex).to_latex(**form)
    return "\n".join(
        [
            r"{\footnotesize\setlength{\LTpre}{3pt}\setlength{\LTpost}{6pt}%",
            r"\setlength{\tabcolsep}{3pt}\renewcommand{\arraystretch}{1.15}%",
            r"\setlength{\LTleft}{0pt}\setlength{\LTright}{\fill}\setlength{\LTcapwidth}{\linewidth}%",
            f"{drawn.strip()}}}",
        ]
    )


def shares(frame: pd.DataFrame) -> list[float]:
    """The columns' shares of the line: what each needs where that fits, else words first and then fairly."""
    cells = [[_cell(name), *map(_cell, frame[name].astype(object))] for name in frame.columns]
    longest = [max(_NARROWEST, *(_ems(c) for c in column)) for column in cells]
    if sum(longest) <= _LINE:
        return [wide / _LINE for wide in longest]
    words = [min(_WIDEST_WORD, max(_NARROWEST, *(len(w) for c in column for w in _words(c)))) for column in cells]
    # The square root keeps a column of essays from starving those of sentences.
    wants = [(wide - word) ** 0.5 if wide > word else 0.0 for wide, word in zip(longest, words, strict=True)]
    spare = max(0.0, _LINE - sum(words))
    given = [word + spare * want / (sum(wants) or 1) for word, want in zip(words, wants, strict=True)]
    return [wide / sum(given) for wide in given]


def bundle(frame: pd.DataFrame) -> dict[str, Any]:
    """A frame as a notebook keeps it: as data, as HTML and as text."""
    data = json.loads(presentable(frame).to_json(orient="table", index=False, double_precision=15))
    del data["schema"]["pandas_version"]
    if caption := frame.attrs.get(CAPTION, ""):
        data["title"] = _cell(caption)
    return {RESOURCE: data, "text/html": to_html(frame), "text/plain": plain(frame)}


def from_bundle(data: Mapping[str, Any]) -> pd.DataFrame:
    """The frame that a notebook keeps as data.

    Raises:
        ValueError: it is no table.
    """
    import pandas as pd

    try:
        schema = {**data["schema"], "pandas_version": "1.4.0"}  # of the form, not of the release; pandas asks for it
        frame = pd.read_json(io.StringIO(json.dumps({**data, "schema": schema})), orient="table")
        names = [field["name"] for field in schema["fields"]]
        frame = frame[names]
        title = data.get("title", "")
    except (KeyError, TypeError, AttributeError, NotImplementedError, RecursionError) as error:
        raise ValueError(f"no table: {error!r}") from error
    return captioned(frame, str(title))


def show_frames() -> None:
    """From here on the running notebook shows every data frame by our Styler; nothing where no notebook runs."""
    import sys

    import pandas as pd

    if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()) is not None:
        shell.display_formatter.mimebundle_formatter.for_type(pd.DataFrame, lambda frame, **_: bundle(frame))


def _missing(value: Any) -> bool:
    """Whether a cell is a missing value: None, pandas' NA, and NaN, which pandas takes for one."""
    unknown = isinstance(value, float) and math.isnan(value)
    return unknown or value is None or type(value).__name__ in ("NAType", "NaTType")


def _cell(value: Any) -> str:
    if _missing(value):
        return NOTHING
    if isinstance(value, float):
        return f"{value:.0f}" if 1e6 <= abs(value) < 1e12 else f"{value:.6g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return cut(visible(shown(value, MAX_CELL) if isinstance(value, (list, tuple, dict)) else value), MAX_CELL)


def _in_latex(cell: str) -> str:
    """A number is not broken, anything else may be."""
    return cell.replace("-", "{-}") if _NUMBER.fullmatch(cell) else latex_escape(cell)


def _ems(cell: str) -> float:
    """The width of a cell on one line, in characters of average width."""
    return len(cell) + 1.5


def _words(cell: str) -> list[str]:
    """The pieces of a cell between places where LaTeX may break it."""
    for c in "_./:,;=()[]{}<>|-+&":
        cell = cell.replace(c, f"{c} ")
    return cell.split()
