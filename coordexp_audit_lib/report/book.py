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
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.errors import AuditError, UsageError
from coordexp_audit_lib.core.folder import OwnFolder, write_atomically
from coordexp_audit_lib.report import appendix, tex
from coordexp_audit_lib.report.compare import compare
from coordexp_audit_lib.report.document import read_audit
from coordexp_audit_lib.report.outputs import check
from coordexp_audit_lib.report.pages import chapter, facts, pages, reference
from coordexp_audit_lib.report.pages.filling import SHARED, fill_claims
from coordexp_audit_lib.report.power import HOW, read_power
from coordexp_audit_lib.report.result import config_name
from coordexp_audit_lib.report.sources import PACKAGE, folder
from coordexp_audit_lib.report.text import visible

FORMATS = ("html", "pdf")
PARTS = ("source", "html", "latex", "appendix")  # folders of a built book
TEX = "audit"
TIMEOUT = 600
STANDING = ("13_detection_power", "14_dataset")
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
        toc = write_source(run_dir, made, building / "source", printed="pdf" in formats)
        check_source(building / "source", toc)
        write_pictures(building / "source")
        builders = [("html", building / "html")] if "html" in formats else []
        builders += [("latex", building / "latex")] if "pdf" in formats else []
        run_sphinx(building / "source", builders, _edition(made))
        if "html" in formats:
            fill_claims(building / "html", pages.claims_told(made))
            outputs["html"] = check_html(building / "html", toc)
        try:
            outputs |= _latex(building / "latex", epoch(made)) if "pdf" in formats else {}
            outputs |= _appendix(run_dir, made, building / "appendix") if "pdf" in formats else {}
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


def write_source(run_dir: Path, made: Mapping[str, Any], source: Path, *, printed: bool = False) -> dict[str, Any]:
    """Write the book's source folder: prose, settings, generated pages, and the run's notebooks; returns the toc.

    printed: whether figures are drawn for print, too.
    """
    prose = folder("book")
    shutil.copytree(prose, source, ignore=shutil.ignore_patterns("_build", "__pycache__"))
    shutil.copyfile(_settings(), source / "_config.yml")
    shutil.copyfile(PACKAGE / "resources" / "pages" / appendix.STYLE, source / "_static" / appendix.STYLE)
    boundaries.load(rooms=("claims", "faults", *(("figures",) if printed else ())))
    if printed:
        import_module("coordexp_audit_lib.report.mutants")  # the drawings of the pages that belong to no boundary
    toc: dict[str, Any] = yaml.safe_load((prose / "_toc.yml").read_text(encoding="utf-8"))
    others = _compared(run_dir / COMPARED, made, source)
    power = read_power(run_dir)
    commits = [(part["caption"], f"{part['chapters'][0]['file']}.md") for part in others]
    generated = {
        "result": pages.result_page(made, power.told() if power else HOW, commits),
        "findings": pages.findings_page(made),
        "comparison": pages.comparison_page(made, commits),
        "claims": pages.claims_page(made, pages.claims_told(made)),
        "api": reference.reference_page(),
        SHARED: pages.shared_claim_page(),
    }
    for name, text in generated.items():
        (source / name).parent.mkdir(exist_ok=True)
        write_atomically(source / f"{name}.md", text)
    toc["parts"][0]["chapters"] += _standing(source, printed)
    toc["parts"] += [*_parts(run_dir / "notebooks", made, source, printed), *others]
    write_atomically(source / "_toc.yml", yaml.safe_dump(toc, sort_keys=False, allow_unicode=False))
    return toc


def _standing(source: Path, printed: bool) -> list[dict[str, Any]]:
    """Notebooks that are of no boundary, as they are published: what they show does not depend on the run."""
    (source / "pages").mkdir(exist_ok=True)
    chapters = []
    for name in STANDING:
        notebook = folder("notebooks") / f"{name}.ipynb"
        if notebook.is_file():
            made = _notebook(notebook.read_text(encoding="utf-8"), name)
            write_atomically(source / "pages" / f"{name}.ipynb", json.dumps(chapter.shown(made, printed), indent=1))
            chapters.append({"file": f"pages/{name}"})
    return chapters


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


def _parts(notebooks: Path, made: Mapping[str, Any], source: Path, printed: bool) -> list[dict[str, Any]]:
    """Copy the run's notebooks; returns parts of the toc: one for each config, then what does not depend on one."""
    judged = sorted((boundaries.boundary(name) for name in made["boundaries"]), key=lambda b: b.number)
    by_config = {f["boundary"] for f in made["findings"] if f["config"] is not None}
    left = {p.name for p in notebooks.glob("*.ipynb")}
    parts: list[dict[str, Any]] = []
    (source / "pages").mkdir(exist_ok=True)
    for config in [*made["configs"], ""]:
        chapters = []
        for b in (b for b in judged if (b.name in by_config) == bool(config)):
            asked = config or next(iter(made["configs"]), "")
            page = facts.page_of(b, config or None, bool(config))
            text = _read(notebooks / f"{boundaries.page(b, asked)}.ipynb")
            dressed = chapter.dressed(_notebook(text, page), made, b.name, asked, depends=bool(config), printed=printed)
            write_atomically(source / f"{page}.ipynb", dressed)
            chapters.append({"file": page})
            left -= {f"{boundaries.page(b, c)}.ipynb" for c in ([config] if config else [*made["configs"], ""])}
        names = [config_name(c) for c in made["configs"]]
        short = config_name(config) if names.count(config_name(config)) < 2 else visible(config)
        caption = f"Config {short}" if config else "Any configuration"
        parts += [{"caption": caption, "chapters": chapters}] if chapters else []
    if left:
        remedy = "remove it, or audit the boundary and config that it belongs to"
        raise AuditError("a notebook belongs to no page of the book", where=min(left), remedy=remedy)
    return parts


def _read(notebook: Path) -> str:
    if not notebook.is_file():
        remedy = "run `coordexp-audit run` to its end before the book"
        raise AuditError("a page of the book has no notebook", where=str(notebook), remedy=remedy)
    return notebook.read_text(encoding="utf-8")


def _compared(folder_: Path, made: Mapping[str, Any], source: Path) -> list[dict[str, Any]]:
    """A part for each other recording that the run judged beside its target, with what changed on the way to it."""
    parts = []
    for path in sorted(folder_.glob("*.json")):
        other = read_audit(path)
        write_atomically(source / f"compared-{path.stem}.md", pages.compared_page(other, compare(made, other)))
        caption = visible(f"Commit {other['target']['commit'][:7]}" if other["target"].get("commit") else path.stem)
        parts.append({"caption": caption, "chapters": [{"file": f"compared-{path.stem}"}]})
    return parts


def _settings() -> Path:
    """`_config.yml`: at a clone's root, or beside the installed prose."""
    for place in (PACKAGE.parent / "_config.yml", PACKAGE / "_book" / "_config.yml"):
        if place.is_file():
            return place
    raise UsageError("the installation has no _config.yml", where=str(PACKAGE), remedy="install again, or use a clone")


def entries(toc: Mapping[str, Any]) -> list[str]:
    """The toc's entries in order, without suffix."""
    return [toc["root"], *(c["file"] for part in toc.get("parts", []) for c in part.get("chapters", []))]


def check_source(source: Path, toc: Mapping[str, Any]) -> None:
    """Refuse a source whose book would silently lack something.

    Raises:
        AuditError: a toc entry has no file, or two; a page has no level-1 heading; a notebook has no outputs.
    """
    listed = entries(toc)
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
    for entry in entries(toc):
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


def _appendix(run_dir: Path, made: Mapping[str, Any], where: Path) -> dict[str, Path]:
    """The appendix as LaTeX, and as PDF where TeX is."""
    power = read_power(run_dir)
    source = appendix.write_appendix(run_dir, made, where, power.told() if power else "")
    if tex.missing():  # that was told of the book already
        return {"appendix_tex": source}
    print("book: building the appendix", file=sys.stderr)
    made_pdf = tex.make_pdf(where, appendix.NAME, epoch(made), engine="pdf")
    return {"appendix_tex": source, "appendix": made_pdf.rename(where / "appendix.pdf")}


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
