"""What runs in a target's interpreter needs nothing but the standard library to be imported, on Python 3.10 to 3.14."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "coordexp_audit_lib"
COORDEXP = PACKAGE / "pipelines" / "coordexp"
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
FOLDERS = (PACKAGE / "kit", COORDEXP / "harness", COORDEXP / "answers")
MODULES = sorted(
    ".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts)
    for p in (PACKAGE / "pipelines" / "api.py", COORDEXP / "symbols.py", *(m for f in FOLDERS for m in f.rglob("*.py")))
    if p.stem != "__init__"
)
ALLOWED = ("coordexp_audit_lib.kit", "coordexp_audit_lib.pipelines")
PROGRAM = """
import importlib, importlib.util, json, sys
spec = importlib.util.spec_from_file_location("worker", sys.argv[1])
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)
worker.bare_library()
failed = {}
for name in json.loads(sys.argv[2]):
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = "%s: %s" % (type(error).__name__, error)
standard = set(sys.stdlib_module_names) | {"__main__", "worker"}
others = sorted(m for m in sys.modules if m.split(".")[0] not in standard)
print(json.dumps({"failed": failed, "others": others}))
"""


@lru_cache(maxsize=1)
def interpreters() -> dict[str, str]:
    """The interpreters of this machine by version: this one, those on the path, and those beside either."""
    folders = [Path(p) for p in os.environ.get("PATH", "").split(os.pathsep) if p]
    found = {}
    for version in VERSIONS:
        name = f"python{version}"
        beside = [p for f in folders for p in sorted(f.parent.glob(f"versions/{version}*/bin/{name}"))]
        beside += sorted(Path(sys.base_prefix).parent.glob(f"{version}*/bin/{name}"))
        on_path = [Path(w)] if (w := shutil.which(name)) else []
        for path in [Path(sys.executable), *on_path, *beside]:
            if version not in found and version_of(path) == version:
                found[version] = str(path)
    return found


@lru_cache
def version_of(path: Path) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        ran = subprocess.run([path, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return ""
    return ran.stdout.strip() if ran.returncode == 0 else ""


def asked(python: str, modules: list[str]) -> dict[str, Any]:
    command = [python, "-I", "-S", "-c", PROGRAM, str(PACKAGE / "sandbox" / "worker.py"), json.dumps(modules)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


def test_there_are_interpreters_and_modules_to_try() -> None:
    assert interpreters(), "no interpreter of 3.10 to 3.14 is found"
    assert any(m.endswith(".kit.model") for m in MODULES) and any(".answers.packing." in m for m in MODULES)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_module_imports_alone(version: str) -> None:
    if version not in interpreters():
        pytest.skip(f"no Python {version} on this machine; found: {', '.join(interpreters())}")
    answer = asked(interpreters()[version], MODULES)
    assert answer["failed"] == {}
    wrong = [m for m in answer["others"] if m != "coordexp_audit_lib" and not m.startswith(ALLOWED)]
    assert wrong == []


def test_what_needs_more_is_noticed() -> None:
    answer = asked(sys.executable, ["coordexp_audit_lib.core.surface"])
    assert "msgspec" in answer["failed"]["coordexp_audit_lib.core.surface"]
