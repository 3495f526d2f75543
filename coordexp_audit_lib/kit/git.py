"""What git says of a tree that is not trusted: read with its hooks, filters, helpers and remotes switched off.

One set of settings for everybody: the tree under audit, the sources that a manifest names, and the repositories that
answers plant in a target's interpreter. Standard library only, Python 3.10.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

CACHES = ("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".ipynb_checkpoints", ".venv", ".DS_Store")
ENVIRONMENTS = ("venv", "env", "site-packages", "node_modules", ".tox", ".eggs", "build", "dist")
OFF = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.pager": "cat",
    "protocol.allow": "never",
    "safe.directory": "*",
}
# A repository's own `protocol.NAME.allow` wins over `protocol.allow`, the variable wins over both; and a tree of which
# objects are missing would fetch them from a promisor remote, by any program that the remote's address names.
ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "HOME": "/nonexistent",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
SECONDS = 5.0  # where a run waits for the answer
WHO = ("-c", "user.name=audit", "-c", "user.email=audit@audit.invalid", "-c", "commit.gpgsign=false")
WHEN = "2026-01-01T00:00:00Z"
UNREADABLE = (OSError, subprocess.SubprocessError)
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class GitState(NamedTuple):
    """commit: full hash, empty where there is none. date: the commit's, ISO 8601. note: why something is not known."""

    commit: str = ""
    date: str = ""
    dirty: bool | None = None
    note: str = ""


class Source(NamedTuple):
    """Where code comes from. checkout: whether it is a git working tree that tracks it, None if git could not tell.
    statement: what it is instead, or why it is not known. remote: the address of `origin`, as it stands in the config:
    it may hold a password."""

    path: str
    checkout: bool | None
    sha: str | None = None
    branch: str | None = None
    dirty: bool | None = None
    remote: str | None = None
    statement: str | None = None


def git_state(root: Path, seconds: float = 60.0, own: Iterable[Path] = ()) -> GitState:
    """The commit of the tree at `root`, and whether tracked or new files differ from it (caches do not count, nor do
    the new files and folders `own`, which the caller writes there)."""
    try:
        top = run(root, "rev-parse", "--show-toplevel", seconds=seconds).strip()
    except UNREADABLE:
        top = ""
    if not top or Path(top).resolve() != root.resolve():
        return GitState(note="not a git repository of its own")
    try:
        shown = run(root, "log", "-1", "--no-show-signature", "--format=%H %cI", seconds=seconds)
        commit, _, date = shown.strip().partition(" ")
        return GitState(commit, date, _status(root, _settings(root), seconds, _inside(root, own))[1])
    except UNREADABLE as error:
        return GitState(note=f"git could not read it: {type(error).__name__}")


def source_of(path: Path) -> Source:
    """The state of the working tree that holds the file or folder `path` and tracks it.

    A package that merely lies below some repository, as in a virtual environment inside a project, is no checkout:
    that repository's commit says nothing of it.
    """
    folder = path if path.is_dir() else path.parent
    try:
        top = run(folder, "rev-parse", "--show-toplevel").strip()
    except FileNotFoundError:
        return Source(str(folder), None, statement="not known: git is not installed")
    except UNREADABLE:
        return Source(str(folder), False, statement="not a git checkout: it lies in no repository")
    try:
        if not run(folder, "ls-files", "-z", "--", "." if path.is_dir() else path.name):
            around = "not a git checkout: the repository around it does not track it"
            return Source(str(folder), False, statement=around)
        settings = _settings(Path(top))
        about, dirty = _status(Path(top), settings, SECONDS)
    except UNREADABLE as error:
        return Source(top, None, statement=f"not known: git could not read it ({type(error).__name__})")
    sha = about.get("branch.oid", "")
    known = _SHA.fullmatch(sha) is not None
    remote = settings.get("remote.origin.url") or None
    statement = None if known else "it has no commit yet"
    return Source(top, True, sha if known else None, about.get("branch.head") or None, dirty, remote, statement)


def run(folder: Path, *command: str, settings: dict[str, str] | None = None, seconds: float = SECONDS) -> str:
    """Run git in a folder and give what it prints. Settings travel in the environment, where a name may hold anything.

    Raises:
        OSError, subprocess.SubprocessError: there is no git, it fails, or it takes longer than `seconds`.
    """
    return printable(_run(folder, command, {**OFF, **(settings or {})}, seconds, {}))


def printable(text: str) -> str:
    """A text that any encoding of Unicode can write: bytes that were no UTF-8 are marked."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def commit_all(folder: Path, message: str) -> str:
    """Commit all of `folder`, which becomes a repository; gives the commit, which is the same for the same files.

    Raises:
        OSError, subprocess.SubprocessError: git is not there or fails.
    """
    dated = {"GIT_AUTHOR_DATE": WHEN, "GIT_COMMITTER_DATE": WHEN}
    for command in (("init", "-q"), ("add", "-A"), (*WHO, "commit", "-q", "-m", message)):
        _run(folder, command, OFF, 30.0, dated)
    return run(folder, "rev-parse", "HEAD").strip()


def _run(
    folder: Path,
    command: Iterable[str],
    settings: dict[str, str],
    seconds: float,
    variables: dict[str, str],
    *,
    given: str = "",
) -> str:
    env = {"PATH": os.environ.get("PATH", os.defpath), **ENVIRONMENT, **variables}
    env["GIT_CONFIG_COUNT"] = str(len(settings))
    for number, (name, value) in enumerate(sorted(settings.items())):
        env[f"GIT_CONFIG_KEY_{number}"], env[f"GIT_CONFIG_VALUE_{number}"] = name, value
    words = ["git", "-C", str(folder), *command]
    raw = given.encode("utf-8", "surrogateescape")
    ran = subprocess.run(words, env=env, input=raw, capture_output=True, timeout=seconds, check=True)
    return ran.stdout.decode("utf-8", "surrogateescape")


def _settings(root: Path) -> dict[str, str]:
    """The repository's own settings, by name."""
    listed = run(root, "config", "-z", "--list").split("\0")
    return {name: value for name, _, value in (entry.partition("\n") for entry in listed)}


def _inside(root: Path, own: Iterable[Path]) -> tuple[str, ...]:
    """Those of the paths that lie below `root`, as git names them."""
    found = (os.path.relpath(path.resolve(), root.resolve()) for path in own)
    return tuple(path for path in found if path != os.curdir and not path.startswith(os.pardir))


def _status(root: Path, known: Iterable[str], seconds: float, own: tuple[str, ...] = ()) -> tuple[dict[str, str], bool]:
    """What `git status` says of the branch, and whether anything differs. Every filter among the settings `known` is
    emptied, for it would be run; submodules are left alone, for git reads them without our settings."""
    drivers = {n.rpartition(".")[0] for n in known if n.startswith("filter.")}
    empty = {f"{d}.{key}": "" for d in drivers for key in ("clean", "smudge", "process")}
    empty |= {f"{d}.required": "false" for d in drivers}
    options = ("--porcelain=v2", "--branch", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=all")
    listed = run(root, "status", *options, "--ignored=matching", settings=empty, seconds=seconds)
    lines = [e for e in listed.split("\0") if e]
    about = dict(e[2:].split(" ", 1) for e in lines if e.startswith("# branch."))
    changed = any(_counts(root, e, own) for e in lines if not e.startswith("# "))
    return about, changed or _unseen_changes(root, {**OFF, **empty}, seconds)


def _counts(root: Path, entry: str, own: tuple[str, ...]) -> bool:
    """Whether a line of `git status` makes a tree dirty: an untracked cache does not, nor does what is our own, and of
    what is ignored only a module does, for Python finds it whether git looks at it or not."""
    path = entry[2:]
    parts = path.rstrip("/").split("/")
    if not entry.startswith(("? ", "! ")):
        return True
    if any(path == name or path.startswith(f"{name}/") for name in own):
        return False
    if any(part in CACHES or part.endswith(".pyc") for part in parts):
        return False
    if entry.startswith("? "):
        return True
    if any(part in ENVIRONMENTS or part.endswith(".egg-info") for part in parts):
        return False
    return path.endswith(".py") or (path.endswith("/") and (root / path / "__init__.py").is_file())


def _unseen_changes(root: Path, settings: dict[str, str], seconds: float) -> bool:
    """Whether a file differs that git was told not to look at: `--assume-unchanged`, or `--skip-worktree`, of which one
    that is not there is only left out of the tree."""
    flags = [e.partition(" ") for e in _run(root, ("ls-files", "-v", "-z"), settings, seconds, {}).split("\0") if e]
    skipped = {path for flag, _, path in flags if flag in ("S", "s")}
    hidden = [path for flag, _, path in flags if flag.islower() or path in skipped]
    if not hidden:
        return False
    there = [path for path in hidden if os.path.lexists(root / path)]
    if len(there) < len(hidden) and set(hidden) - set(there) - skipped:
        return True
    if any("\n" in path or (root / path).is_symlink() for path in there):
        return True  # it can't be compared, so that nothing says that it is the same
    staged = _run(root, ("ls-files", "-s", "-z"), settings, seconds, {}).split("\0")
    kept = {path: about.split()[1] for about, _, path in (e.partition("\t") for e in staged if e)}
    asked = "".join(f"{path}\n" for path in there)
    found = _run(root, ("hash-object", "--stdin-paths"), settings, seconds, {}, given=asked).split()
    return [kept[path] for path in there] != found
