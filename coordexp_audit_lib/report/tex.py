"""From the book's .tex to its PDF, where TeX is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from coordexp_audit_lib.core.errors import AuditError

PROGRAMS = ("latexmk", "xelatex", "kpsewhich")
FILES = ("polyglossia.sty", "pgfplots.sty", "unicode-math.sty", "ucharclasses.sty", "capt-of.sty", "FreeSerif.otf")
DEBIAN = "latexmk texlive-xetex texlive-latex-extra texlive-fonts-recommended fonts-freefont-otf"
TIMEOUT = 600  # seconds; 280 pages take about 40, on a busy machine ten times as long


def missing() -> list[str]:
    """What this machine lacks to make the PDF: programs, LaTeX packages, fonts."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking:
        return lacking
    found = subprocess.run(
        ["kpsewhich", *(f for f in FILES if f.endswith(".sty"))], capture_output=True, text=True, check=False
    ).stdout
    lacking = [f for f in FILES if f.endswith(".sty") and f not in found]
    return lacking + ([] if _has_font() else ["FreeSerif.otf"])


def _has_font() -> bool:
    if shutil.which("fc-list") is None:
        return True  # then xelatex itself will say so
    listed = subprocess.run(["fc-list", ":family=FreeSerif"], capture_output=True, text=True, check=False).stdout
    return "FreeSerif" in listed


def make_pdf(folder: Path, name: str, epoch: int, engine: str = "xelatex") -> Path:
    """Run latexmk on `folder/name.tex`.

    Args:
        epoch: the time, in seconds, that the PDF says it was made: with it two runs give the same bytes. engine: as
        latexmk's option names it, `xelatex` or `pdf`.

    Raises:
        AuditError: LaTeX failed; the message has its first error and line.
    """
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": str(epoch),
        "FORCE_SOURCE_DATE": "1",
        "TZ": "UTC",
        "max_print_line": "1000",
    }
    command = ["latexmk", f"-{engine}", "-interaction=nonstopmode", "-halt-on-error", "-file-line-error", "-silent"]
    log = folder / f"{name}.log"
    try:
        done = subprocess.run(
            [*command, "-no-shell-escape", f"{name}.tex"],
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise AuditError(f"LaTeX ran longer than {TIMEOUT} s", where=str(log), remedy="read the log") from error
    pdf = folder / f"{name}.pdf"
    if done.returncode != 0 or not pdf.is_file() or pdf.stat().st_size == 0:
        raise AuditError(f"LaTeX failed: {_first_error(log)}", where=str(log), remedy=f"apt-get install {DEBIAN}")
    for kept in ("fdb_latexmk", "fls"):  # latexmk's own notes, with times: two builds are to be the same bytes
        (folder / f"{name}.{kept}").unlink(missing_ok=True)
    return pdf


def _first_error(log: Path) -> str:
    if not log.is_file():
        return "it wrote no log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    bad = [line for line in lines if line.startswith("!") or re.match(r"\S+\.(tex|sty|cls):\d+: ", line)]
    return bad[0] if bad else "its log names no error"
