"""A tree's configs: copied once into the scratch directory, a request's files laid over the copy for the call alone.

The loader finds the repository from its own file's place, so that place is moved to the copy for the call. Of upstream
only the two argument classes are replaced, by one that keeps what it is given: building the real ones reaches for a
model on a hub.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import json
import math
import os
import shutil
from collections.abc import Mapping, Set
from types import SimpleNamespace

from coordexp_audit_lib.kit.stand_ins import replaced
from coordexp_audit_lib.pipelines.coordexp import symbols

PROMPT_KEYS = {"system", "user", "user_prompt", "system_prompt_summary"}
MANY = 64


def materialise(request, here, place):
    """The typed config and, at depth `arguments`, what upstream's argument class was given."""
    loader = place.loader.ConfigLoader
    deep = request["depth"] == "arguments"
    if not hasattr(loader, "load_materialized_training_config"):
        given, config = here.call(loader.load_training_config, place.leaf)
        return config, shortened(plain(given.given)) if deep else None
    config = here.call(loader.load_materialized_training_config, place.leaf)
    if not deep:
        return config, None
    return config, shortened(plain(here.call(loader.build_train_arguments, config).given))


class KeptArguments:
    """Stands for upstream's argument classes: keeps what it is given."""

    def __init__(self, **given):
        self.given, self.training_args = given, SimpleNamespace()


@contextlib.contextmanager
def workspace(here, request):
    """The copied repository with the request's files laid over, its loader, and the caller's surroundings."""
    root = os.path.join(here.scratch, "config_boundary")
    if not os.path.isdir(root):
        shutil.copytree(os.path.join(here.tree, "configs"), os.path.join(root, "configs"))
    loader = importlib.import_module(symbols.CONFIG_LOADER[0])
    place = SimpleNamespace(root=root, leaf=os.path.join(root, request["config"]), loader=loader)
    cwd = os.path.normpath(os.path.join(root, request.get("cwd", ".")))
    os.makedirs(cwd, exist_ok=True)
    if request.get("relative"):
        place.leaf = os.path.relpath(place.leaf, cwd)
    moved = {
        "__file__": os.path.join(root, symbols.CONFIG_LOADER.path),
        "TrainArguments": KeptArguments,
        "RLHFArguments": KeptArguments,
    }
    with laid_over(root, request["files"]), surroundings(cwd, request.get("env", {})), replaced(loader, **moved):
        yield place


@contextlib.contextmanager
def surroundings(cwd, env):
    before, variables = os.getcwd(), dict(os.environ)
    os.environ.update(env)
    os.chdir(cwd)
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(variables)


@contextlib.contextmanager
def laid_over(root, files):
    """Write `files` (relative path -> text) below `root`; afterwards put back what was there."""
    before: dict[str, str | None] = {}
    try:
        for relative, text in files.items():
            path = os.path.normpath(os.path.join(root, relative))
            if not path.startswith(root + os.sep):
                raise ValueError("a file of the request leaves the scratch directory: %s" % relative)
            before[path] = None
            if os.path.isfile(path):
                with open(path, encoding="utf-8") as file:
                    before[path] = file.read()
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        yield
    finally:
        for path, text in before.items():
            if text is not None:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
            elif os.path.isfile(path):
                os.remove(path)


def plain(value):
    """Builtins that strict JSON can hold; floats that it cannot are named as YAML writes them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, Set):
        return sorted((plain(v) for v in value), key=repr)
    return scalar(value)


def scalar(value):
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return "<%s>" % type(value).__name__


def shortened(value, key=""):
    """Prompts as digests and long lists of numbers as a count and a digest: answers hold facts, not texts."""
    if isinstance(value, dict):
        return {k: shortened(v, k) for k, v in value.items()}
    if isinstance(value, list) and len(value) > MANY:
        return "<%d items, sha256 %s>" % (len(value), sha(json.dumps(value)))
    if isinstance(value, list):
        return [shortened(v) for v in value]
    if isinstance(value, str) and key in PROMPT_KEYS:
        return "sha256:" + sha(value)
    return value


def sha(text):
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def typed(here, config):
    """The typed config of that name as the tree has it."""
    asked = {"config": config, "files": {}, "depth": "typed"}
    with workspace(here, asked) as place:
        return materialise(asked, here, place)[0]
