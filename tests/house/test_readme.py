"""README, as a stranger types it: every command in it is run, with the recording in the place of a checkout.

What takes minutes is run by another test, which is named here and must call it; what sets up environments is looked up.
"""

from __future__ import annotations

import ast
import gzip
import io
import json
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from coordexp_audit_lib.cli import main
from coordexp_audit_lib.cli.commands import parsed
from coordexp_audit_lib.cli.settings import read_settings
from coordexp_audit_lib.report import tex
from coordexp_audit_lib.report.sources import PACKAGE
from coordexp_audit_lib.run.notebooks import check_parameters

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.M | re.S)
LINES = [
    line
    for kind, text in BLOCKS
    if kind == "bash"
    for line in text.splitlines()
    if line.strip() and not line.lstrip().startswith("#")
]
STAND_INS = {"~/CoordExp": "coordexp-b46e74f", "OTHER_RUN": "other_run", "RUN_DIR": "run_dir"}
# By the first words of a command: the test that runs it, because it takes long or asks a live target.
ELSEWHERE = {
    "faults": "tests/house/test_detection.py",
    "isolation": "tests/packing/test_packing_isolation_matrix.py",
    "adapter check": "tests/pipelines/test_pipelines_adapter.py",
    "pin": "tests/pipelines/test_pipelines_adapter.py",
    "check --adapter": "tests/pipelines/test_pipelines_adapter.py",
    "check --target coordexp-b46e74f --commit": "tests/targets/test_targets_commits.py",
    "check --target coordexp-b46e74f --scheduler": "tests/targets/test_targets_commits.py",
    "check --pipeline": "tests/pipelines/test_pipelines_adapter.py",
}
LONG = ("check", "run", "record")  # of the whole pipeline; here of one boundary
FINE = {"check": (0, 1, 3), "run": (0, 1, 3), "diff": (0, 1), "upstream": (0, 1, 3), "export": (2,)}
ARTIFACTS = ("data", "batch", "rollout", "metrics", "manifest")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that README's commands name."""
    home = tmp_path_factory.mktemp("home")
    record = {"images": ["a.jpg"], "width": 9, "height": 9, "objects": []}
    (home / "train.jsonl").write_text(json.dumps(record) + "\n")
    (home / "val.json.gz").write_bytes(gzip.compress(json.dumps([record]).encode()))
    batch = {
        "input_ids": np.array([[5, 6, 7]]),
        "labels": np.array([[-100, 6, 7]]),
        "position_ids": np.array([[0, 1, 2]]),
    }
    save_file(batch, home / "packed.safetensors")
    (home / "dumps").mkdir()
    np.savez(home / "dumps" / "one.npz", **batch)
    np.savez(home / "batch.npz", **batch)
    call = {"prompt_token_ids": [5], "token_ids": [6, 7], "logprobs": [-0.1, -0.2]}
    (home / "calls.jsonl").write_text(json.dumps(call) + "\n")
    shutil.copyfile(PACKAGE / "resources" / "stage2_logging.jsonl", home / "logging.jsonl")
    for name in ("run_dir", "other_run"):
        (home / name).mkdir()
        (home / name / "args.json").write_text(json.dumps({"learning_rate": len(name), "seed": 1}))
    return home


@pytest.fixture
def there(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(home)
    monkeypatch.setattr(tex, "missing", lambda: ["latexmk"])  # the PDF is built by other tests
    dump = (home / "packed.safetensors").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(dump)))
    yield home


def typed(line: str) -> list[str]:
    """The words of a line as they are run here: a recording for a checkout, which has no interpreter."""
    words = [STAND_INS.get(w, w) for w in shlex.split(line, comments=True)]
    while "--python" in words:
        at = words.index("--python")
        del words[at : at + 2]
    return words


COMMANDS = [line for line in LINES if line.startswith("coordexp-audit ")]


@pytest.mark.parametrize("line", COMMANDS, ids=range(len(COMMANDS)))
def test_a_command_of_readme_does_what_it_says(line: str, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = typed(line)[1:]
    elsewhere = next((test for begin, test in ELSEWHERE.items() if " ".join(words).startswith(begin)), None)
    if elsewhere:
        assert parsed(words).command
        assert f'"{words[0]}"' in (ROOT / elsewhere).read_text(encoding="utf-8")
        return
    if words[0] in LONG and "--select" not in words:
        words += ["--boundary", "coordjson"]
    status = main(words)
    told = capsys.readouterr()
    assert status in FINE.get(words[0], (0, 1, 3) if words[0] in ARTIFACTS else (0,)), (words, told.err)
    assert status != 2 or "pip install mlflow" in told.err
    assert told.out or status == 2 or "-q" in words
    if words[:2] == ["run", "--target"]:
        shutil.copytree(there / "runs" / "today", there / "runs" / "yesterday")


def test_the_example_with_pandas_runs_on_the_audits_made_above(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = (text for kind, text in BLOCKS if kind == "python" and "read_audit" in text)
    exec(compile(text, "README.md", "exec"), {})
    told = capsys.readouterr().out
    assert "coordjson" in told and r"\begin{tabular}" in told


def test_other_examples_compile_and_import_what_there_is(there: Path) -> None:
    for text in (text for kind, text in BLOCKS if kind == "python"):
        tree = ast.parse(text)
        own = [n for n in tree.body if isinstance(n, ast.ImportFrom) and str(n.module).startswith("coordexp_audit_lib")]
        exec(compile(ast.Module(own, []), "README.md", "exec"), {})


def test_the_settings_in_readme_are_settings(tmp_path: Path) -> None:
    (text,) = (text for kind, text in BLOCKS if kind == "toml")
    (tmp_path / "pyproject.toml").write_text(text)
    assert read_settings(tmp_path).fail_on == "P0"


def test_what_sets_up_or_starts_other_programs_names_what_there_is(there: Path) -> None:
    others: list[list[str]] = [typed(line) for line in LINES if line not in COMMANDS]
    known = {"pip", "conda", "make", "papermill", "pytest", "PYTHONPATH=."}
    assert {words[0] for words in others} == known
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for words in others:
        files = [w for w in words if w.endswith((".txt", ".yml"))]
        assert all((ROOT / name).is_file() for name in files)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, flags=re.M)
        if words[0] == "pytest":
            assert parsed(["check", *shlex.split(words[words.index("--coordexp-audit-args") + 1])]).boundary
        if words[0] == "papermill":
            names: list[Any] = [words[i + 1] for i, w in enumerate(words) if w == "-p"]
            check_parameters(ROOT / words[1], dict.fromkeys(names))
        assert all(e in extras for w in words for e in re.findall(r"\[(\w+)\]", w))


def test_the_picture_of_readme_is_there_and_says_what_the_recording_comes_to() -> None:
    (name,) = re.findall(r"\]\((book/_static/\w+\.svg)\)", README)
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "coordexp at b46e74f" in text and len(text) < 100_000
    assert all(f">{b}</text>" in text for b in ("packing", "supervision", "rollout"))
    assert "http://" not in re.sub(r'"http://(?:www\.w3\.org|purl\.org|creativecommons\.org)[^"]*"', "", text)
