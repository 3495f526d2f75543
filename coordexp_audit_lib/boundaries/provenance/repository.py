"""What git says of a source tree, read with its hooks, filters and helpers switched off."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import msgspec

from coordexp_audit_lib.boundaries.provenance.redaction import redact

SECONDS = 5.0
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
OFF = {"core.fsmonitor": "false", "core.hooksPath": "/dev/null", "protocol.allow": "never", "safe.directory": "*"}


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where code comes from. checkout: whether it is a git working tree that tracks it. statement: what it is
    instead, or why git could not tell. remote: of `origin`, without credentials."""

    path: str
    checkout: bool | None
    sha: str | None = None
    branch: str | None = None
    dirty: bool | None = None
    remote: str | None = None
    statement: str | None = None


def source_of(path: Path) -> Source:
    """The state of the working tree that holds the file or folder `path` and tracks it.

    A package that merely lies below some repository, as in a virtual environment inside a project, is no checkout:
    that repository's commit says nothing of it.
    """
    folder = path if path.is_dir() else path.parent
    try:
        top = _git(folder, "rev-parse", "--show-toplevel").strip()
    except FileNotFoundError:
        return Source(str(folder), None, statement="not known: git is not installed")
    except (OSError, subprocess.SubprocessError):
        return Source(str(folder), False, statement="not a git checkout: it lies in no repository")
    try:
        if not _git(folder, "ls-files", "-z", "--", "." if path.is_dir() else path.name):
            return Source(
                str(folder), False, statement="not a git checkout: the repository around it does not track it"
            )
        return _state(Path(top))
    except (OSError, subprocess.SubprocessError) as error:
        return Source(top, None, statement=f"not known: git could not read it ({type(error).__name__})")


def _state(top: Path) -> Source:
    listed = _git(top, "config", "-z", "--list").split("\0")
    settings = {name: value for name, _, value in (entry.partition("\n") for entry in listed)}
    status = _git(top, "status", "--porcelain=v2", "--branch", "-z", "--no-renames", settings=_no_filters(settings))
    lines = [line for line in status.split("\0") if line]
    about = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    sha, remote = about.get("branch.oid", ""), settings.get("remote.origin.url")
    return Source(
        str(top),
        True,
        sha if _SHA.fullmatch(sha) else None,
        redact(about.get("branch.head", "")) or None,
        any(not line.startswith("#") for line in lines),
        redact(remote) if remote else None,
        None if _SHA.fullmatch(sha) else "it has no commit yet",
    )


def _no_filters(settings: Iterable[str]) -> dict[str, str]:
    """Settings that empty every filter of the repository: `git status` would run them."""
    drivers = {n.rpartition(".")[0] for n in settings if n.startswith("filter.")}
    return {f"{d}.{k}": "" for d in drivers for k in ("clean", "smudge", "process")} | {
        f"{d}.required": "false" for d in drivers
    }


def _git(folder: Path, *command: str, settings: dict[str, str] | None = None) -> str:
    chosen = OFF | (settings or {})
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_CONFIG_COUNT": str(len(chosen)),
    }
    for number, (name, value) in enumerate(sorted(chosen.items())):
        env |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    ran = subprocess.run(
        ["git", "-C", str(folder), *command],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=True,
    )
    return ran.stdout.decode("utf-8", "replace")
