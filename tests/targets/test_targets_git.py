"""What git says of a tree, without running anything that stands in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from coordexp_audit_lib.kit.git import git_state, source_of

AUTHOR = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")


def git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *AUTHOR, *words], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "-q")
    (root / "a.py").write_text("1\n")
    (root / "b.txt").write_text("1\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one", "--date=2026-02-23T05:25:13+00:00")
    return root


def test_a_clean_tree(repository: Path) -> None:
    state = git_state(repository)
    assert state.commit == git(repository, "rev-parse", "HEAD").strip()
    assert state.dirty is False and state.note == "" and state.date.startswith("20")


@pytest.mark.parametrize(
    ("path", "dirty"),
    [
        ("a.py", True),
        ("new.py", True),
        ("folder/new.py", True),
        ("__pycache__/a.cpython-311.pyc", False),
        ("src/__pycache__/a.cpython-311.pyc", False),
        ("a.pyc", False),
        (".pytest_cache/x", False),
    ],
)
def test_what_makes_it_dirty(path: str, dirty: bool, repository: Path) -> None:
    (repository / path).parent.mkdir(parents=True, exist_ok=True)
    (repository / path).write_text("2\n")
    assert git_state(repository).dirty is dirty


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_change_that_git_was_told_not_to_look_at_makes_it_dirty(flag: str, repository: Path) -> None:
    git(repository, "update-index", flag, "a.py")
    assert git_state(repository).dirty is False
    (repository / "a.py").write_text("2\n")
    assert git(repository, "status", "--porcelain") == ""
    assert git_state(repository).dirty is True
    assert source_of(repository / "a.py").dirty is True
    (repository / "a.py").write_text("1\n")
    assert git_state(repository).dirty is False


def test_a_sparse_tree_is_not_dirty_and_a_file_that_is_missed_is(repository: Path) -> None:
    git(repository, "update-index", "--skip-worktree", "b.txt")
    (repository / "b.txt").unlink()
    assert git_state(repository).dirty is False
    git(repository, "update-index", "--assume-unchanged", "a.py")
    (repository / "a.py").unlink()
    assert git_state(repository).dirty is True


@pytest.mark.parametrize(
    ("path", "dirty"),
    [
        ("local/new.py", True),
        ("local/package/__init__.py", True),
        ("whole/__init__.py", True),
        ("whole/data.json", False),
        ("local/data.json", False),
        ("venv/lib/x.py", False),
        ("local/__pycache__/x.py", False),
        ("build/lib/x/__init__.py", False),
    ],
)
def test_an_ignored_module_makes_it_dirty_and_ignored_data_do_not(path: str, dirty: bool, repository: Path) -> None:
    (repository / ".gitignore").write_text("local/**\nwhole/\nvenv/\nbuild/\n")
    git(repository, "add", ".gitignore")
    git(repository, "commit", "-qm", "two")
    (repository / path).parent.mkdir(parents=True)
    (repository / path).write_text("2\n")
    assert git_state(repository).dirty is dirty


def test_a_removed_file_makes_it_dirty(repository: Path) -> None:
    (repository / "a.py").unlink()
    assert git_state(repository).dirty is True


def test_a_folder_inside_another_repository_has_no_commit_of_its_own(repository: Path) -> None:
    inner = repository / "inner"
    inner.mkdir()
    state = git_state(inner)
    assert (state.commit, state.dirty, state.note) == ("", None, "not a git repository of its own")


def test_no_repository_and_an_empty_one(tmp_path: Path) -> None:
    assert git_state(tmp_path).note == "not a git repository of its own"
    git(tmp_path, "init", "-q")
    state = git_state(tmp_path)
    assert state.commit == "" and state.dirty is None and state.note


def test_nothing_of_the_repository_is_run_or_written(repository: Path, tmp_path: Path) -> None:
    ran, script = tmp_path / "ran", tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho ran >> {ran}\ncat\n")
    script.chmod(0o755)
    (repository / ".gitattributes").write_text("*.txt filter=evil diff=evil\n*.py filter=Worse=dotted.x\n")
    git(repository, "add", ".gitattributes")
    git(repository, "commit", "-qm", "two")
    for key in (
        *("filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "filter.Worse=dotted.x.clean"),
        *("diff.evil.textconv", "diff.external", "core.fsmonitor", "core.sshCommand", "core.editor", "gpg.program"),
    ):
        git(repository, "config", key, str(script))
    for required in ("filter.evil.required", "filter.Worse=dotted.x.required"):
        git(repository, "config", required, "true")
    git(repository, "config", "core.hooksPath", str(tmp_path))
    git(repository, "config", "log.showSignature", "true")
    for name in ("post-index-change", "fsmonitor-watchman", "post-checkout"):
        (repository / ".git/hooks" / name).write_text(script.read_text())
        (repository / ".git/hooks" / name).chmod(0o755)
        (tmp_path / name).write_text(script.read_text())
        (tmp_path / name).chmod(0o755)
    (repository / "b.txt").write_text("2\n")
    (repository / "a.py").touch()
    index = (repository / ".git/index").read_bytes()

    state, source = git_state(repository), source_of(repository / "a.py")

    assert state.dirty is True and len(state.commit) == 40
    assert (source.checkout, source.sha, source.dirty) == (True, state.commit, True)
    assert not ran.exists()
    assert (repository / ".git/index").read_bytes() == index
    subprocess.run(["git", "status"], cwd=repository, check=False, capture_output=True)
    assert ran.exists()  # the traps were armed


def test_nothing_is_fetched_from_a_promisor_remote(repository: Path, tmp_path: Path) -> None:
    """A tree of which objects are missing would run whatever the address of its remote names."""
    ran = tmp_path / "ran"
    tree = git(repository, "rev-parse", "HEAD^{tree}").strip()
    (repository / ".git/objects" / tree[:2] / tree[2:]).unlink()
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::sh -c touch% {ran}",
        "protocol.ext.allow": "always",
    }.items():
        git(repository, "config", key, value)

    state, source = git_state(repository), source_of(repository)

    assert (state.commit, state.dirty) == ("", None) and state.note.startswith("git could not read it")
    assert (source.checkout, source.dirty) == (None, None) and "could not read it" in str(source.statement)
    assert not ran.exists()
    subprocess.run(["git", "status"], cwd=repository, check=False, capture_output=True)
    assert ran.exists()  # the trap was armed


def test_where_a_file_comes_from(repository: Path, tmp_path: Path) -> None:
    wheel = repository / ".venv/x"
    wheel.mkdir(parents=True)
    assert source_of(wheel).statement == "not a git checkout: the repository around it does not track it"
    assert source_of(tmp_path).statement == "not a git checkout: it lies in no repository"
    (wheel / "__init__.py").write_text("")
    made = source_of(repository / "a.py")
    assert (made.checkout, made.dirty, made.remote, made.statement) == (True, False, None, None)
    git(repository, "config", "remote.origin.url", "https://u:p@h/x")
    (repository / "new.py").write_text("")
    assert source_of(repository)[4:6] == (True, "https://u:p@h/x")


@pytest.mark.parametrize(
    ("written", "own", "dirty"),
    [
        ("runs/today/audit.json", "runs/today", False),
        ("runs/today.json", "runs/today", True),
        ("audit.json", "audit.json", False),
        ("src/new.py", ".", True),
        ("runs/x.json", "..", True),
    ],
)
def test_what_the_audit_writes_into_the_tree_is_no_change_of_it(
    written: str, own: str, dirty: bool, repository: Path
) -> None:
    (repository / written).parent.mkdir(parents=True, exist_ok=True)
    (repository / written).write_text("{}")
    assert git_state(repository, own=[repository / own]).dirty is dirty
    assert git_state(repository).dirty
