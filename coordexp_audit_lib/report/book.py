"""The book of a run: its notebooks and findings as HTML, LaTeX and PDF."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.errors import AuditError, UsageError
from coordexp_audit_lib.core.folder import OwnFolder, write_atomically
from coordexp_audit_lib.report import tex
from coordexp_audit_lib.report.appendix import compared_page, findings_page, result_page
from coordexp_audit_lib.report.compare import changes_table
from coordexp_audit_lib.report.document import read_audit
from coordexp_audit_lib.report.outputs import check
from coordexp_audit_lib.report.sources import PACKAGE, folder
from coordexp_audit_lib.report.text import visible

FORMATS = ("html", "pdf")
PARTS = ("source", "html", "latex")  # folders of a built book
TEX = "audit"
TIMEOUT = 600
COMPARED = "compared"  # where a run leaves the audits of other recordings


def build_book(run_dir: Path, formats: Sequence[str] = FORMATS) -> dict[str, Path]:
    """Build the book of a run into `run_dir/book`; returns what was made, by `html`, `tex` and `pdf`.

    Without TeX there is no `pdf` in the answer, and stderr says what to install; `tex` is there all the same.

    Raises:
        UsageError: `run_dir` is no run, or a format is unknown. AuditError: a page is missing or empty, a notebook has
            no outputs or no title, an output is markup, or Sphinx or LaTeX warned or failed.
    """
    unknown = [f for f in formats if f not in FORMATS]
    if unknown or not formats:
        raise UsageError(f"no format is called {', '.join(unknown) or 'nothing'}", remedy=f"use {' or '.join(FORMATS)}")
    made, outputs = read_audit(run_dir), {}
    with _claimed(run_dir / "book") as book, _told_of(book) as building:
        toc = write_source(run_dir, made, building / "source")
        check_source(building / "source", toc)
        write_pictures(building / "source")
        builders = [("html", building / "html")] if "html" in formats else []
        builders += [("latex", building / "latex")] if "pdf" in formats else []
        run_sphinx(building / "source", builders, _edition(made))
        if "html" in formats:
            outputs["html"] = check_html(building / "html", toc)
        try:
            outputs |= _latex(building / "latex", epoch(made)) if "pdf" in formats else {}
        finally:  # also where LaTeX failed: its log is to be read
            for name in PARTS:
                book.drop(book.root / name)
                if (building / name).is_dir():
                    book.adopt(building / name, book.root / name)
    return {name: run_dir / "book" / path.relative_to(building) for name, path in outputs.items()}


@contextlib.contextmanager
def _told_of(book: OwnFolder) -> Iterator[Path]:
    """A passing folder to build in; an error names the place that its parts get in the book.

    Raises:
        AuditError: one was raised meanwhile.
    """
    building = book.passing()
    try:
        yield building
    except AuditError as error:
        what, where = (text.replace(str(building), str(book.root)) for text in (error.what, error.where))
        raise type(error)(what, where=where, remedy=error.remedy) from error


@contextlib.contextmanager
def _claimed(folder_: Path) -> Iterator[OwnFolder]:
    """The book's folder, ours alone; where it was made for nothing, it is gone again."""
    book = OwnFolder.claim(folder_, "book")
    book.lock()
    try:
        book.refuse_foreign()
        yield book
    finally:
        book.sweep()
        book.unlock()
        book.leave_empty()


def write_source(run_dir: Path, made: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """Write the book's source folder: prose, settings, the findings page, and the run's notebooks; returns the toc."""
    prose = folder("book")
    shutil.copytree(prose, source, ignore=shutil.ignore_patterns("_build", "__pycache__"))
    shutil.copyfile(_settings(), source / "_config.yml")
    write_atomically(source / "result.ipynb", result_page(made))
    write_atomically(source / "findings.ipynb", findings_page(made))
    toc: dict[str, Any] = yaml.safe_load((prose / "_toc.yml").read_text(encoding="utf-8"))
    toc["parts"] += _parts(run_dir / "notebooks", made, source) + _compared(run_dir / COMPARED, made, source)
    write_atomically(source / "_toc.yml", yaml.safe_dump(toc, sort_keys=False, allow_unicode=False))
    return toc


def write_pictures(source: Path) -> None:
    """Write what the prose shows of recorded facts into the book's source, for each format as it wants vectors."""
    for name, picture in _pictures().items():
        write_atomically(source / "_static" / name, picture)


@lru_cache(maxsize=1)  # the shipped facts stay as they are, and drawing takes longer than writing all pages
def _pictures() -> dict[str, bytes]:
    from coordexp_audit_lib.boundaries.packing.artifact.isolation import all_recorded
    from coordexp_audit_lib.boundaries.packing.figures.isolation import draw, matrix
    from coordexp_audit_lib.report.style import save

    with tempfile.TemporaryDirectory() as folder_:
        save(draw(matrix(list(all_recorded()))), Path(folder_, "isolation"))
        return {path.name: path.read_bytes() for path in sorted(Path(folder_).iterdir())}


def _parts(notebooks: Path, made: Mapping[str, Any], source: Path) -> list[dict[str, Any]]:
    """Copy the run's notebooks; returns parts of the toc: one for each config, then what does not depend on one."""
    judged = sorted({f["boundary"] for f in made["findings"]}, key=lambda name: boundaries.boundary(name).number)
    by_config = {f["boundary"] for f in made["findings"] if f["config"] is not None}
    left = {p.name for p in notebooks.glob("*.ipynb")}
    parts = []
    for config in made["configs"]:
        names = [boundaries.page(boundaries.boundary(name), config) for name in judged if name in by_config]
        parts.append(_part(visible(config.removeprefix("configs/").removesuffix(".yaml")), names, notebooks, source))
    shared = [boundaries.boundary(name) for name in judged if name not in by_config]
    pages = {b: [boundaries.page(b, config) for config in made["configs"] or ("",)] for b in shared}
    parts.append(_part("Any config", [names[0] for names in pages.values()], notebooks, source))
    used = {f"{c['file']}.ipynb".removeprefix("pages/") for part in parts for c in part["chapters"]}
    left -= used | {f"{name}.ipynb" for names in pages.values() for name in names}
    if left:
        remedy = "remove it, or audit the boundary and config that it belongs to"
        raise AuditError("a notebook belongs to no page of the book", where=min(left), remedy=remedy)
    return [part for part in parts if part["chapters"]]


def _compared(folder_: Path, made: Mapping[str, Any], source: Path) -> list[dict[str, Any]]:
    """A part for each other recording that the run judged beside its target, with what changed on the way to it."""
    parts = []
    for path in sorted(folder_.glob("*.json")):
        other = read_audit(path)
        write_atomically(source / f"compared-{path.stem}.ipynb", compared_page(other, changes_table(made, other)))
        caption = visible(f"Commit {other['target']['commit'][:7]}" if other["target"].get("commit") else path.stem)
        parts.append({"caption": caption, "chapters": [{"file": f"compared-{path.stem}"}]})
    return parts


def _part(caption: str, names: Sequence[str], notebooks: Path, source: Path) -> dict[str, Any]:
    """Copy the notebooks of one part into the source."""
    (source / "pages").mkdir(exist_ok=True)
    for name in names:
        notebook = notebooks / f"{name}.ipynb"
        if not notebook.is_file():
            remedy = "run `coordexp-audit run` to its end before the book"
            raise AuditError("a page of the book has no notebook", where=str(notebook), remedy=remedy)
        shutil.copyfile(notebook, source / "pages" / notebook.name)
    return {"caption": caption, "chapters": [{"file": f"pages/{name}"} for name in names]}


def _settings() -> Path:
    """`_config.yml`: at a clone's root, or beside the installed prose."""
    for place in (PACKAGE.parent / "_config.yml", PACKAGE / "_book" / "_config.yml"):
        if place.is_file():
            return place
    raise UsageError("the installation has no _config.yml", where=str(PACKAGE), remedy="install again, or use a clone")


def pages(toc: Mapping[str, Any]) -> list[str]:
    """The toc's entries in order, without suffix."""
    return [toc["root"], *(c["file"] for part in toc.get("parts", []) for c in part.get("chapters", []))]


def check_source(source: Path, toc: Mapping[str, Any]) -> None:
    """Refuse a source whose book would silently lack something.

    Raises:
        AuditError: a toc entry has no file, or two; a page has no level-1 heading; a notebook has no outputs.
    """
    listed = pages(toc)
    for entry in listed:
        files = [p for p in (source / f"{entry}.md", source / f"{entry}.ipynb") if p.is_file()]
        if len(files) != 1:
            raise AuditError(f"{len(files)} files, not 1, for an entry of the toc", where=entry, remedy="mend _toc.yml")
        if listed.count(entry) > 1:
            raise AuditError("an entry stands twice in the toc", where=entry, remedy="mend _toc.yml")
        text = files[0].read_text(encoding="utf-8")
        if files[0].suffix == ".ipynb":
            check(_notebook(text, entry), f"{entry}.ipynb")
        elif not re.match(r"# \S", text):
            raise AuditError("it has no level-1 heading", where=f"{entry}.md", remedy="begin it with `# Title`")


def _notebook(text: str, entry: str) -> dict[str, Any]:
    try:
        notebook = json.loads(text)
    except ValueError as error:
        raise AuditError(f"not a notebook: {error}", where=f"{entry}.ipynb", remedy="run the audit again") from error
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise AuditError("not a notebook: it has no cells", where=f"{entry}.ipynb", remedy="run the audit again")
    return notebook


def run_sphinx(source: Path, builders: Sequence[tuple[str, Path]], date: str = "") -> None:
    """Run the builders side by side, warnings as errors. `date`: what the title page has in a date's place.

    Raises:
        AuditError: one failed; the message is its first warnings.
    """
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": _path(), "PYTHONWARNINGS": "ignore"}
    module = f"{__package__}.sphinx_run"
    started = []
    for builder, output in builders:
        print(f"book: building {builder}", file=sys.stderr)
        command = [sys.executable, "-m", module, str(source.resolve()), str(output.resolve()), builder, date]
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        started.append((builder, process))
    try:
        said = [(builder, process, process.communicate(timeout=TIMEOUT)[1]) for builder, process in started]
    except subprocess.TimeoutExpired as error:
        remedy = "build it where less else is running, or one --format at a time"
        raise AuditError(f"Sphinx ran longer than {TIMEOUT} s", where=str(source), remedy=remedy) from error
    finally:
        for _, process in started:
            process.kill()
            process.wait()
    for builder, process, stderr in said:
        if process.returncode != 0:
            lines = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", stderr).splitlines() if line.strip()]
            what = "; ".join(lines[-12:]).replace(f"{source.resolve()}/", "")
            raise AuditError(f"Sphinx's {builder} build failed: {what}", where=str(source), remedy="mend that page")


def _path() -> str:
    """The package may be importable only from where we found it."""
    return os.pathsep.join(p for p in (str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")) if p)


def check_html(html: Path, toc: Mapping[str, Any]) -> Path:
    """Every page of the toc is there and has content; returns the first.

    Raises:
        AuditError: one is not.
    """
    for entry in pages(toc):
        page = html / f"{entry}.html"
        if not page.is_file() or "<h1" not in page.read_text(encoding="utf-8"):
            raise AuditError(
                "the book lacks this page", where=str(page), remedy="build it again; report a bug if it stays"
            )
    return html / "index.html"


def _latex(latex: Path, seconds: int) -> dict[str, Path]:
    source = latex / f"{TEX}.tex"
    if not source.is_file() or source.stat().st_size == 0:
        raise AuditError("Sphinx wrote no LaTeX", where=str(source), remedy="build it again; report a bug if it stays")
    lacking = tex.missing()
    if lacking:
        print(
            f"book: no PDF, because this machine lacks {', '.join(lacking)}; the LaTeX is in the book's {latex.name}. "
            f"Remedy: apt-get install {tex.DEBIAN}, then build the book again",
            file=sys.stderr,
        )
        return {"tex": source}
    print("book: building the PDF", file=sys.stderr)
    return {"tex": source, "pdf": tex.make_pdf(latex, TEX, seconds)}


def _edition(made: Mapping[str, Any]) -> str:
    """The title page's last line: what was audited, rather than when."""
    target = made["target"]
    commit = f", commit {target['commit'][:12]}" if target.get("commit") else ""
    return visible(f"{target['name']}{commit}{', of ' + target['date'] if target.get('date') else ''}")


def epoch(made: Mapping[str, Any]) -> int:
    """The time that the PDF bears: given from outside, or the audited commit's, so that it is the same on each run."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given.isdecimal():
        return int(given)
    try:
        date = datetime.fromisoformat(made["target"].get("date") or "")
    except ValueError:
        return 0
    return int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
