"""Packages and repositories made in a scratch folder, for a manifest writer to find."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from coordexp_audit_lib.boundaries.provenance.capture import Found
from coordexp_audit_lib.boundaries.provenance.contract import Module
from coordexp_audit_lib.core.evidence import digest

_WHO = ("-c", "user.name=audit", "-c", "user.email=audit@audit.invalid", "-c", "commit.gpgsign=false")
_DATE = "2026-01-01T00:00:00Z"


def commit(folder: Path, message: str) -> None:
    """Commit everything in `folder`, which becomes a repository; the same files give the same commit."""
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_DATE": _DATE,
        "GIT_COMMITTER_DATE": _DATE,
    }
    for command in (("init", "-q"), ("add", "-A"), (*_WHO, "commit", "-q", "-m", message)):
        subprocess.run(["git", *command], cwd=folder, env=env, check=True, capture_output=True, timeout=30)


def head(folder: Path) -> str:
    """The commit that is checked out."""
    ran = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, timeout=30)
    return ran.stdout.decode().strip()


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="audit-provenance-")


def scratch() -> Path:
    """A folder that lives as long as this process."""
    return Path(_scratch().name).resolve()


@cache
def home(name: str, place: str, number: int) -> Path:
    """The root module's file of a package that is installed at `place` (a `contract.Home`)."""
    root = scratch() / f"{place}-{number}"
    below = {"wheel": "site-packages", "wheel_in_repository": ".venv/lib/site-packages"}.get(place, "")
    file = root / below / name / "__init__.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("number = 0\n")
    if place == "wheel_in_repository":
        (root / ".gitignore").write_text(".venv\n")
        commit(root, "a project with a virtual environment in it")
    elif place != "wheel":
        for n in range(number + 1):
            file.write_text(f"number = {n}\n")
            commit(root, f"commit {n}")
        if place == "changed_checkout":
            file.write_text("number = -1\n")
    return file


def found(name: str, module: Module) -> Found:
    """What a look for a planted package gives."""
    if module.state == "absent":
        return Found(error=f"ModuleNotFoundError: No module named {name!r}")
    error = {"import_error": "ImportError: planted", "os_error": "OSError: planted"}.get(module.state)
    return Found(module.version, str(home(name, module.home, module.commit)), error)


@cache
def run_repository(remote: str) -> Path:
    """The repository that trains, with a remote of that address."""
    root = scratch() / f"run-{digest(remote)}"
    root.mkdir()
    (root / "train.py").write_text("pass\n")
    commit(root, "the training code")
    if remote:
        subprocess.run(
            ["git", "config", "remote.origin.url", remote], cwd=root, check=True, capture_output=True, timeout=30
        )
    return root
