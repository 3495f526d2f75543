"""What git says of a tree that is not trusted: read with its hooks, filters and helpers switched off."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec

CACHES = ("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".ipynb_checkpoints", ".venv", ".DS_Store")
OFF = {
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.pager": "cat",
    "protocol.allow": "never",
    "safe.directory": "*",
}
SECONDS = 60


class GitState(msgspec.Struct, frozen=True):
    """commit: full hash, empty where there is none. date: the commit's, ISO 8601. note: why something is not known."""

    commit: str = ""
    date: str = ""
    dirty: bool | None = None
    note: str = ""


def git_state(root: Path) -> GitState:
    """The commit of the tree at `root`, and whether tracked or new files differ from it (caches do not count)."""
    try:
        top = _git(root, "rev-parse", "--show-toplevel").strip()
    except (OSError, subprocess.SubprocessError):
        top = ""
    if not top or Path(top).resolve() != root.resolve():
        return GitState(note="not a git repository of its own")
    try:
        commit, _, date = _git(root, "log", "-1", "--no-show-signature", "--format=%H %cI").strip().partition(" ")
        options = ("--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=all")
        status = _git(root, "status", *options, settings=_no_filters(root))
    except (OSError, subprocess.SubprocessError) as error:
        return GitState(note=f"git could not read it: {type(error).__name__}")
    return GitState(commit, date, dirty=any(_counts(entry) for entry in status.split("\0") if entry))


def _counts(entry: str) -> bool:
    """Whether a line of `git status` makes a tree dirty: an untracked cache does not."""
    untracked, path = entry[:2] == "??", entry[3:]
    return not (untracked and any(part in CACHES or part.endswith(".pyc") for part in path.split("/")))


def _no_filters(root: Path) -> dict[str, str]:
    """Settings that empty every clean, smudge and process filter: `git status` would run them."""
    names = set(_git(root, "config", "--name-only", "-z", "--list").split("\0"))
    drivers = {n.rpartition(".")[0] for n in names if n.startswith("filter.")}
    empty = {f"{d}.{key}": "" for d in drivers for key in ("clean", "smudge", "process")}
    return empty | {f"{d}.required": "false" for d in drivers}


def _git(root: Path, *command: str, settings: dict[str, str] | None = None) -> str:
    """Run git; the settings travel in the environment, where a name may hold any character."""
    chosen = OFF | (settings or {})
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_CONFIG_COUNT": str(len(chosen)),
    }
    for number, (name, value) in enumerate(sorted(chosen.items())):
        env |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    ran = subprocess.run(
        ["git", "--no-optional-locks", "-C", str(root), *command],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=True,
    )
    return ran.stdout.decode("utf-8", "replace")
