"""Prove the library under several releases of Python, torch and transformers, each in a virtual environment of its own.

python tools/matrix.py [--list] [CELL ...]     CELL: 3.11-2.13.0-5.0.0 (Python, torch, transformers) or a word of it

In each: the tests that run a real model or the callback in a real Trainer, the audit of the reference, and the
isolation matrix against what is recorded of that release. A cell whose Python is not on this machine is left out, and
told.
Environments stay in build/matrix/; one that is there is used again.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "matrix"
# What a release may do otherwise is told there by what it does; tests of the pinned release's own contracts stay out.
GUARDS = tuple(f"tests/guards/test_guards_{n}.py" for n in ("anyone", "calls", "functions", "trainer"))
MODELS = ("test_mrope_profiles.py", "test_packing_isolation.py", "test_packing_isolation_matrix.py")
TESTS = ("tests/kit", *GUARDS, *(f"tests/packing/{name}" for name in MODELS))
SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
TOLD = 12  # lines of what a failed step said
# What a release of torch or transformers chooses for itself; the rest is as constraints.txt has it.
THEIRS = r"(torch|transformers|tokenizers|huggingface.hub|hf.xet|numpy|setuptools|sympy|networkx|triton|typer.*|fsspec)"


class Cell(NamedTuple):
    """One combination of releases."""

    python: str
    torch: str
    transformers: str

    @property
    def name(self) -> str:
        return "-".join(self)

    @property
    def bin(self) -> Path:
        return BUILD / self.name / "bin"


# Every release of Python, torch and transformers that is promised, and each of transformers under the newest Python.
CELLS = (
    Cell("3.11", "2.13.0", "4.57.6"),
    Cell("3.11", "2.13.0", "5.0.0"),
    Cell("3.11", "2.13.0", "5.24.0"),
    Cell("3.11", "2.14.1", "5.24.0"),
    Cell("3.12", "2.8.0", "4.57.6"),
    Cell("3.12", "2.8.0", "5.24.0"),
    Cell("3.13", "2.8.0", "5.0.0"),
    Cell("3.13", "2.13.0", "5.24.0"),
)


def interpreter(version: str) -> str | None:
    """A Python of that version on this machine that starts."""
    places = [*map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python")), shutil.which(f"python{version}")]
    return next((p for p in places if p and _starts(p)), None)


def _starts(python: str) -> bool:
    return subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode == 0


def chosen(words: list[str]) -> list[Cell]:
    """The cells that one of the words names, in whole or in part; all by default."""
    unknown = [w for w in words if not any(w == c.name or w in c for c in CELLS)]
    if unknown:
        raise SystemExit(f"no cell is called {unknown[0]}: there are {', '.join(c.name for c in CELLS)}")
    return [c for c in CELLS if not words or any(w == c.name or w in c for w in words)]


def made(cell: Cell, python: str) -> None:
    """The cell's environment: its torch first, so that a build at hand is taken, then this clone with its tests."""
    if (cell.bin.parent / "made").is_file():
        return
    shutil.rmtree(cell.bin.parent, ignore_errors=True)
    subprocess.run([python, "-m", "venv", str(cell.bin.parent)], check=True)
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not re.fullmatch(rf"{THEIRS}==\S+", line, re.IGNORECASE)]
    constraints = cell.bin.parent / "constraints.txt"
    constraints.write_text("\n".join(kept) + "\n", encoding="utf-8")
    pip = [str(cell.bin / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"torch=={cell.torch}"], check=True)
    wanted = [f"torch=={cell.torch}", f"transformers=={cell.transformers}", "--editable", f"{ROOT}[test]"]
    subprocess.run([*pip, "--constraint", str(constraints), *wanted], check=True)
    (cell.bin.parent / "made").touch()


def steps(cell: Cell) -> dict[str, list[str]]:
    """What is run in a cell, by what it shows."""
    python = str(cell.bin / "python")
    library = [python, "-m", "coordexp_audit_lib.cli"]
    return {
        "tests": [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SIDE_BY_SIDE, *TESTS],
        # A release of which a contract does not hold is told, and no failure: what could not be judged is one.
        "audit": [*library, "check", "--target", "reference", "--fail-on", "never"],
        "isolation": [*library, "isolation"],
    }


def proved(cell: Cell) -> bool:
    """Run a cell's steps and print a line for each."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    good = True
    for what, command in steps(cell).items():
        began = time.monotonic()
        ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        said = ran.stdout.strip().splitlines() or [""]
        print(f"{cell.name}  {what}: {said[-1]} ({time.monotonic() - began:.0f} s)", flush=True)
        if ran.returncode:
            print("\n".join([*said[-TOLD:], *ran.stderr.strip().splitlines()[-TOLD:]]), flush=True)
        good = good and ran.returncode == 0
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cell", nargs="*", help="all by default")
    parser.add_argument("--list", action="store_true", help="name the cells and where their Python is")
    arguments = parser.parse_args()
    failed, left_out = [], []
    for cell in chosen(arguments.cell):
        python = interpreter(cell.python)
        if arguments.list:
            print(f"{cell.name}  {python or 'no such Python here'}")
        elif python is None:
            left_out.append(cell.name)
        else:
            made(cell, python)
            failed += [] if proved(cell) else [cell.name]
    for cell_name in left_out:
        print(f"{cell_name}  left out: its Python is not on this machine")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
