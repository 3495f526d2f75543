"""Figures with what belongs to them: a caption, words for those who do not see them, and how to draw them once more.

A notebook keeps a figure as SVG; its caption, alternative text and data go along, so that the book can say them and
draw the same figure for print without asking a target.
"""

from __future__ import annotations

import base64
import functools
import io
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from coordexp_audit_lib.core.errors import AuditError

SVG, PDF = "image/svg+xml", "application/pdf"
KEY = "coordexp_audit"  # of an output's metadata
Words = str | Callable[..., str]
Draw = TypeVar("Draw", bound=Callable[..., Any])

_FIGURES: dict[str, Callable[..., Any]] = {}
_MAIN: set[str] = set()


class Told(msgspec.Struct, frozen=True):
    """What goes along with a figure. name: of its drawing; arguments: what it was drawn from; None where that is no
    JSON."""

    name: str
    caption: str
    alt: str
    arguments: list[Any] | None

    @property
    def main(self) -> bool:
        """Whether it stands for its boundary in the appendix."""
        return self.name in _MAIN


def figure(name: str, caption: Words, alt: Words, *, main: bool = False) -> Callable[[Draw], Draw]:
    """Declare a drawing: `(*data) -> matplotlib figure`.

    Args:
        name: `boundary.what`, each once. caption: what to see in it; alt: what is drawn, for who does not see it. Both
        may be functions of what is drawn, so that a number in them is the run's. main: whether it stands for its
        boundary in the appendix.
    """

    def register(draw: Draw) -> Draw:
        if name in _FIGURES:
            raise AuditError(f"figure {name} is declared twice", where=name, remedy="rename one of them")

        @functools.wraps(draw)
        def told(*data: Any) -> Any:
            made = draw(*data)
            said, described = (w if isinstance(w, str) else w(*data) for w in (caption, alt))
            made.told = Told(name, said, described, _builtins(data))
            return made

        _FIGURES[name] = told
        _MAIN.update({name} if main else ())
        return told  # type: ignore[return-value]

    return register


def _builtins(data: tuple[Any, ...]) -> list[Any] | None:
    try:
        return list(json.loads(json.dumps(data, allow_nan=False)))
    except (TypeError, ValueError):
        return None


def drawings() -> Mapping[str, Callable[..., Any]]:
    """Every declared drawing by its name; boundaries declare theirs when they are loaded."""
    return _FIGURES


def printed(told: Told) -> bytes:
    """A figure as PDF, drawn once more from what goes along with it; its boundary's figures must be loaded.

    Raises:
        AuditError: no drawing has its name, or its data are not kept.
    """
    import matplotlib.pyplot as plt

    if told.name not in _FIGURES or told.arguments is None:
        raise AuditError("it can't be drawn again", where=told.name, remedy="run the audit again with this version")
    drawn = _FIGURES[told.name](*told.arguments)
    made = pdf(drawn)
    plt.close(drawn)
    return made


def read(metadata: Mapping[str, Any]) -> Told | None:
    """What a notebook keeps of a figure of ours; None where an output's metadata have nothing of it."""
    try:
        return msgspec.convert(metadata[SVG][KEY], Told)
    except (KeyError, TypeError, msgspec.ValidationError):
        return None


def svg(drawn: Any) -> str:
    """A figure as SVG, the same text each time: no date, and ids that depend on what is drawn alone."""
    return _saved(drawn, "svg").decode("utf-8")


def pdf(drawn: Any) -> bytes:
    """A figure as PDF, the same bytes each time; fonts are embedded as outlines that can be searched."""
    return _saved(drawn, "pdf")


def _saved(drawn: Any, kind: str) -> bytes:
    import matplotlib

    undated: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    told = getattr(drawn, "told", None)
    tight = None if drawn.get_layout_engine() else "tight"
    look: Any = {"svg.hashsalt": told.name if told else "figure", "pdf.fonttype": 42}
    with matplotlib.rc_context(look):
        text = io.BytesIO()
        drawn.savefig(text, format=kind, metadata=undated, bbox_inches=tight)
    return text.getvalue()


def show_figures() -> None:
    """From here on the running notebook keeps figures as SVG, with what goes along; nothing where no notebook runs."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None or not hasattr(shell, "kernel"):
        return
    from matplotlib_inline.config import InlineBackend

    # No formatter of the backend's own: it would go before ours, and put the date and random ids into every figure.
    InlineBackend.instance(parent=shell).figure_formats = set()
    bundles = shell.display_formatter.mimebundle_formatter
    bundles.for_type_by_name("matplotlib.figure", "Figure", _bundle)


def _bundle(drawn: Any, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """The outputs of a figure by MIME type, and their metadata."""
    told = getattr(drawn, "told", None)
    text = f"Figure: {told.caption}" if told else "figure"
    data = {SVG: svg(drawn), "text/plain": text}
    if told and told.arguments is None:  # it can't be drawn again
        data[PDF] = base64.b64encode(pdf(drawn)).decode("ascii")
    return data, {SVG: {KEY: msgspec.to_builtins(told)}} if told else {}
