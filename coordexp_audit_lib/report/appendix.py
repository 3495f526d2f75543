"""The appendix for print: a LaTeX document of its own, made of a run, that a paper can also take in with `\\input`."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import declared
from coordexp_audit_lib.core.fault import faults, spoils
from coordexp_audit_lib.core.folder import write_atomically
from coordexp_audit_lib.core.ranking import counts
from coordexp_audit_lib.report import figure, result
from coordexp_audit_lib.report.pages import facts
from coordexp_audit_lib.report.pages.pages import cut_words, lines, matrix_values
from coordexp_audit_lib.report.pages.render import Tex, as_tex
from coordexp_audit_lib.report.sources import PACKAGE
from coordexp_audit_lib.report.text import visible

NAME, BODY, STYLE = "standalone", "appendix", "coordexp-audit.sty"
TITLE = "Reproducibility audit of a V-LLM grounding training pipeline"
WHOLE = 10  # findings that are told with their kinds and an example
KINDS, REACHED = 4, 140  # kinds of a finding, and characters on how a run comes by it

# What pdfTeX's standard fonts lack, but mathematics has.
_SIGNS = {
    **{"→": r"\ensuremath{\rightarrow}", "←": r"\ensuremath{\leftarrow}", "≤": r"\ensuremath{\leq}"},
    **{"≥": r"\ensuremath{\geq}", "≠": r"\ensuremath{\neq}", "≈": r"\ensuremath{\approx}", "×": r"\ensuremath{\times}"},
    **{"−": r"\ensuremath{-}", "…": r"\ldots{}", "–": "--", "—": "---", "·": r"\textperiodcentered{}"},
    **{"Δ": r"\ensuremath{\Delta}", "σ": r"\ensuremath{\sigma}", "⏎": r"\ensuremath{\hookleftarrow}"},
    **{"’": "'", "“": "``", "”": "''", "°": r"\textdegree{}", "\u00a0": "~"},
}


class Shown(msgspec.Struct, frozen=True):
    """A boundary in the appendix, with its figure if its page has one."""

    number: int
    name: str
    title: str
    tally: str
    file: str = ""
    caption: str = ""
    alt: str = ""
    config: str = ""


def write_appendix(run_dir: Path, made: Mapping[str, Any], folder: Path, power: str = "") -> Path:
    """Write `appendix.tex`, `standalone.tex`, the style and the figures into `folder`; returns `standalone.tex`.

    power: a sentence on the detection power; "" where the run has no measurement.
    """
    (folder / "figures").mkdir(parents=True)
    shutil.copyfile(PACKAGE / "resources" / "pages" / STYLE, folder / STYLE)
    shown = [_shown(run_dir, made, name, folder / "figures") for name in made["boundaries"]]
    write_atomically(folder / f"{BODY}.tex", in_ascii(_body(made, shown, power)))
    edition = f"{facts.subject(made)}{', of ' + made['target']['date'][:10] if made['target'].get('date') else ''}"
    document = as_tex("standalone.tex", title=TITLE, edition=edition)
    return write_atomically(folder / f"{NAME}.tex", in_ascii(document))


def _body(made: Mapping[str, Any], shown: Sequence[Shown], power: str) -> str:
    signs: dict[str, Any] = {"signs": facts.SIGNS}
    weighty = [facts.finding(made, f) for f in made["findings"] if counts(f) and f["severity"] in ("P0", "P1")]
    for f in weighty:
        f["reach"] = cut_words(f["reach"], REACHED)
        f["kinds"], f["more_kinds"] = f["kinds"][:KINDS], f["more_kinds"] + len(f["kinds"][KINDS:])
    claims = [
        (boundaries.boundary(name).title, as_tex("verdicts.tex", rows=_rows(made, name), **signs))
        for name in made["boundaries"]
    ]
    cards = as_tex("cards.tex", findings=weighty[:WHOLE], whole=True, short=False, **signs)
    cards += as_tex("cards.tex", findings=weighty[WHOLE:], whole=False, short=True, **signs) if weighty[WHOLE:] else ""
    return as_tex(
        "appendix.tex",
        sentence=facts.sentence(made),
        matrix=as_tex("matrix.tex", **signs, **matrix_values(made)),
        legend=as_tex("key.tex", **signs),
        legend_words=Tex(", ".join(f"{s.tex}{{}} {s.word}" for s in facts.SIGNS.values())),
        top=as_tex("top.tex", top=facts.top(made), **signs),
        audited=as_tex("audited.tex", rows=facts.audited(made)),
        limits=as_tex("limits.tex", rows=facts.limits(made)),
        figures=shown,
        findings=cards,
        claims=claims,
        faults=faults_told(),
        power=power,
        recipe=as_tex("recipe.tex", lines=facts.recipe(made)),
        repository=made["target"].get("repository", ""),
        bibliography=_bibliography(),
        **signs,
    )


def faults_told() -> str:
    """How many faults there are, in a sentence; boundaries must be loaded."""
    claims = declared()
    number = len(faults()) + len(spoils())
    bare = [c.id for c in claims if not any(c.id in f.caught_by for f in faults())]
    bare = [name for name in bare if name not in {s.caught_by for s in spoils()}]
    lacking = f"; {len(bare)} claims have none" if bare else ""
    return f"There are {number} faults for {len(claims)} claims{lacking}."


def _rows(made: Mapping[str, Any], boundary: str) -> list[dict[str, Any]]:
    return lines(facts.finding(made, f) for f in made["findings"] if f["boundary"] == boundary)


def _bibliography() -> list[tuple[str, str]]:
    known: list[tuple[str, str]] = json.loads(
        (PACKAGE / "resources" / "pages" / "bibliography.json").read_text(encoding="utf-8")
    )
    return known


def _shown(run_dir: Path, made: Mapping[str, Any], name: str, folder: Path) -> Shown:
    """A boundary, and its main figure drawn for print: of the last config where it has one for each."""
    b = boundaries.boundary(name)
    found = [f for f in made["findings"] if f["boundary"] == name]
    told = Shown(b.number, name, b.title, facts.tally(found))
    depends = any(f["config"] is not None for f in found)
    for config in reversed(made["configs"] or [""]):
        for one, data in figures_of(run_dir / "notebooks" / f"{boundaries.page(b, config)}.ipynb"):
            if one.main:
                file = f"{b.number:02d}_{name}.pdf"
                (folder / file).write_bytes(_print(one, data))
                config_ = result.config_name(config) if depends and config else ""
                words = {"caption": visible(one.caption), "alt": visible(one.alt), "config": config_}
                return msgspec.structs.replace(told, file=file, **words)
    return told


def figures_of(notebook: Path) -> Iterator[tuple[figure.Told, Mapping[str, Any]]]:
    """The figures of an executed notebook, with their outputs by MIME type."""
    if not notebook.is_file():
        return
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            told = figure.read(output.get("metadata", {}))
            if told is not None:
                yield told, output["data"]


def _print(told: figure.Told, data: Mapping[str, Any]) -> bytes:
    """A figure as PDF: as it was kept, or drawn once more."""
    kept = data.get(figure.PDF)
    return base64.b64decode("".join(kept)) if kept else figure.printed(told)


def in_ascii(text: str) -> str:
    """LaTeX that every engine and paper takes: letters that pdfTeX's fonts lack are signs of mathematics, or "
    "numbers."""
    return re.sub(r"[^\x00-\x7f]", _plain, text)


def _plain(found: re.Match[str]) -> str:
    c = found.group()
    if c in _SIGNS or 0xC0 <= ord(c) <= 0xFF:
        return _SIGNS.get(c, c)
    return f"\\textbackslash{{}}{f'u{ord(c):04x}' if ord(c) < 0x10000 else f'U{ord(c):08x}'}"


__all__ = ["BODY", "NAME", "figures_of", "in_ascii", "write_appendix"]
