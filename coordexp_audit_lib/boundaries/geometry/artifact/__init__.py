"""Datasets as files, of any size and of the forms that people have, judged record by record in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from coordexp_audit_lib.boundaries.geometry.artifact.blocks import records_of
from coordexp_audit_lib.boundaries.geometry.artifact.files import Source, is_remote, opened
from coordexp_audit_lib.boundaries.geometry.artifact.how import How
from coordexp_audit_lib.boundaries.geometry.artifact.images import Images
from coordexp_audit_lib.boundaries.geometry.artifact.judging import File, FilePart, Judge, line_problems
from coordexp_audit_lib.boundaries.geometry.artifact.lines import quick_line, read_line
from coordexp_audit_lib.boundaries.geometry.artifact.parts import Span, judge_span, spans_of
from coordexp_audit_lib.boundaries.geometry.artifact.stream import Looked, Stream, look, stream_of
from coordexp_audit_lib.boundaries.geometry.predicates import frames
from coordexp_audit_lib.boundaries.geometry.predicates.grounding import TITLES
from coordexp_audit_lib.boundaries.geometry.predicates.records import Ordering, Record
from coordexp_audit_lib.core.errors import AuditError, UsageError
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Artifact, finding_of
from coordexp_audit_lib.kit.spread import Lost, Unreachable, spread

__all__ = ["How", "audit_data", "audit_file", "audit_files", "line_problems", "quick_line", "read_line"]
Progress = Callable[[int], object]


def audit_data(
    path: Path | str,
    ordering: Ordering = "random",
    progress: Progress | None = None,
    *,
    form: str = "",
    frame: str = "",
) -> list[Finding]:
    """As `audit_file`, of what users say most."""
    return audit_file(path, How(ordering, form, frame), progress)


def audit_file(path: Path | str, how: How, progress: Progress | None = None, shown: str = "") -> list[Finding]:
    """Judge every record of a data file, in this process.

    Args:
        path: the file or its URL; packed or plain, lines, one JSON array or COCO object, Parquet or Arrow.
        progress: called with the number of bytes that were read. shown: what findings call the file; its name.

    Raises:
        UsageError: the file cannot be read, is no data, or its records are of no form that is known.
    """
    with opened(path) as source:
        stream = stream_of(source)
        looked = look(source.name, stream, how.form, how.frame)
        judge = Judge(_file(source, stream, looked, how, shown), how)
        for block in chain(looked.blocks, stream.blocks):
            judge.take(block, stream.lines)
            if progress:
                progress(len(block.text))
    return findings_of(judge)


def audit_files(
    names: Sequence[str],
    how: How,
    progress: Progress | None = None,
    *,
    jobs: int = 1,
    scheduler: str = "",
    work: Callable[[Span], FilePart] = judge_span,
) -> list[Finding]:
    """Judge files in parts, each where there is someone to do it; the findings of each file, in the files' order.

    Args:
        jobs: processes on this machine. scheduler: a Dask scheduler's address, whose workers can open the files.
        work: what judges a part; a function that can be sent to where it is to be done.

    Raises:
        UsageError: as `audit_file`; or there is no scheduler at the address.
        AuditError: a part killed its worker each time.
    """
    short = Counter(Path(name).name for name in names)
    shown = {name: name if short[Path(name).name] > 1 else Path(name).name for name in names}
    if jobs <= 1 and not scheduler:
        return [f for name in names for f in audit_file(name, how, progress, shown[name])]
    spans: list[Span] = []
    for name in names:
        with opened(name) as source:
            stream = stream_of(source)
            looked = look(source.name, stream, how.form, how.frame)
            file = _file(source, stream, looked, how, shown[name])
            spans += spans_of(source, stream, file, how, 2 if scheduler else jobs)
    done: dict[int, FilePart] = {}
    try:
        for number, part in spread(work, spans, jobs, scheduler):
            done[number] = part
            if progress:
                progress(spans[number].size)
    except Unreachable as error:
        remedy = "start one with `dask scheduler`, and workers with `dask worker`; or install coordexp-audit[data]"
        raise UsageError(f"is no Dask scheduler: {error}", where=scheduler, remedy=remedy) from error
    except Lost as error:
        lost = spans[error.number]
        what = f"what judged it from byte {lost.begin} on was killed each time that it was tried"
        raise AuditError(what, where=lost.name, remedy="see whether memory is short") from error
    return [f for numbers in _of_one_file(spans) for f in _together(spans[numbers[0]], [done[n] for n in numbers])]


def _of_one_file(spans: Sequence[Span]) -> Iterator[list[int]]:
    """The numbers of the parts of each file."""
    begins = [n for n, (a, b) in enumerate(zip([None, *spans], spans, strict=False)) if a is None or a.end != b.begin]
    for at, number in enumerate(begins):
        yield list(range(number, begins[at + 1] if at + 1 < len(begins) else len(spans)))


def _together(first: Span, parts: Sequence[FilePart]) -> list[Finding]:
    judge = Judge(first.file, first.how)
    for part in parts:
        judge.take_in(part)
    return findings_of(judge)


def _file(source: Source, stream: Stream, looked: Looked, how: How, shown: str) -> File:
    """What is judged; images are looked at where the user says where they are, or one of the first is there."""
    name = shown or Path(source.name).name
    root = how.images or ("" if is_remote(source.name) else str(Path(source.name).parent))
    if how.images == "none" or not root:
        root = ""
    elif not how.images:
        root = root if _has_images(root, stream, looked) else ""
    return File(name, looked.form, looked.space, root, stream.what, stream.start > 0)


def _has_images(root: str, stream: Stream, looked: Looked) -> bool:
    images = Images(Path(root))
    for block in looked.blocks:
        for _, line in zip(range(8), records_of(block, stream.lines), strict=False):
            if not line.broken:
                images.of(read_line(line.text).value, looked.form)
    return images.known


def findings_of(judge: Judge) -> list[Finding]:
    """A finding for each claim, when all parts are in."""
    file = judge.file
    taken = TITLES[file.form]
    if file.form == "objects" and file.space == "pixels":
        taken = taken.replace("as bins", "as pixels")
    facts = [Evidence("artifact", path=file.name), Evidence("fact", symbol="read as", value=file.within + taken)]
    if file.marked:
        said = "a byte order mark, which Python's json refuses in the first line: write the file without one"
        facts.append(Evidence("fact", symbol="begins with", value=said))
    columns = judge.close()
    if judge.unsaid and len(judge.fitting.left) == 1:
        said = f"{frames.TITLES[judge.fitting.left[0]]}, the only frame that fits"
        facts.append(Evidence("fact", symbol="boxes in", value=said))
    if not judge.images:
        facts.append(Evidence("fact", symbol="images", value="not looked at: none of the first is there (--images)"))
    artifact = Artifact(Record(None), file.name, file.name, evidence=lambda: facts)
    return [finding_of(artifact, column.sheet) for column in columns]
