"""LaTeX from text: every command character is neutralised."""

from __future__ import annotations

_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_\allowbreak{}",
    "%": r"\%", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "-": r"{-}", "`": r"\textasciigrave{}", "'": r"\textquotesingle{}",
    ".": r".\allowbreak{}", "/": r"/\allowbreak{}", "[": r"{[}", "]": r"{]}",
}  # fmt: skip


def escape(text: str) -> str:
    """`text` as LaTeX that prints exactly it; long paths and keys may break after `_`, `.` and `/`."""
    return "".join(_ESCAPES.get(c, c) for c in text)
