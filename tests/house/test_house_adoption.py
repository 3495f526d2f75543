"""What other repositories call: hooks and a GitHub action name commands and options that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from coordexp_audit_lib.cli.commands import _parser

ROOT = Path(__file__).resolve().parents[2]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("hook", HOOKS, ids=[h["id"] for h in HOOKS])
def test_a_hook_calls_a_command_that_there_is(hook: dict[str, str]) -> None:
    program, *words = shlex.split(hook["entry"])
    files = [] if hook.get("pass_filenames") is False else ["train.jsonl", "val.jsonl.gz"]
    assert program == "coordexp-audit" and _parser().parse_args([*words, *files]).command
    assert all(re.search(hook["files"], name) for name in files)


def test_the_action_calls_a_command_that_there_is_with_every_input() -> None:
    script = "\n".join(step.get("run", "") for step in ACTION["runs"]["steps"])
    called = re.search(r'bin/coordexp-audit" ((?:.|\\\n)*?)\n', script.replace("\\\n", " "))
    assert called is not None and _parser().parse_args(shlex.split(called[1].replace("$ARGUMENTS", "--fail-on P0")))
    given = " ".join(str(step.get("env", "")) for step in ACTION["runs"]["steps"])
    assert all(f"inputs.{name}" in given for name in ACTION["inputs"])


def test_the_example_workflow_uses_the_action_as_it_is_and_commands_that_there_are() -> None:
    workflow = yaml.safe_load((ROOT / "examples" / "github_workflow.yml").read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    (action,) = (step for step in steps if "coordexp-audit@" in step.get("uses", ""))
    assert action["with"].keys() <= ACTION["inputs"].keys() and action["with"].keys() >= {"python"}
    assert f"steps.{action['id']}.outputs.folder" in str(steps) and "folder" in ACTION["outputs"]
    assert workflow["jobs"]["audit"]["permissions"]["security-events"] == "write"
    assert _parser().parse_args(["check", *shlex.split(action["with"]["arguments"])]).baseline
    called = re.findall(r'bin/coordexp-audit" (.+)', "\n".join(step.get("run", "") for step in steps))
    assert [_parser().parse_args(shlex.split(words)).run for words in called if words.startswith("book")]
    assert [_parser().parse_args(shlex.split(words)).out for words in called if words.startswith("run")]
    uploaded = next(step for step in steps if "upload-pages-artifact" in step.get("uses", ""))
    assert uploaded["with"]["path"].endswith("run/book/html")
