"""Which checks of a JSONL file a launcher runs before training, read from its text, and whether they pass."""

import ast
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from coordexp_audit_lib.kit import picture
from coordexp_audit_lib.kit.stand_ins import replaced
from coordexp_audit_lib.pipelines.api import Unbound, binds
from coordexp_audit_lib.pipelines.coordexp import symbols

SCRIPT = "validate_jsonl.py"


@binds("geometry.launch_gate", check=symbols.VALIDATE_JSONL, python_launcher=symbols.VALIDATE_BEFORE_LAUNCH.optional)
def launch_gate(request, here):
    """Run, in the launcher's order, each check that it runs on this split, until one fails as the launcher would."""
    folder = os.path.join(here.scratch, "gate")
    shutil.rmtree(folder, ignore_errors=True)
    for i, size in enumerate(request["files"]):
        picture.written(os.path.join(folder, "images", "%d.png" % i), *size)
    jsonl = os.path.join(folder, request["split"] + ".jsonl")
    Path(jsonl).write_text("".join(json.dumps(record) + "\n" for record in request["records"]), encoding="utf-8")
    file, runs = launch_runs(here, request["launcher"], request["split"], jsonl, request["max_pixels"])
    accepted = all(passes(here.check, arguments) for _, arguments in runs)
    return {"accepted": accepted, "runs": len(runs), "lines": [line for line, _ in runs], "file": file}


def passes(check, arguments):
    """Whether the check's command ends with status 0."""
    try:
        with replaced(sys, argv=[SCRIPT, *arguments]), contextlib.redirect_stdout(io.StringIO()):
            check()
    except SystemExit as end:
        return not end.code
    return True


def launch_runs(here, launcher, split, jsonl, max_pixels):
    """The file in which they stand, and (line, arguments) of each run of the check on this split that `launcher` makes,
    its variables filled in.

    None, if it mentions no such check: then it launches on any file.
    """
    path = Path(here.tree, launcher)
    if not path.is_file():
        raise Unbound("the tree has no %s" % launcher)
    text = path.read_text(encoding="utf-8")
    runs, file = shell_runs(text), launcher
    if not runs and here.python_launcher is not None and "launchers" in text:
        runs, file = python_runs(here), symbols.VLLM_LAUNCHER.path
    chosen = [(n, filled(words, jsonl, max_pixels)) for n, words in runs if split in words[0].lower()]
    if not chosen and (SCRIPT in text or "launchers" in text):
        raise Unbound("%s checks JSONL files in a way that is unknown here" % launcher)
    return file, chosen


def shell_runs(text):
    """(line, arguments after the script's name) of each command of a shell launcher that runs it."""
    runs = []
    for found in re.finditer(r"^(?!\s*#).*%s(?:.*\\\n)*.*$" % re.escape(SCRIPT), text, re.MULTILINE):
        words = shlex.split(found.group().replace("\\\n", " "))
        at = [i for i, word in enumerate(words) if word.endswith(SCRIPT)]
        if at and len(words) > at[0] + 1:
            runs.append((text.count("\n", 0, found.start()) + 1, words[at[0] + 1 :]))
    return runs


def python_runs(here):
    """The same for the Python launcher: its calls of the function that runs the script, as that spells them."""
    text = Path(here.tree, symbols.VLLM_LAUNCHER.path).read_text(encoding="utf-8")
    calls = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
    name = here.python_launcher.__name__
    runs: list[Any] = []
    for call in sorted((c for c in calls if getattr(c.func, "id", "") == name), key=lambda c: c.lineno):
        given = {str(k.arg): k.value for k in call.keywords}
        constants = {k: v.value for k, v in given.items() if isinstance(v, ast.Constant)}
        spelled: list[Any] = []
        jsonl = "${%s}" % getattr(given["jsonl_path"], "id", "")
        with replaced(subprocess, run=lambda cmd, kept=spelled, **kw: kept.extend(cmd)):
            here.python_launcher(repo_root=Path(here.tree), jsonl_path=jsonl, max_pixels=10**9, **constants)
        at = next(i for i, word in enumerate(spelled) if str(word).endswith(SCRIPT))
        words = ["${MAX_PIXELS}" if word == str(10**9) else str(word) for word in spelled[at + 1 :]]
        runs.append((call.lineno, words))
    return runs


def filled(arguments, jsonl, max_pixels):
    """The arguments with the launcher's variables replaced: the file, the pixel limit, the box format."""
    known = {"MAX_PIXELS": str(max_pixels), "FORMAT": "xyxy"}
    made = list(arguments)
    for i, word in enumerate(arguments):
        if "$" in word:
            values = [jsonl] if i == 0 else [value for name, value in known.items() if name in word.upper()]
            if not values:
                raise Unbound("the launcher's check takes a variable that is unknown here: %s" % word)
            made[i] = values[0]
    return made
