"""Many audits side by side, and one audit many times from one program: what is left after each, as a curve.

    python benchmarks/soak.py [--minutes 10] [--side-by-side 16] [--batches 10000] [--check ARGUMENTS ...]

First as many `check` commands at once as asked, then one packed batch judged again and again in this process, until the
minutes are over or the number is reached. Prints one JSON line for each point: calls so far, memory, open files,
processes below this one, and what lies in the temporary folder that this program gave them. Ends with 1 if processes,
open files or folders are left that were not there before, or if memory at the end is more than 1.2 times what it was
after the first tenth.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from coordexp_audit_lib.cli import main
from coordexp_audit_lib.sandbox.supervisor import below

POINTS = 20
CHECK = ("--target", "reference", "--boundary", "coordjson", "--fail-on", "never")


def left(folder: Path) -> dict[str, Any]:
    """What this process holds, and what lies in the folder."""
    memory = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "memory_mb": round(memory / (1 << 20), 1),
        "open_files": len(list(Path("/proc/self/fd").iterdir())),
        "processes": len(below(os.getpid())),
        "folders": sorted(p.name for p in folder.iterdir()),
    }


def side_by_side(count: int, arguments: list[str]) -> dict[str, Any]:
    """So many checks at once; how they ended."""
    command = [sys.executable, "-m", "coordexp_audit_lib.cli", "check", "--json", *arguments]
    started, at = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)], time.monotonic()
    documents = [json.loads(process.communicate()[0]) for process in started]
    for document in documents:
        document["findings"] = [{**f, "seconds": 0} for f in document["findings"]]
    same = len({json.dumps(document["findings"], sort_keys=True) for document in documents})
    status = sorted({process.returncode for process in started})
    return {"checks": count, "status": status, "different": same, "seconds": round(time.monotonic() - at, 1)}


def batch(path: Path) -> None:
    """A sound pack of two samples."""
    np.savez(
        path,
        input_ids=np.arange(6, dtype=np.int64)[None],
        labels=np.array([[-100, 1, 2, -100, 4, 5]]),
        text_position_ids=np.array([[0, 1, 2, 0, 1, 2]]),
        cu_seq_lens_q=np.array([0, 3, 6], dtype=np.int32),
    )


def soak(parser: argparse.Namespace, folder: Path) -> int:
    before, points = left(folder), []
    print(json.dumps({**side_by_side(parser.side_by_side, parser.check), **left(folder)}), flush=True)
    packed, begun = folder / "packed.npz", time.monotonic()
    end, told = begun + 60 * parser.minutes, 0
    batch(packed)
    for number in range(1, parser.batches + 1):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            main(["batch", str(packed), "--json"])
        share = max(number / parser.batches, (time.monotonic() - begun) / (60 * parser.minutes))  # of what is asked
        if share * POINTS >= told + 1 or time.monotonic() > end:
            told = int(share * POINTS)
            points.append({"seconds": round(time.monotonic() - begun), "batches": number, **left(folder)})
            print(json.dumps(points[-1]), flush=True)
        if time.monotonic() > end:
            break
    packed.unlink()
    after, early = left(folder), points[len(points) // 10]
    grown = points[-1]["memory_mb"] > 1.2 * early["memory_mb"]
    leaked = [k for k in ("open_files", "processes", "folders") if after[k] > before[k]]
    print(json.dumps({"leaked": leaked, "memory_grew": grown}), flush=True)
    return int(grown or bool(leaked))


if __name__ == "__main__":
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--minutes", type=float, default=10.0)
    made.add_argument("--side-by-side", type=int, default=16)
    made.add_argument("--batches", type=int, default=10_000)
    made.add_argument("--check", nargs=argparse.REMAINDER, default=list(CHECK))
    given = made.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["TMPDIR"] = tempfile.tempdir = name
        sys.exit(soak(given, Path(name)))
