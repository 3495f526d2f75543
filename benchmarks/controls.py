"""Right inputs of every boundary, made by the ten thousand: none of them may have a finding.

    PYTHONPATH=. python benchmarks/controls.py [--number 10000] [--seed 0] [--only BOUNDARY …] [--kept FILE] [--write]

Each input is made from the seed and its number: packs and padded batches of every layout and family, data files of
every form, logs of every trainer, exchanges with a rollout server, resolved configs of both anchored entrypoints, runs
of a few steps, CoordJSON answers, releases that fit, programs whose names are defined, folders of a checkpoint. It is
judged by what judges a user's own. --kept: a file that holds what was done, to go on from. --write: put the result into
tests/history/controls.json.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import right_inputs as made
from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.finding import Finding

RESULT = Path(__file__).resolve().parents[1] / "tests" / "history" / "controls.json"
EVERY = 250  # inputs after which what was done is kept
Judged = tuple[str, Iterable[Finding]]  # the form, and what was found

MADE: dict[str, Callable[[random.Random, np.random.Generator, Path], Judged]] = {
    "pipeline_map": made.program,
    "config": made.config,
    "geometry": made.data_file,
    "coordjson": made.answer,
    "template": made.batch("template"),
    "packing": made.batch("packing"),
    "supervision": made.short_run,
    "rollout": made.exchange,
    "metrics": made.log,
    "provenance": made.checkpoint,
    "upstream": made.releases,
    "silence": made.refusal,
}


def gone_on(boundary: str, known: dict[str, Any], number: int, seed: int, save: Callable[[], None]) -> None:
    """Judge inputs from where it stopped to `number`; what was found is added to `known`."""
    forms, judged, began = Counter(known.get("forms", {})), Counter(known.get("judged", {})), time.process_time()
    alarms = list(known.get("alarms", []))
    spent = known.get("seconds", 0.0)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(known.get("inputs", 0), number):
            form, found = MADE[boundary](
                random.Random(f"{seed} {boundary} {i}"), np.random.default_rng([seed, i]), Path(folder)
            )
            forms[form] += 1
            for f in found:
                judged[f.invariant] += f.checked > 0
                if f.status in ("violated", "error"):
                    said = f.violations[0].message if f.violations else f.note
                    alarms.append({"input": i, "form": form, "claim": f.invariant, "says": said})
            if (i + 1) % EVERY == 0 or i + 1 == number:
                counts = {"forms": dict(sorted(forms.items())), "judged": dict(sorted((+judged).items()))}
                seconds = round(spent + time.process_time() - began, 1)
                known |= {"inputs": i + 1, **counts, "alarms": alarms, "seconds": seconds}
                save()
                print(f"{boundary}: {i + 1} of {number}, {len(alarms)} findings", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=MADE, default=list(MADE))
    parser.add_argument("--kept", type=Path)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    boundaries.load()
    kept = given.kept
    done = json.loads(kept.read_text()) if kept and kept.exists() else {"seed": given.seed, "boundaries": {}}
    if done["seed"] != given.seed:
        raise SystemExit(f"{kept} is of seed {done['seed']}")

    def save() -> None:
        if kept:
            kept.write_text(json.dumps(done, indent=1, sort_keys=True) + "\n")

    for boundary in given.only:
        gone_on(boundary, done["boundaries"].setdefault(boundary, {}), given.number, given.seed, save)
    if given.write:
        for of in done["boundaries"].values():
            of.pop("seconds", None)
        RESULT.write_text(json.dumps(done, indent=1, sort_keys=True) + "\n")
    return int(any(of["alarms"] for of in done["boundaries"].values()))


if __name__ == "__main__":
    sys.exit(main())
