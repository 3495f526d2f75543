"""What runs in a target's interpreter needs nothing but the standard library to be imported, on Python 3.10 to 3.14.

Each version's text is read for syntax and names; each interpreter of this machine imports the modules, too.
"""

from __future__ import annotations

import ast
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
# Of the standard library, by the version that took it away or brought it, what a target's interpreter may be asked for.
GONE = {
    "3.12": "asynchat asyncore distutils imp smtpd pkgutil.ImpImporter pkgutil.ImpLoader",
    "3.13": "aifc audioop cgi cgitb chunk crypt imghdr lib2to3 mailcap msilib nis nntplib ossaudiodev pipes sndhdr spwd"
    " sunau telnetlib uu xdrlib importlib.resources.contents locale.resetlocale typing.io typing.re",
    "3.14": "ast.Bytes ast.Ellipsis ast.NameConstant ast.Num ast.Str asyncio.SafeChildWatcher importlib.abc.Traversable"
    " importlib.abc.ResourceReader pkgutil.find_loader pkgutil.get_loader sqlite3.version urllib.parse.Quoter",
}
BORN = {
    "3.11": "tomllib asyncio.TaskGroup asyncio.timeout contextlib.chdir datetime.UTC enum.StrEnum hashlib.file_digest"
    " typing.Never typing.Self typing.assert_never typing.reveal_type sys.exception",
    "3.12": "itertools.batched typing.override typing.TypeAliasType math.sumprod sys.monitoring",
    "3.13": "copy.replace os.process_cpu_count typing.ReadOnly typing.TypeIs warnings.deprecated",
    "3.14": "annotationlib compression concurrent.interpreters string.templatelib",
}
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
standard = set(sys.stdlib_module_names) | {"__main__", "__mp_main__", "worker"}
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


def unread(text: str, version: str) -> list[str]:
    """What Python `version` can't read of a module's text, or hasn't got in its standard library."""
    number = VERSIONS.index(version)
    missing = {n for v, names in GONE.items() if VERSIONS.index(v) <= number for n in names.split()}
    missing |= {n for v, names in BORN.items() if VERSIONS.index(v) > number for n in names.split()}
    try:
        tree = ast.parse(text, feature_version=(3, int(version.partition(".")[2])))
    except SyntaxError as error:
        return [f"line {error.lineno}: {error.msg}"]
    attributes = {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    names = {name for n in ast.walk(tree) for name in imported(n)}
    absent = {n for n in names if n.partition(".")[0] in missing} | (missing & (names | attributes))
    needed = {n for s in tree.body for n in imported(s)[:1] if not n.startswith(ALLOWED)}
    return sorted(absent | {n for n in needed if n.partition(".")[0] not in sys.stdlib_module_names})


def imported(node: ast.AST) -> list[str]:
    """The modules and members that a statement imports, a module before its members."""
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
    return [a.name for a in node.names] if isinstance(node, ast.Import) else []


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
    texts = {m: (PACKAGE.parent / m.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8") for m in MODULES}
    assert {m: found for m, text in texts.items() if (found := unread(text, version))} == {}
    if version not in interpreters():
        return  # what can be told without the interpreter is told above
    answer = asked(interpreters()[version], MODULES)
    assert answer["failed"] == {}
    wrong = [m for m in answer["others"] if m != "coordexp_audit_lib" and not m.startswith(ALLOWED)]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "version", "said"),
    [
        ("try:\n    f()\nexcept* ValueError:\n    pass\n", "3.10", "line 4: Exception groups"),
        ("import torch\n", "3.14", "torch"),
        ("from cgi import escape\n", "3.14", "cgi"),
        ("import ast\nkind = ast.Num\n", "3.14", "ast.Num"),
        ("import tomllib\n", "3.10", "tomllib"),
        ("def f():\n    from contextlib import chdir\n", "3.10", "contextlib.chdir"),
    ],
)
def test_what_a_version_has_not_is_told_from_the_text(text: str, version: str, said: str) -> None:
    assert any(found.startswith(said) for found in unread(text, version)), unread(text, version)
    assert unread("import json\n\n\ndef f():\n    import torch\n", version) == []


def test_what_needs_more_is_noticed() -> None:
    answer = asked(sys.executable, ["coordexp_audit_lib.core.surface"])
    assert "msgspec" in answer["failed"]["coordexp_audit_lib.core.surface"]
