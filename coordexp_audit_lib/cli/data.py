"""The command `data`: datasets as files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from coordexp_audit_lib.boundaries.geometry.predicates.frames import FRAMES
from coordexp_audit_lib.boundaries.geometry.predicates.grounding import FORMS
from coordexp_audit_lib.cli.opening import cores, jobs
from coordexp_audit_lib.core.finding import Finding

SAID = {"read as": "read as ", "begins with": "begins with ", "boxes in": "boxes are "}


def declare(data: argparse.ArgumentParser) -> None:
    """Add the options of `data`."""
    packed = "JSON lines, a JSON array, COCO, Parquet or Arrow; .gz, .xz, .bz2, .zst; a pattern or an URL"
    data.add_argument("file", nargs="+", help=packed)
    data.add_argument("--form", choices=FORMS, default="", help="of the records; by default as the first one shows")
    data.add_argument("--frame", choices=FRAMES, default="", help="of boxes that do not say theirs")
    data.add_argument("--sorted", action="store_true", help="also demand that objects stand in top-left order")
    data.add_argument(
        "--images", metavar="DIR", default="", help="where images lie, `none` to look at none; beside the file"
    )
    data.add_argument("--max-pixels", type=int, default=0, help="of an image, as the run resizes or allows them")
    data.add_argument("--min-pixels", type=int, default=0, help="of an image, as the run resizes them")
    data.add_argument("--multiple-of", type=int, default=0, help="what both sides of an image are a multiple of")
    data.add_argument("--jobs", type=jobs, default=cores(), help="processes that judge (all cores)")
    data.add_argument(
        "--scheduler", metavar="ADDRESS", default="", help="a Dask scheduler that judges: tcp://host:8786"
    )


def audited(arguments: argparse.Namespace) -> tuple[str, list[Finding], str]:
    """The files' names, the findings, and what each file was taken for."""
    from tqdm import tqdm

    from coordexp_audit_lib.boundaries.geometry.artifact import How, audit_files
    from coordexp_audit_lib.boundaries.geometry.artifact.files import expanded
    from coordexp_audit_lib.run.dataset_parts import judge_anywhere

    names = [name for word in arguments.file for name in expanded(word)]
    a = arguments
    how = How("sorted" if a.sorted else "random", a.form, a.frame, a.images, a.max_pixels, a.min_pixels, a.multiple_of)
    total = sum(Path(n).stat().st_size for n in names if Path(n).is_file())
    with tqdm(total=total, unit="B", unit_scale=True, desc="data", file=sys.stderr, disable=None, leave=False) as bar:
        found = audit_files(names, how, bar.update, jobs=a.jobs, scheduler=a.scheduler, work=judge_anywhere)
    taken = [f"{f.config}: {SAID[e.symbol]}{e.value}" for f in found for e in f.evidence if e.symbol in SAID]
    return ", ".join(Path(n).name for n in names), found, "; ".join(dict.fromkeys(taken))
