"""Packages and repositories made in a scratch folder, for a manifest writer to find. Standard library only."""

from __future__ import annotations

from pathlib import Path

from coordexp_audit_lib.kit import git

BELOW = {"wheel": "site-packages", "wheel_in_repository": ".venv/lib/site-packages"}


def package(root: Path, name: str, home: str, commits: int) -> Path:
    """The root module's file of a package `name` below `root`.

    home: `wheel`, `wheel_in_repository` (inside another project's working tree, which does not track it), `checkout`
    or `changed_checkout` (a git repository of its own with `commits` + 1 commits, changed since in the last case).
    """
    file = root / BELOW.get(home, "") / name / "__init__.py"
    if file.is_file():
        return file
    file.parent.mkdir(parents=True)
    file.write_text("number = 0\n")
    if home == "wheel_in_repository":
        (root / ".gitignore").write_text(".venv\n")
        git.commit_all(root, "a project with a virtual environment in it")
    elif home != "wheel":
        for n in range(commits + 1):
            file.write_text(f"number = {n}\n")
            git.commit_all(root, f"commit {n}")
        if home == "changed_checkout":
            file.write_text("number = -1\n")
    return file


def repository(root: Path, file: str, remote: str = "") -> Path:
    """A repository at `root` that tracks one `file`, with a remote of that address."""
    (root / file).parent.mkdir(parents=True)
    (root / file).write_text("pass\n")
    git.commit_all(root, "the training code")
    if remote:
        git.run(root, "config", "remote.origin.url", remote)
    return root
