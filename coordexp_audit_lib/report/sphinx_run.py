"""One builder's run of jupyter-book's Sphinx, in a process of its own: `python -m … SOURCE OUTPUT BUILDER DATE`.

What `jupyter-book build` does, less the extensions that this book does not use: they cost seconds, and two of them
(thebe, comments) put remote addresses into every page.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

EXTENSIONS = [
    "myst_nb",
    "jupyter_book",
    "sphinx_external_toc",
    "sphinx_book_theme",
    "sphinx_jupyterbook_latex",
    "coordexp_audit_lib.report.sphinx_extension",
]


def main(source: str, output: str, builder: str, date: str) -> int:
    """Build with warnings as errors; returns the exit status. `date`: what the title page has in a date's place."""
    from jupyter_book.sphinx import build_sphinx

    from coordexp_audit_lib.report.latex import escape

    status = build_sphinx(
        source,
        output,
        path_config=str(Path(source) / "_config.yml"),
        noconfig=True,
        confoverrides={
            "extensions": EXTENSIONS,
            "latex_individualpages": False,
            "external_toc_path": "_toc.yml",
            # The page that all claims share is of no chapter, and not for print.
            "external_toc_exclude_missing": builder != "html",
            "nb_execution_mode": "off",
            "today": escape(date),  # Sphinx puts it into the LaTeX as it is
        },
        doctreedir=Path(output).parent / f".doctrees-{builder}",
        builder=builder,
        freshenv=True,
        quiet=True,
        warningiserror=True,
        keep_going=True,
        jobs=1,
    )
    return status if isinstance(status, int) else 1


if __name__ == "__main__":
    # The order of a set must not reach a page.
    gc.disable()  # the process ends with the build
    assert os.environ.get("PYTHONHASHSEED") == "0", "start it with PYTHONHASHSEED=0"
    sys.exit(main(*sys.argv[1:5]))
