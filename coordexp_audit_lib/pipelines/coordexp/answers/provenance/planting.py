"""Packages, repositories and variables that a manifest writer finds, put in place for one call."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import os
import shutil
import sys
import types
from pathlib import Path
from types import SimpleNamespace

from coordexp_audit_lib.kit import git, planting
from coordexp_audit_lib.pipelines.coordexp import symbols

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
                    sha = git.run(Path(file).parent, "rev-parse", "HEAD").strip()
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
    return str(planting.package(Path(here.scratch, "provenance_%s_%d" % (place, number)), name, place, number))


def run_repository(here, remote):
    """A repository in place of the one that trains, with a remote of that address."""
    root = Path(here.scratch, "provenance_repository%s" % ("_remote" if remote else ""))
    shutil.rmtree(root, ignore_errors=True)
    return str(planting.repository(root, symbols.SFT.path, remote))
