"""Boundaries 05 to 08 on the reference against the audited project's own test suite, in one run on one machine.

    python benchmarks/reference_against_suite.py CHECKOUT INTERPRETER

Prints one JSON line: seconds of both, their ratio, and beside it the seconds of the same boundaries on the checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

BOUNDARIES = ("template", "packing", "supervision", "rollout")


def timed(command: list[str], cwd: Path | None = None, **env: str) -> float:
    started = time.perf_counter()
    subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("interpreter")
    arguments = parser.parse_args()
    check = [sys.executable, "-m", "coordexp_audit_lib.cli", "check", "--fail-on", "never", "--boundary", *BOUNDARIES]
    offline = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
    suite = timed(
        [arguments.interpreter, "-m", "pytest", "-q", "-p", "no:cacheprovider"], arguments.checkout, **offline
    )
    reference = timed([*check, "--target", "reference"])
    live = timed([*check, "--target", str(arguments.checkout), "--python", arguments.interpreter])
    told = {"suite_s": suite, "reference_s": reference, "checkout_s": live, "ratio": reference / suite}
    print(json.dumps({k: round(v, 3) for k, v in told.items()}))


if __name__ == "__main__":
    main()
