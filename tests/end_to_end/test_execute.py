"""Running notebooks: unknown parameters are refused, failures are told, finished ones are not run again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.folder import OwnFolder
from coordexp_audit_lib.run.notebooks import Failed, Job, check_parameters, is_done, lacking_outputs, run_jobs

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def notebook(path: Path, *code: str, tagged: bool = True) -> Path:
    cells = [nbformat.v4.new_markdown_cell("# A page"), *(nbformat.v4.new_code_cell(c) for c in code)]
    if tagged:
        cells[1].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(metadata=KERNEL, cells=cells), path)
    return path


def job(source: Path, tmp_path: Path, **parameters: Any) -> Job:
    return Job(source, tmp_path / "done" / source.name, parameters)


def ran(*jobs: Job) -> list[Failed]:
    """Run them into a folder of ours; they may be finished already."""
    return run_jobs(jobs, OwnFolder.claim(jobs[0].output.parent, "run"))


def stream_of(path: Path) -> str:
    return "".join(
        o.text for c in nbformat.read(path, 4).cells if c.cell_type == "code" for o in c.outputs if "text" in o
    )


@pytest.mark.parametrize(
    ("tagged", "given", "says"),
    [(True, {"unknown": 1}, "no parameter 'unknown'"), (False, {"x": 1}, "0 cells are tagged `parameters`")],
)
def test_a_parameter_that_the_notebook_would_ignore_is_refused(
    tagged: bool, given: dict[str, Any], says: str, tmp_path: Path
) -> None:
    source = notebook(tmp_path / "a.ipynb", "x = 0", tagged=tagged)
    with pytest.raises(UsageError, match=says):
        check_parameters(source, given)


def test_a_finished_notebook_is_not_run_again_unless_it_or_a_parameter_changed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = f"with open({str(log)!r}, 'a') as f: _ = f.write('ran ')"
    source = notebook(tmp_path / "a.ipynb", "x = 0", code, "print('x is', x)")
    first = job(source, tmp_path, x=1)
    assert ran(first) == []
    assert stream_of(first.output) == "x is 1\n"
    assert is_done(first)
    assert ran(first) == []
    assert log.read_text() == "ran "
    assert not is_done(job(source, tmp_path, x=2))
    notebook(source, "x = 0", code, "print('changed', x)")
    assert not is_done(first)


def test_two_runs_of_a_notebook_leave_the_same_bytes(tmp_path: Path) -> None:
    source = notebook(tmp_path / "a.ipynb", "x = 0", "print(x)")
    jobs = [Job(source, tmp_path / name / "a.ipynb", {"x": 3}) for name in ("one", "two")]
    assert ran(jobs[0]) + ran(jobs[1]) == []
    one, two = (j.output.read_bytes() for j in jobs)
    assert one == two
    assert str(tmp_path).encode() not in one


def test_a_notebook_that_raises_is_told_and_is_not_done(tmp_path: Path) -> None:
    bad = job(notebook(tmp_path / "bad.ipynb", "x = 0", "raise ValueError('the claim fails')"), tmp_path)
    good = job(notebook(tmp_path / "good.ipynb", "x = 0", "print(x)"), tmp_path)
    (failed,) = ran(bad, good)
    assert failed.job == bad
    assert "ValueError: the claim fails" in failed.reason
    assert is_done(good)
    assert not is_done(bad)


@pytest.mark.parametrize("spoil", ["clear", "count"])
def test_a_notebook_with_stripped_outputs_is_noticed(spoil: str, tmp_path: Path) -> None:
    done = job(notebook(tmp_path / "a.ipynb", "x = 0", "print(x)"), tmp_path)
    ran(done)
    assert lacking_outputs(done.output) == ""
    content = nbformat.read(done.output, 4)
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs = [] if spoil == "clear" else cell.outputs
            cell.execution_count = None if spoil == "count" else cell.execution_count
    nbformat.write(content, done.output)
    assert "stripped" in lacking_outputs(done.output)


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"cells": []}'])
def test_a_damaged_output_counts_as_not_done(content: str, tmp_path: Path) -> None:
    todo = job(notebook(tmp_path / "a.ipynb", "x = 0"), tmp_path)
    todo.output.parent.mkdir()
    todo.output.write_text(content)
    assert not is_done(todo)
