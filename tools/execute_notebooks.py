"""Execute the committed notebooks in place, with their own parameters, and take out what differs from run to run.

python tools/execute_notebooks.py [notebooks/06_packing.ipynb ...]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm import tqdm

from coordexp_audit_lib.run.kernel import QUIET
from coordexp_audit_lib.run.notebooks import normalise

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", nargs="*", type=Path, help="all by default")
    chosen = parser.parse_args().notebook or sorted(NOTEBOOKS.glob("*.ipynb"))
    for path in tqdm(chosen, desc="execute", file=sys.stderr):
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(notebook, kernel_name="python3", extra_arguments=QUIET, timeout=600)
        client.execute(cwd=str(path.parent))
        normalise(notebook)
        temporary = path.with_name(f".{path.name}")
        nbformat.write(notebook, temporary)
        temporary.replace(path)


if __name__ == "__main__":
    main()
