"""`data` on one core, against msgspec alone and against the audited project's own validation of the same file.

    python benchmarks/data_speed.py [CHECKOUT INTERPRETER] [--records N] [--turns N] [--most N]

A file of records with coordinate tokens is generated, as COCO's are: about seven boxes a record. Prints one JSON line:
megabytes a second of processor time, the best of some turns that take turns, for msgspec alone (line by line, in blocks
and all at once, into the very types that `data` decodes into), for `data`, and for the project's `JSONLValidator`
without images; then the ratios. They are to be at least 0.7 and 10. Then the memory of files of 10^4 records and more.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.geometry.artifact import How, audit_file
from coordexp_audit_lib.boundaries.geometry.artifact.blocks import blocks_of
from coordexp_audit_lib.boundaries.geometry.artifact.judging import File, Judge
from coordexp_audit_lib.kit.boxes import TOKENS

NAMES = ("person", "car", "chair", "dining table", "traffic light", "cup", "potted plant", "bird", "umbrella")
VALIDATE = """
import contextlib, io, sys, time
sys.path.insert(0, sys.argv[1])
from public_data.scripts.validate_jsonl import JSONLValidator
best = float("inf")
for _ in range(int(sys.argv[3])):
    validator, started = JSONLValidator(check_images=False), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        assert validator.validate_file(sys.argv[2]), [str(e) for e in validator.errors[:3]]
    best = min(best, time.process_time() - started)
print(best)
"""
MEMORY = """
import resource, sys
from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.geometry.artifact import How, audit_file
boundaries.load(["geometry"])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert {f.status for f in audit_file(sys.argv[1], How())} == {"held"}
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def write(path: Path, records: int, boxes: float = 7.0) -> int:
    """Write records of about so many boxes; returns the bytes."""
    rng = Random(0)
    with path.open("w") as file:
        for i in range(records):
            objects = []
            for _ in range(min(60, max(1, int(rng.expovariate(1 / boxes))))):
                x, y = sorted(rng.sample(range(1000), 2)), sorted(rng.sample(range(1000), 2))
                bins = [TOKENS[k] for k in (x[0], y[0], x[1], y[1])]
                objects.append({"desc": rng.choice(NAMES), "bbox_2d": bins})
            record = {"images": [f"images/train2017/{i:012d}.jpg"], "objects": objects, "width": 640, "height": 480}
            file.write(json.dumps(record) + "\n")
    return path.stat().st_size


def alone(path: Path) -> dict[str, Callable[[], object]]:
    """msgspec alone: the same file, into the types that `data` makes of its first lines."""
    judge = Judge(File(path.name, "objects", "bins", ""), How())
    with path.open("rb") as file:
        judge.take(next(blocks_of(file.read)), True)
    assert judge.layout is not None
    decoder = judge.layout.decoder

    def lines() -> None:
        with path.open("rb") as file:
            for line in file:
                decoder.decode(line)

    def in_blocks() -> None:
        with path.open("rb") as file:
            for block in blocks_of(file.read):
                decoder.decode_lines(block.text)

    return {
        "msgspec_lines": lines,
        "msgspec_blocks": in_blocks,
        "msgspec_whole": lambda: decoder.decode_lines(path.read_bytes()),
    }


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, nargs="?")
    parser.add_argument("interpreter", nargs="?")
    parser.add_argument("--records", type=int, default=30_000)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--most", type=int, default=1_000_000, help="records of the largest file whose memory is taken")
    arguments = parser.parse_args()
    boundaries.load(["geometry"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "train.coord.jsonl")
        megabytes = write(path, arguments.records) / 1e6
        works = {**alone(path), "data": lambda: audit_file(path, How())}
        best = dict.fromkeys(works, float("inf"))
        for _ in range(arguments.turns):
            for name, work in works.items():
                best[name] = min(best[name], seconds(work))
        if arguments.checkout:
            asked = [arguments.interpreter, "-c", VALIDATE, str(arguments.checkout), str(path), "2"]
            best["project"] = float(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
        rates = {f"{name}_MB_s": round(megabytes / s, 1) for name, s in best.items()}
        ratios = {f"data_to_{name}": round(s / best["data"], 2) for name, s in best.items() if name != "data"}
        print(json.dumps({"MB": round(megabytes, 1), **rates, **ratios}), flush=True)
        records = 10_000
        while records <= arguments.most:
            write(path, records, 1.0)
            asked = [sys.executable, "-c", MEMORY, str(path)]
            told = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
            size = round(path.stat().st_size / 1e6, 1)
            print(json.dumps({"records": records, "MB": size, "memory_MB": round(float(told), 1)}), flush=True)
            records *= 10


if __name__ == "__main__":
    main()
