"""The text of a run's folder, whatever its files are called: read piece by piece, and what is not read is said."""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from coordexp_audit_lib.boundaries.provenance.artifact.pickled import BIN, strings_in
from coordexp_audit_lib.boundaries.provenance.predicates.redaction import Sighting, sightings
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.reading import NotRegular, regular

PIECE = 4 << 20
MAX_LINE = 1 << 20  # a line that goes on behind a piece is read to its end, but no further than this
MAX_TEXT = 256 << 20
MAX_NOTEBOOK = 64 << 20
MAX_FILES = 20_000
MAX_ENTRIES = 2_000_000
MAX_SIGHTINGS = 1000
SAMPLE = 8192
CODE = frozenset({".py", ".ipynb", ".pyi", ".cu", ".cpp", ".h", ".js"})
# Weights, states of optimizers and generators, pictures: not read, and no claim is about what they hold.
BINARY_SUFFIXES = frozenset(
    {".safetensors", ".pt", ".pth", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tiff", ".ico", ".mp4", ".pyc"}
    | {".bits"}  # of the callback: which samples were drawn
)
_WEIGHTS = ("pytorch_model", "adapter_model", "optimizer", "scheduler", "model")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CONTROL = frozenset(range(32)) - frozenset(b"\t\n\r\x0b\x0c\x1b\x08\0")


class Piece(msgspec.Struct, frozen=True):
    """Some lines of a file. line: the number of the first. code: whether they are of a program."""

    file: str
    text: str
    line: int = 1
    code: bool = False


class _Skipped:
    """Files that were not read, by reason: the first and how many, said once."""

    def __init__(self) -> None:
        self.by_reason: dict[str, list[Any]] = {}

    def add(self, name: str, why: str) -> None:
        self.by_reason.setdefault(why, [name, 0])[1] += 1

    def tell(self, ledger: Ledger) -> None:
        for why, (first, count) in self.by_reason.items():
            more = f" (and {count - 1} more file{'s' if count > 2 else ''} like it)" if count > 1 else ""
            ledger.left_out(first, why + more)


def secrets(root: Path, ledger: Ledger) -> Iterator[tuple[str, Sighting]]:
    """Everything in the folder's files that looks like a secret, by file; each file that is read counts as judged."""

    def every() -> Iterator[tuple[str, Sighting]]:
        for piece in pieces(root, ledger):
            ledger.judged(piece.line == 1)
            yield from ((piece.file, s) for s in sightings(piece.text, code=piece.code, line=piece.line))

    found = every()
    yield from islice(found, MAX_SIGHTINGS)
    if next(found, None) is not None:
        ledger.left_out("what follows", f"more than {MAX_SIGHTINGS} secrets were found before it")


def pieces(root: Path, ledger: Ledger) -> Iterator[Piece]:
    """The text of the folder's files in pieces, each of whole lines. Weights and pictures (`BINARY_SUFFIXES`, event
    files) are not read; everything else that is not, or not to its end, is left out of the ledger's claim."""
    skipped = _Skipped()
    read = 0
    try:
        for path in _entries(root, ledger, skipped):
            relative = path.relative_to(root).as_posix()
            if path.is_symlink():
                if not _leads_inside(root, path):
                    skipped.add(relative, "it is a link that leads out of the run's folder, or nowhere")
                continue
            if ".tfevents." in path.name or path.suffix.lower() in BINARY_SUFFIXES:
                continue
            read += 1
            if read > MAX_FILES:
                ledger.left_out("further files", f"the folder holds more than {MAX_FILES}")
                return
            yield from _of_file(path, relative, skipped)
    finally:
        skipped.tell(ledger)


def _entries(root: Path, ledger: Ledger, skipped: _Skipped) -> Iterator[Path]:
    """Files and links below the folder, sorted folder by folder; links to folders are not followed."""
    seen = 0

    def unlisted(error: OSError) -> None:
        skipped.add(Path(error.filename).relative_to(root).as_posix(), "the folder cannot be listed")

    for folder, below, names in os.walk(root, onerror=unlisted, followlinks=False):
        below.sort()
        links = [n for n in below if (Path(folder) / n).is_symlink()]
        for name in sorted([*names, *links]):
            seen += 1
            if seen > MAX_ENTRIES:
                ledger.left_out("further files", f"the folder holds more than {MAX_ENTRIES} entries")
                return
            yield Path(folder) / name


def _of_file(path: Path, relative: str, skipped: _Skipped) -> Iterator[Piece]:
    try:
        with regular(path, follow=False) as file:
            if path.suffix == BIN:
                yield from _of_pickle(file, path, relative, skipped)
            elif path.suffix == ".ipynb":
                yield from _of_notebook(file, relative, skipped)
            else:
                yield from _of_text(file, path, relative, skipped)
    except NotRegular:
        skipped.add(relative, "it cannot be read: it is no regular file")
    except (OSError, ValueError) as error:
        skipped.add(relative, f"it cannot be read: {getattr(error, 'strerror', None) or error}")


def _of_text(file: BinaryIO, path: Path, relative: str, skipped: _Skipped) -> Iterator[Piece]:
    size = os.fstat(file.fileno()).st_size
    if size > MAX_TEXT:
        skipped.add(relative, f"it has {size} bytes, more than {MAX_TEXT}")
        return
    sample = file.read(SAMPLE)
    file.seek(0)
    wide = sample.startswith(_UTF16)
    if not wide and is_binary(sample):
        skipped.add(relative, "files of its kind are not read")
        return
    decoder = codecs.getincrementaldecoder("utf-16" if wide else "utf-8")("replace")
    line, nul = 1, False
    while raw := file.read(PIECE):
        raw += file.readline(MAX_LINE)
        text = decoder.decode(raw)
        nul = nul or "\0" in text
        text = text.replace("\0", "")
        yield Piece(relative, text, line, path.suffix.lower() in CODE)
        line += text.count("\n")
    if nul:
        skipped.add(relative, "it holds NUL bytes, so it is no text")


def is_binary(sample: bytes) -> bool:
    """Whether the beginning of a file is of no text: one byte in ten is a control character that no text has."""
    return 10 * sum(byte in _CONTROL for byte in sample) > len(sample)


def _of_notebook(file: BinaryIO, relative: str, skipped: _Skipped) -> Iterator[Piece]:
    """The cells of a notebook: code as code, what it printed as text; the lines are those of the cells."""
    raw = file.read(MAX_NOTEBOOK + 1)
    try:
        if len(raw) > MAX_NOTEBOOK:
            raise ValueError
        cells = json.loads(raw)["cells"]
        found = [(_joined(c.get("source", "")), c.get("cell_type") == "code", c.get("outputs", ())) for c in cells]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        skipped.add(relative, f"it is no sound notebook of up to {MAX_NOTEBOOK >> 20} MiB")
        return
    for source, code, outputs in found:
        yield Piece(relative, source, code=code)
        yield Piece(relative, json.dumps(outputs, ensure_ascii=False), line=0)


def _joined(source: Any) -> str:
    return source if isinstance(source, str) else "".join(map(str, source))


def _of_pickle(file: BinaryIO, path: Path, relative: str, skipped: _Skipped) -> Iterator[Piece]:
    """The texts of a small pickle, walked and never run; weights are told by their names."""
    if path.name.startswith(_WEIGHTS):
        return
    try:
        texts = strings_in(file)
    except ValueError as error:
        skipped.add(relative, str(error))
        return
    yield Piece(relative, "\n".join(texts))


def _leads_inside(root: Path, link: Path) -> bool:
    """Whether what a link leads to is met in the folder under its own name."""
    try:
        return link.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):
        return False
