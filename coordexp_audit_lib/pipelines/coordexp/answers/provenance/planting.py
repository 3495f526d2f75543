"""Packages, repositories and variables that a manifest writer finds, put in place for one call."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import os
import shutil
import subprocess
import sys
import types
from types import SimpleNamespace

WHO = ("-c", "user.name=audit", "-c", "user.email=audit@audit.invalid", "-c", "commit.gpgsign=false")
DATE = "2026-01-01T00:00:00Z"
KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")


@contextlib.contextmanager
def environment(values):
    """These variables and no others, but the search paths and what keeps git off the network and the tree."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update({k: before[k] for k in KEPT if k in before})
    os.environ.update({"GIT_OPTIONAL_LOCKS": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"})
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Raises(importlib.abc.MetaPathFinder):
    """Makes the import of one package raise."""

    def __init__(self, name, error):
        self.name, self.error = name, error

    def find_spec(self, fullname, path=None, target=None):
        if fullname == self.name:
            raise self.error


@contextlib.contextmanager
def planted_modules(here, modules):
    """The packages of a request in place of the real ones; gives the commit of the planted ms-swift checkout."""
    before = {name: sys.modules.get(name) for name in modules}
    finders, sha = [], None
    try:
        for name, module in modules.items():
            sys.modules.pop(name, None)
            if module["state"] == "importable":
                file = home(here, name, module["home"], module["commit"])
                made = types.ModuleType(name)
                setattr(made, "__version__", module["version"])  # noqa: B010
                made.__file__ = file
                made.__spec__ = importlib.machinery.ModuleSpec(name, None, origin=file)
                sys.modules[name] = made
                if name == "swift" and module["home"] in ("checkout", "changed_checkout"):
                    sha = git(os.path.dirname(file), "rev-parse", "HEAD").strip()
            else:
                finders.append(Raises(name, error_of(name, module["state"])))
        sys.meta_path[:0] = finders
        yield SimpleNamespace(sha=sha)
    finally:
        for finder in finders:
            if finder in sys.meta_path:
                sys.meta_path.remove(finder)
        for name, held in before.items():
            if held is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = held


def error_of(name, state):
    if state == "absent":
        return ModuleNotFoundError("No module named %r" % name, name=name)
    return {"import_error": ImportError, "os_error": OSError}[state]("planted")


def home(here, name, place, number):
    """The root module's file of a planted package."""
    root = os.path.join(here.scratch, "provenance_%s_%d" % (place, number))
    below = {"wheel": "site-packages", "wheel_in_repository": ".venv/lib/site-packages"}.get(place, "")
    file = os.path.join(root, below, name, "__init__.py")
    if os.path.isfile(file):
        return file
    os.makedirs(os.path.dirname(file))
    put(file, "number = 0\n")
    if place == "wheel_in_repository":
        put(os.path.join(root, ".gitignore"), ".venv\n")
        commit(root, "a project with a virtual environment in it")
    elif place != "wheel":
        for n in range(number + 1):
            put(file, "number = %d\n" % n)
            commit(root, "commit %d" % n)
        if place == "changed_checkout":
            put(file, "number = -1\n")
    return file


def run_repository(here, remote):
    """A repository in place of the one that trains, with a remote of that address."""
    root = os.path.join(here.scratch, "provenance_repository%s" % ("_remote" if remote else ""))
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(os.path.join(root, "src"))
    put(os.path.join(root, "src", "sft.py"), "pass\n")
    commit(root, "the training code")
    if remote:
        git(root, "config", "remote.origin.url", remote)
    return root


def put(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def commit(root, message):
    """Commit everything below `root`; the same files give the same commit."""
    for command in (("init", "-q"), ("add", "-A"), (*WHO, "commit", "-q", "-m", message)):
        git(root, *command)


def git(folder, *command):
    env = {k: os.environ[k] for k in KEPT if k in os.environ}
    env.update({"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull})
    env.update({"GIT_AUTHOR_DATE": DATE, "GIT_COMMITTER_DATE": DATE})
    ran = subprocess.run(["git", *command], cwd=folder, env=env, check=True, capture_output=True, timeout=60)
    return ran.stdout.decode("utf-8", "replace")
