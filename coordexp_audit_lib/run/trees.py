"""Working trees of a repository's commits, made without touching it, and gone afterwards however this process ends."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.kit import git

CHECKOUT_SECONDS = 300.0
MOST = 1000  # commits that a range may have
REMEDY = "give commits, tags, branches, or ranges such as v1..v2"


def commits_of(repository: Path, words: Sequence[str]) -> list[str]:
    """The full hashes of commits as a user names them, each once; of a range all, the oldest first.

    Raises:
        UsageError: it is no repository, or one of them names no commit of it.
    """
    found: list[str] = []
    for word in words:
        ranged = ".." in word
        asked = ["rev-list", "--reverse", f"--max-count={MOST + 1}"] if ranged else ["rev-parse", "--verify", "-q"]
        named = word if ranged else f"{word}^{{commit}}"
        try:
            hashes = git.run(repository, *asked, "--end-of-options", named).split()
        except git.UNREADABLE as error:
            what = f"it is no repository with the commit {word!r}"
            raise UsageError(what, where=str(repository), remedy=REMEDY) from error
        if not hashes or len(hashes) > MOST:
            what = f"the range has {'more than ' * bool(hashes)}{MOST if hashes else 'no'} commits"
            raise UsageError(what, where=word, remedy=REMEDY)
        found += [h for h in hashes if h != "--end-of-options"]
    return list(dict.fromkeys(found))


@contextlib.contextmanager
def tree_at(repository: Path, commit: str) -> Iterator[Path]:
    """A working tree of the commit, with the repository's objects and none of its settings, hooks and filters.

    Raises:
        UsageError: the repository can't be read.
    """
    try:
        objects = (repository / git.run(repository, "rev-parse", "--git-path", "objects").rstrip("\n")).resolve()
        if "\n" in str(objects):
            raise UsageError("git can't be told of a folder of that name", where=str(objects), remedy="move it")
        form = git.run(repository, "rev-parse", "--show-object-format").strip()
        with fleeting() as folder:
            tree = folder / (repository.resolve().name or "tree")
            tree.mkdir()
            git.run(tree, "init", "-q", f"--object-format={form}")
            (tree / ".git" / "objects" / "info" / "alternates").write_text(f"{objects}\n", encoding="utf-8")
            git.run(tree, "checkout", "-q", "--detach", commit, seconds=CHECKOUT_SECONDS)
            yield tree
    except git.UNREADABLE as error:
        said = getattr(error, "stderr", b"") or b""
        what = f"git could not take the tree of {commit[:12]}: {said.decode('utf-8', 'replace') or error}"
        raise UsageError(what, where=str(repository), remedy="see `git fsck`, and whether there is space") from error


@contextlib.contextmanager
def fleeting() -> Iterator[Path]:
    """A folder that is gone afterwards, also where this process is killed: a shell waits for that."""
    folder = Path(tempfile.mkdtemp(prefix="coordexp-audit-")).resolve()
    waits = ["sh", "-c", 'trap "" INT TERM HUP; read -r _; chmod -R u+rwx "$1"; rm -rf -- "$1"', "sh", str(folder)]
    keeper = subprocess.Popen(
        waits, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield folder
    finally:
        if keeper.stdin is not None:
            keeper.stdin.close()
        keeper.wait()
