"""The command `batch`: training batches from files, folders or standard input."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from coordexp_audit_lib.cli.streams import say
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.report.style import write

if TYPE_CHECKING:
    from coordexp_audit_lib.run.batches import AuditedBatch

DRAWN, WIDTH = (".svg", ".pdf", ".png"), 120
SUFFIXES = (".npz", ".safetensors")
STDIN = "-"


def declare(batch: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    batch.add_argument("file", nargs="+", type=Path, help="npz or safetensors, a folder of them, or - for one on stdin")
    batch.add_argument("--packing-length", type=int, help="the pack's capacity, if it is to be judged")
    batch.add_argument(
        "--profile",
        metavar="NAME|FOLDER|config.json",
        help="the model's family: qwen2_vl, qwen2_5_vl, qwen3_vl, text, a tokenizer's or model's folder, or a "
        "config.json; then single values, as in qwen3_vl,label_shift=1; by default what the batch shows",
    )
    batch.add_argument(
        "--labels",
        choices=("shifted", "unshifted"),
        help="how labels stand to the tokens; by default as the tokens show it, which is said",
    )
    batch.add_argument(
        "--samples",
        type=Path,
        help="the unpacked samples in order: JSON lines with input_ids and labels, npz or safetensors of a batch that "
        "is not packed, or a folder of such",
    )
    batch.add_argument(
        "--whole", action="store_true", help="the file holds all that the model is given: what is not there is missing"
    )
    batch.add_argument("--draw", type=Path, metavar="FILE", help="draw the batch's ribbon: .svg, .pdf or .png")


def audited(arguments: argparse.Namespace) -> tuple[str, list[Finding], str]:
    """What was audited, the findings on it, and how it was read.

    Raises:
        UsageError: a file holds no batch, or an option is none.
    """
    from coordexp_audit_lib.boundaries.packing import artifact
    from coordexp_audit_lib.kit.profile import named
    from coordexp_audit_lib.run.batches import audit_batch, read_samples

    try:
        profile = named(arguments.profile) if arguments.profile else None
    except ValueError as error:
        raise UsageError(str(error), where="--profile") from error
    shift = {"shifted": 1, "unshifted": 0}.get(arguments.labels)
    found: list[Finding] = []
    notes = []
    files = [f for path in arguments.file for f in _batches_in(path)]
    for option in ("samples", "draw"):
        if getattr(arguments, option) and len(files) > 1:
            what = "belongs to one batch, and there are several"
            raise UsageError(what, where=f"--{option}", remedy="name one batch")
    samples = read_samples(arguments.samples, profile) if arguments.samples else ()
    for path in files:
        name = "stdin" if str(path) == STDIN else path.name
        with _opened(path) as readable:
            tensors = artifact.read(readable)
        made = audit_batch(
            tensors,
            name=name,
            config=name if len(files) > 1 else None,
            packing_length=arguments.packing_length,
            profile=profile,
            label_shift=shift,
            whole=arguments.whole,
            samples=samples,
        )
        _show(made, arguments, name)
        told = "; ".join(f"{e.symbol}: {e.value}" for e in made.read if e.symbol not in artifact.TENSORS)
        notes += [f"{name}: {told}" if len(files) > 1 else told] if told else []
        found += made.findings
    return ", ".join("stdin" if str(p) == STDIN else p.name for p in files), found, " | ".join(notes)


def _show(made: AuditedBatch, arguments: argparse.Namespace, name: str) -> None:
    """The ribbon of the batch: on the terminal, and as a figure where one is asked for."""
    from coordexp_audit_lib.boundaries.packing.figures import ribbon

    parts, marks = made.row.parts, made.marks
    if not arguments.json:
        width = shutil.get_terminal_size((WIDTH, 24)).columns
        for line in [name, *ribbon.lines(parts, marks, min(width, WIDTH))]:
            say(line)
        say("")
    if arguments.draw is None:
        return
    if arguments.draw.suffix not in DRAWN:
        raise UsageError(f"is none of {', '.join(DRAWN)}", where=str(arguments.draw), remedy="name such a file")
    if not any(part.row.flat("input_ids") is not None for part in parts):
        raise UsageError("there are no tokens to draw", where=name, remedy="give input_ids")
    try:
        write(ribbon.draw_rows(parts, marks), arguments.draw)
    except OSError as error:
        raise UsageError(
            f"can't be written: {error.strerror}", where=str(arguments.draw), remedy="name a file"
        ) from error


def _batches_in(path: Path) -> list[Path]:
    """The file, or those in the folder that may hold a batch."""
    if str(path) == STDIN or not path.is_dir():
        return [path]
    found = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES and p.is_file())
    if not found:
        raise UsageError("holds no .npz and no .safetensors", where=str(path), remedy="name a file")
    return found


@contextmanager
def _opened(path: Path) -> Iterator[Path]:
    """The file itself, or one of what standard input holds."""
    if str(path) != STDIN:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "stdin"
        kept.write_bytes(sys.stdin.buffer.read())
        yield kept
