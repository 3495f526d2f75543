"""A tree's configs: copied once into the scratch directory, a request's files laid over the copy for the call alone.

The loader finds the repository from its own file's place, so that place is moved to the copy for the call. Of upstream
only the two argument classes are replaced, by one that keeps what it is given: building the real ones reaches for a
model on a hub.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import json
import math
import os
import pickle
import shutil
from collections.abc import Mapping, Set
from types import SimpleNamespace
from unittest import mock

from coordexp_audit_lib.kit.stand_ins import replaced
from coordexp_audit_lib.pipelines.coordexp import symbols

PROMPT_KEYS = {"system", "user", "user_prompt", "system_prompt_summary"}
MANY = 64
KEPT = ".before"
PARSED: dict[object, bytes] = {}  # by text, what it says


def materialise(request, here, place):
    """The typed config and, at depth `arguments`, what upstream's argument class was given."""
    loader = place.loader.ConfigLoader
    deep = request["depth"] == "arguments"
    if not hasattr(loader, "load_materialized_training_config"):
        arguments, config = here.call(loader.load_training_config, place.leaf)
    else:
        config = here.call(loader.load_materialized_training_config, place.leaf)
        arguments = here.call(loader.build_train_arguments, config) if deep else KeptArguments()
    return config, shortened(plain(arguments.given)) if deep else None


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
    stand_ins = dict.fromkeys(("TrainArguments", "RLHFArguments"), KeptArguments)
    moved = replaced(loader, __file__=os.path.join(root, symbols.CONFIG_LOADER.path), **stand_ins)
    with laid_over(root, request["files"]), surroundings(cwd, request.get("env", {})), moved, parsed_once():
        yield place


@contextlib.contextmanager
def parsed_once():
    """Meanwhile `yaml.safe_load` reads a text that it has read before from memory: most requests change one file.

    libyaml scans, where it is there, and the same classes as ever resolve and construct what it read; what it refuses
    is read anew by the slower scanner, whose message the tree expects.
    """
    import yaml

    load = yaml.safe_load
    quick = functools.partial(yaml.load, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))

    def remembered(stream):
        text = stream if isinstance(stream, (str, bytes)) else stream.read()
        if text not in PARSED:
            try:
                PARSED[text] = pickle.dumps(quick(text))
            except yaml.YAMLError:  # told anew, for the message names the stream
                if text is not stream:
                    stream.seek(0)
                return load(stream)
        return pickle.loads(PARSED[text])

    with replaced(yaml, safe_load=remembered):
        yield


@contextlib.contextmanager
def surroundings(cwd, env):
    before = os.getcwd()
    os.chdir(cwd)
    try:
        with mock.patch.dict(os.environ, env):
            yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def laid_over(root, files):
    """Write `files` (relative path -> text) below `root`; afterwards put back what was there."""
    before: dict[str, str | None] = {}
    try:
        for relative, text in files.items():
            path = os.path.normpath(os.path.join(root, relative))
            if not path.startswith(root + os.sep):
                raise ValueError("a file of the request leaves the scratch directory: %s" % relative)
            if path not in before and os.path.isfile(path):
                os.rename(path, path + KEPT)
                before[path] = path + KEPT
            before.setdefault(path, None)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        yield
    finally:
        for path, kept in before.items():
            if kept is None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            else:
                os.replace(kept, path)


def plain(value):
    """Builtins that strict JSON can hold; floats that it cannot are named as YAML writes them."""
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return sorted(map(plain, value), key=repr) if isinstance(value, Set) else "<%s>" % type(value).__name__


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
