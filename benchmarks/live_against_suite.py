"""The live check of a checkout, all boundaries and both configs, against the project's own test suite, in one run.

    python benchmarks/live_against_suite.py CHECKOUT INTERPRETER [--jobs N] [--repeat N]

Prints one JSON line a turn: seconds of both, their ratio, which must stay at or below 0.8 on 2 cores, and how many
findings there were.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def timed(command: list[str], cwd: Path | None = None) -> float:
    offline = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
    started = time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command, cwd=cwd, env={**os.environ, **offline}, check=False, **quiet)  # type: ignore[call-overload]
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("interpreter")
    parser.add_argument("--jobs", type=int, default=0, help="processes that ask (all cores)")
    parser.add_argument("--repeat", type=int, default=1)
    arguments = parser.parse_args()
    check = [sys.executable, "-m", "coordexp_audit_lib.cli", "check", "--fail-on", "never"]
    check += ["--target", str(arguments.checkout.resolve()), "--python", arguments.interpreter]
    check += ["--jobs", str(arguments.jobs)] if arguments.jobs else []
    for turn in range(arguments.repeat):
        with tempfile.TemporaryDirectory() as out:
            live = timed([*check, "--out", out])
            document = Path(out, "audit.json")
            if not document.is_file():
                sys.exit("the check left no audit.json: run it by hand to see why")
            findings = len(json.loads(document.read_text(encoding="utf-8"))["findings"])
        suite = timed([arguments.interpreter, "-m", "pytest", "-q", "-p", "no:cacheprovider"], arguments.checkout)
        told = {"live_s": round(live, 1), "suite_s": round(suite, 1), "ratio": round(live / suite, 3)}
        print(json.dumps({**told, "findings": findings, "turn": turn}), flush=True)


if __name__ == "__main__":
    main()
