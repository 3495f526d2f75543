"""Datasets as files, of any size and of the forms that people have, judged record by record in one pass."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path

from coordexp_audit_lib.boundaries.geometry.artifact.files import Source, is_remote, opened
from coordexp_audit_lib.boundaries.geometry.artifact.how import How
from coordexp_audit_lib.boundaries.geometry.artifact.images import Images
from coordexp_audit_lib.boundaries.geometry.artifact.judging import File, Judge, line_problems
from coordexp_audit_lib.boundaries.geometry.artifact.lines import quick_line, read_line
from coordexp_audit_lib.boundaries.geometry.artifact.stream import Looked, Stream, look, stream_of
from coordexp_audit_lib.boundaries.geometry.predicates import frames
from coordexp_audit_lib.boundaries.geometry.predicates.grounding import TITLES
from coordexp_audit_lib.boundaries.geometry.predicates.records import Ordering, Record
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Artifact, finding_of

__all__ = ["How", "audit_data", "audit_file", "line_problems", "quick_line", "read_line"]
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


def audit_file(path: Path | str, how: How, progress: Progress | None = None) -> list[Finding]:
    """Judge every record of a data file; `config` names the file, and the evidence says what it was taken for.

    Args:
        path: the file or its URL; packed or plain, lines, one JSON array or COCO object, Parquet or Arrow.
        progress: called with the number of bytes that were read.

    Raises:
        UsageError: the file cannot be read, is no data, or its records are of no form that is known.
    """
    with opened(path) as source:
        stream = stream_of(source)
        looked = look(source.name, stream, how.form, how.frame)
        judge = Judge(_file(source, stream, looked, how), how)
        for block in chain(looked.blocks, stream.blocks):
            judge.take(block, stream.lines)
            if progress:
                progress(len(block.text))
    return findings_of(judge)


def _file(source: Source, stream: Stream, looked: Looked, how: How) -> File:
    """What is judged; images are looked at where the user says where they are, or one of the first is there."""
    name = Path(source.name).name
    root = how.images or ("" if is_remote(source.name) else str(Path(source.name).parent))
    if how.images == "none" or not root:
        root = ""
    elif not how.images:
        root = root if _has_images(root, stream, looked) else ""
    return File(name, looked.form, looked.space, root)


def _has_images(root: str, stream: Stream, looked: Looked) -> bool:
    from coordexp_audit_lib.boundaries.geometry.artifact.blocks import lines_of

    images = Images(Path(root))
    for block in looked.blocks:
        for _, line in zip(range(8), lines_of(block) if stream.lines else (block,), strict=False):
            if not line.broken:
                images.of(read_line(line.text).value, looked.form)
    return images.known


def findings_of(judge: Judge) -> list[Finding]:
    """A finding for each claim, when all parts are in."""
    file = judge.file
    taken = TITLES[file.form]
    if file.form == "objects" and file.space == "pixels":
        taken = taken.replace("as bins", "as pixels")
    facts = [Evidence("artifact", path=file.name), Evidence("fact", symbol="read as", value=taken)]
    columns = judge.close()
    if judge.unsaid and len(judge.fitting.left) == 1:
        said = f"{frames.TITLES[judge.fitting.left[0]]}, the only frame that fits"
        facts.append(Evidence("fact", symbol="boxes in", value=said))
    if not judge.images:
        facts.append(Evidence("fact", symbol="images", value="not looked at: none of the first is there (--images)"))
    artifact = Artifact(Record(None), file.name, file.name, evidence=lambda: facts)
    return [finding_of(artifact, column.sheet) for column in columns]
