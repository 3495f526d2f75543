"""The committed notebooks, and the traps of papermill, nbval and jupyter-book."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.report.outputs import check, clean
from coordexp_audit_lib.report.sanitize import read_rules
from coordexp_audit_lib.run.notebooks import PARAMETERS, check_parameters

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
RULES = NOTEBOOKS / "nbval_sanitize.cfg"
DATASET = "14_dataset.ipynb"  # of any data file, and not of a target's boundary
POWER = "13_detection_power.ipynb"  # of kept results
NAMES = [*(b.notebook for b in boundaries.BOUNDARIES), POWER, DATASET]
TAKES = {
    DATASET: ("data", "form", "frame", "images", "max_pixels", "multiple_of", "cap", "sampled", "seed", "fail_on"),
    POWER: ("seed", "fail_on"),
}
MACHINE = re.compile(r"/(?:root|home|tmp|work|Users|private|usr|opt)/")

each_notebook = pytest.mark.parametrize("name", NAMES)


def load(name: str) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads((NOTEBOOKS / name).read_text(encoding="utf-8"))
    return notebook


def text(part: Any) -> str:
    return "".join(part) if isinstance(part, list) else str(part)


def outputs(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [o for cell in notebook["cells"] if cell["cell_type"] == "code" for o in cell["outputs"]]


def test_every_boundary_has_its_notebook_and_there_is_no_other() -> None:
    assert sorted(p.name for p in NOTEBOOKS.glob("*.ipynb")) == sorted(NAMES)


@each_notebook
def test_a_notebook_is_valid_executed_and_fit_for_the_book(name: str) -> None:
    notebook = load(name)
    nbformat.validate(nbformat.from_dict(copy.deepcopy(notebook)))
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    check(notebook, name)
    clean(notebook, name)


@each_notebook
def test_a_notebook_takes_exactly_the_parameters_of_the_design(name: str) -> None:
    takes = TAKES.get(name, PARAMETERS)
    check_parameters(NOTEBOOKS / name, dict.fromkeys(takes))
    (cell,) = [c for c in load(name)["cells"] if "parameters" in c["metadata"].get("tags", [])]
    assigned = re.findall(r"^(\w+)\s*(?::[^=]+)?=", text(cell["source"]), flags=re.M)
    assert sorted(assigned) == sorted(takes)


@each_notebook
def test_outputs_hold_nothing_of_this_machine(name: str) -> None:
    for output in outputs(load(name)):
        assert output["output_type"] in ("stream", "display_data", "execute_result"), output["output_type"]
        assert output.get("name") != "stderr"
        words = (
            text(output["text"])
            if "text" in output
            else json.dumps(
                {k: v for k, v in output["data"].items() if not k.startswith("image/") and k != "application/pdf"}
            )
        )
        assert not MACHINE.search(words), MACHINE.search(words)
        assert " at 0x" not in words


@each_notebook
def test_no_cell_ends_in_a_semicolon_that_nbval_would_ignore(name: str) -> None:
    for cell in load(name)["cells"]:
        if cell["cell_type"] == "code":
            assert not text(cell["source"]).rstrip().endswith(";")


@each_notebook
def test_figures_are_more_than_their_pixels(name: str) -> None:
    """nbval compares no image, so a cell that draws must also print what it drew, or the next to it."""
    cells = [c for c in load(name)["cells"] if c["cell_type"] == "code"]
    kinds = [
        {k for o in c["outputs"] for k in ("text", *o.get("data", {})) if k in o or k in o.get("data", {})}
        for c in cells
    ]
    for i, kind in enumerate(kinds):
        if kind & {"image/png", "image/svg+xml"}:
            near = kind.union(*kinds[max(0, i - 1) : i + 2])
            assert near & {"text", "text/html"}, f"cell {i} shows an image and no number"


def test_nbval_reads_every_sanitize_rule() -> None:
    lines = RULES.read_text(encoding="utf-8").splitlines()
    rules = read_rules(RULES)
    assert len(rules) == sum(line.lstrip().startswith("regex") for line in lines) == 3


@pytest.mark.parametrize(
    "content",
    [
        "[a]\nregex = 0x.*\nreplace = X\n",
        "[a]\nregex: 0x.*\n\nreplace: X\n",
        "[a]\n regex: 0x.*\nreplace: X\n",
        "[a]\nregex: a\nreplace: b\nregex: c\n",
        "[a]\nregex: (\nreplace: b\n",
    ],
)
def test_a_sanitize_rule_that_nbval_would_drop_is_an_error(content: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.cfg"
    path.write_text(content)
    with pytest.raises(AuditError):
        read_rules(path)


def nbval(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`pytest --nbval` on a folder beside a copy of our conftest."""
    (folder / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--nbval",
        "--nbval-current-env",
        *options,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def write_notebook(folder: Path, *, printed: str | None) -> None:
    v4 = nbformat.v4
    found = [v4.new_output("stream", name="stdout", text=printed)] if printed is not None else []
    cell = v4.new_code_cell("print(6 * 7)", outputs=found, execution_count=1 if printed is not None else None)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(v4.new_notebook(metadata=kernel, cells=[v4.new_markdown_cell("# T"), cell]), folder / "a.ipynb")


@pytest.mark.parametrize(
    ("printed", "rules", "status", "says"),
    [
        ("42\n", "regex: 0x[0-9]+\nreplace: X\n", 0, "1 passed"),
        ("43\n", "", 1, "1 failed"),
        (None, "", 2, "outputs were stripped"),
        ("42\n", "regex = 0x[0-9]+\nreplace = X\n", 4, "nbval would not read this line"),
    ],
)
def test_nbval_compares_outputs_and_refuses_to_compare_nothing(
    printed: str | None, rules: str, status: int, says: str, tmp_path: Path
) -> None:
    write_notebook(tmp_path, printed=printed)
    (tmp_path / "rules.cfg").write_text(rules)
    done = nbval(tmp_path, "--nbval-sanitize-with", "rules.cfg")
    assert says in done.stdout + done.stderr
    assert done.returncode == status, done.stdout + done.stderr


def test_the_book_executes_nothing_and_leaves_nothing_out_in_silence() -> None:
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert settings["execute"]["execute_notebooks"] == "off"
    assert settings["only_build_toc_files"] is True
    assert settings["sphinx"]["config"]["nitpicky"] is True
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    assert toc["root"] == "result"
    for page in ("intro.md", "method.md"):
        assert (ROOT / "book" / page).read_text().startswith("# ")
