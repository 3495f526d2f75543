"""Packages, repositories and variables that a manifest writer finds, put in place for one call."""

import contextlib
import importlib.abc
import importlib.machinery
import os
import shutil
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from coordexp_audit_lib.kit import git, planting
from coordexp_audit_lib.kit.stand_ins import replaced, visible
from coordexp_audit_lib.pipelines.coordexp import symbols

KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")


def environment(values):
    """A context with these variables and no others, but the search paths and what keeps git off network and tree."""
    kept = {k: os.environ[k] for k in KEPT if k in os.environ}
    quiet = {"GIT_OPTIONAL_LOCKS": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    return mock.patch.dict(os.environ, {**kept, **quiet, **values}, clear=True)


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
    made, finders, sha = {}, [], None
    for name, module in modules.items():
        if module["state"] == "importable":
            place, number = module["home"], module["commit"]
            file = planting.package(Path(here.scratch, "provenance_%s_%d" % (place, number)), name, place, number)
            made[name] = planted(name, module["version"], str(file))
            if name == "swift" and place in ("checkout", "changed_checkout"):
                sha = git.run(file.parent, "rev-parse", "HEAD").strip()
        else:
            finders.append(Raises(name, error_of(name, module["state"])))
    with visible({name: made.get(name) for name in modules}), replaced(sys, meta_path=[*finders, *sys.meta_path]):
        for finder in finders:
            del sys.modules[finder.name]
        yield SimpleNamespace(sha=sha)


def planted(name, version, file):
    made: Any = types.ModuleType(name)
    made.__version__, made.__file__ = version, file
    made.__spec__ = importlib.machinery.ModuleSpec(name, None, origin=file)
    return made


def error_of(name, state):
    if state == "absent":
        return ModuleNotFoundError("No module named %r" % name, name=name)
    return {"import_error": ImportError, "os_error": OSError}[state]("planted")


def run_repository(here, remote):
    """A repository in place of the one that trains, with a remote of that address."""
    root = Path(here.scratch, "provenance_repository%s" % ("_remote" if remote else ""))
    shutil.rmtree(root, ignore_errors=True)
    return str(planting.repository(root, symbols.SFT.path, remote))
