"""The command that measures which calls of the installed transformers keep packed samples apart: `isolation`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.packing.artifact import isolation as facts_of
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.kit import isolation
from coordexp_audit_lib.kit.tiny_pack import POSITIONS

SAME, DIFFERENT = 0, 1
LEGEND = (
    "= apart, and as the samples are unpacked   ~ apart, and not as they are unpacked   X the samples see each other   "
    "! refused; of each pair the first without a cache, the second with use_cache"
)


def declare(add: Callable[..., Any]) -> None:
    """Add the command to the command line."""
    help = "measure which calls of the installed transformers keep packed samples apart"
    command = add("isolation", _isolation, help)
    command.add_argument(
        "--recorded", metavar="RELEASE", help="show what is recorded of a release; nothing is measured"
    )
    command.add_argument("--out", type=Path, help="keep what was measured as JSON, for `AuditCallback(isolation=FILE)`")
    command.add_argument("--figure", type=Path, help="draw all that is known as a picture: .svg, .pdf or .png")


def _isolation(arguments: argparse.Namespace) -> int:
    facts, told = _known(arguments.recorded) if arguments.recorded else _measured()
    before = facts_of.recorded(facts.transformers)
    changed = _changed(before, facts) if before is not None else []
    if arguments.out:
        arguments.out.write_text(facts_of.written(facts), encoding="utf-8")
    if arguments.figure:
        _draw(arguments.figure, facts)
    if arguments.json:
        made = {**msgspec.to_builtins(facts), **told, "recorded": before is not None, "changed": changed}
        print(json.dumps(made, sort_keys=True, indent=1))
    else:
        print(_text(facts, told, before is not None, changed))
    return DIFFERENT if changed else SAME


def _known(release: str) -> tuple[facts_of.Facts, dict[str, float]]:
    facts = facts_of.recorded(release)
    if facts is None:
        remedy = f"one of {', '.join(facts_of.releases())}, or measure: `coordexp-audit isolation`"
        raise UsageError("nothing is recorded of this release of transformers", where=release, remedy=remedy)
    return facts, {}


def _measured() -> tuple[facts_of.Facts, dict[str, float]]:
    from tqdm import tqdm

    if not facts_of.installed():
        raise UsageError("transformers is not installed", where="isolation", remedy="run it where the training runs")
    total = sum(1 for _ in isolation.calls())
    with tqdm(total=total, desc="isolation", file=sys.stderr, disable=None, leave=False) as bar:
        made = facts_of.measure(lambda call: bar.update(1))
    told = {"largest_rounding": made.largest_rounding, "smallest_effect": made.smallest_effect}
    return made.facts, {name: float(f"{value:.2g}") for name, value in told.items()}


def _changed(before: facts_of.Facts, now: facts_of.Facts) -> list[str]:
    """The rows that differ from what is recorded of the same release."""
    names = sorted({*before.rows, *now.rows})
    return [name for name in names if before.rows.get(name) != now.rows.get(name)]


def _text(facts: facts_of.Facts, told: dict[str, float], recorded: bool, changed: list[str]) -> str:
    from coordexp_audit_lib.report.tables import text

    header = ("family", "samples", "attention", "mask", *POSITIONS)
    table = text(header, [(*name.split(), *row.split()) for name, row in facts.rows.items()])
    lines = [f"transformers {facts.transformers}, torch {facts.torch}", "", table, "", LEGEND]
    if told:
        sizes = f"at most {told['largest_rounding']:g} where equal, at least {told['smallest_effect']:g} where not"
        lines.append(f"differences, in units of what a last bit of the inputs does: {sizes}")
    if changed:
        lines.append(f"another verdict than recorded of this release: {'; '.join(changed)}")
    elif told:
        lines.append("as recorded of this release" if recorded else "nothing is recorded of this release")
    return "\n".join(lines)


def _draw(path: Path, facts: facts_of.Facts) -> None:
    from coordexp_audit_lib.boundaries.packing.figures.isolation import draw, matrix

    known = [f for f in facts_of.all_recorded() if f.transformers != facts.transformers]
    try:
        draw(matrix([*known, facts])).savefig(path)
    except (OSError, ValueError) as error:
        remedy = "name a file that ends in .svg, .pdf or .png"
        raise UsageError(f"can't be written: {error}", where=str(path), remedy=remedy) from error
