"""LaTeX from text: every command character is neutralised, and what the book's fonts lack is named by its number."""

from __future__ import annotations

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "-": r"{-}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "[": r"{[}",
    "]": r"{]}",
    "*": r"{*}",
}

# Code points that GNU FreeSerif, FreeSans and FreeMono all draw; xelatex leaves any other out without a word.
_DRAWN = (
    (0x20, 0x7E),
    (0xA0, 0x1BB),
    (0x1BE, 0x1F5),
    (0x1F7, 0x21F),
    (0x300, 0x36F),
    (0x391, 0x3A1),
    (0x3A3, 0x3CE),
    (0x400, 0x45F),
    (0x2010, 0x2027),
    (0x2030, 0x205E),
    (0x2200, 0x220F),
    (0x2211, 0x221F),
)
_SIGNS = frozenset("⏎⇥␍≤≥≠≈→←↔")  # those of `text.visible`, and a few that our own prose uses

_BREAK_AFTER = frozenset("_./:,;=()[]{}<>|-+&")
_LIKELY, _RARE = r"\penalty100{}", r"\penalty5000{}"
_RUN = 8  # letters of one word without a place to break; a longer word may break anywhere, at a price


def drawn(c: str) -> bool:
    """Whether the book's fonts have the character."""
    return any(low <= ord(c) <= high for low, high in _DRAWN) or c in _SIGNS


def named(text: str) -> str:
    """`text` with each character that the fonts lack as `\\uNNNN` or `\\UNNNNNNNN`."""
    return "".join(c if c == "\n" or drawn(c) else _number(ord(c)) for c in text)


def _number(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def escape(text: str) -> str:
    """`text` as LaTeX that prints exactly it, and that can be broken: after punctuation, and inside long words."""
    made, run = [], 0
    previous = ""
    for c in named(text):
        if c == " ":
            made.append("\\ " if previous == " " else " ")
            run = 0
        else:
            if run >= _RUN:
                made.append(_RARE)
            made.append(_ESCAPES.get(c, c))
            run = 0 if c in _BREAK_AFTER else run + 1
            if c in _BREAK_AFTER:
                made.append(_LIKELY)
        previous = c
    return "".join(made)
