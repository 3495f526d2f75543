"""The default run (all notebooks, both configs, HTML) against as many empty notebooks, one after the other.

    python benchmarks/run_against_empty.py [--repeat N]

Prints one JSON line: seconds of both sides and their ratio, measured in one go. Below 1 the audit is cheaper than what
papermill and the kernels cost by themselves.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.cli.commands import ANCHORED


def timed(commands: list[list[str]]) -> float:
    started = time.perf_counter()
    for command in commands:
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def empty_notebook(folder: Path) -> Path:
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    cell = nbformat.v4.new_code_cell("x = 0")
    cell.metadata["tags"] = ["parameters"]
    notebook.cells = [cell]
    path = folder / "empty.ipynb"
    nbformat.write(notebook, path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=1)
    repeat = parser.parse_args().repeat
    count = len(boundaries.BOUNDARIES) * len(ANCHORED)
    for turn in range(repeat):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            empty, audit = empty_notebook(folder), [sys.executable, "-m", "coordexp_audit_lib.cli"]
            papermill = [sys.executable, "-m", "papermill", str(empty)]
            baseline = timed([[*papermill, str(folder / f"out{i}.ipynb")] for i in range(count)])
            run = timed([[*audit, "run", "--out", str(folder / "run"), "--fail-on", "never"]])
            book = timed([[*audit, "book", str(folder / "run"), "--format", "html"]])
            if not (folder / "run" / "audit.json").is_file():
                sys.exit("the run left no audit.json: run it by hand to see why")
            ratio = (run + book) / baseline
        told = {"notebooks": count, "empty_s": baseline, "run_s": run, "html_s": book, "ratio": ratio, "turn": turn}
        print(json.dumps({k: round(v, 3) for k, v in told.items()}), flush=True)


if __name__ == "__main__":
    main()
