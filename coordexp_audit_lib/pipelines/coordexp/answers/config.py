"""Config loading, the packing backend check, the length check and the launcher's preflight of a CoordExp tree.

The tree's `configs/` is copied once into the scratch directory, and a request's files are laid over the copy for the
call alone. The loader finds the repository from its own file's place, so that place is moved to the copy for the call.
Of upstream only the two argument classes are replaced, by one that keeps what it is given: building the real ones
reaches for a model on a hub.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import importlib
import io
import json
import math
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Set
from types import SimpleNamespace

from coordexp_audit_lib.pipelines.api import CannotImport, Unbound, binds

LOADER = "src.config.loader:ConfigLoader"
MATERIALISE = (LOADER + ".load_materialized_training_config", LOADER + ".load_training_config")
PREFLIGHT = "src.trainers.rollout_matching.preflight"
PROMPT_KEYS = {"system", "user", "user_prompt", "system_prompt_summary"}
MANY = 64


@binds("config.chain", resolve=(LOADER + ".load_yaml_with_extends",), load_yaml=(LOADER + ".load_yaml",))
def chain(request, here):
    files: dict[str, dict[str, object]] = {}
    with workspace(here, request) as place:
        loader = place.loader.ConfigLoader
        read = loader.load_yaml

        def keep(path):
            raw = read(path)
            name = os.path.relpath(path, place.root)
            files.setdefault(name, source_file(copy.deepcopy(raw), name))
            return raw

        loader.load_yaml = staticmethod(keep)
        try:
            merged = here.call(loader.load_yaml_with_extends, place.leaf)
        finally:
            loader.load_yaml = staticmethod(read)
    return {"files": list(files.values()), "merged": plain(merged)}


def source_file(raw, path):
    raw = raw if isinstance(raw, dict) else {}
    parents = raw.pop("extends", None)
    if parents is None:
        parents = raw.pop("inherit", None)
    parents = [] if parents is None else parents if isinstance(parents, list) else [parents]
    return {"path": path, "extends": [str(p) for p in parents], "raw": plain(raw)}


@binds("config.load", load=MATERIALISE)
def load(request, here):
    with workspace(here, request) as place:
        config, arguments = materialise(request, here, place)
    full = plain(config)
    text = json.dumps(full, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return {"digest": sha(text), "config": shortened(full), "arguments": arguments}


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


@binds("config.packing_backend", check=("src.sft:_validate_attention_backend_for_packing",), load=MATERIALISE)
def packing_backend(request, here):
    with workspace(here, request) as place:
        config, arguments = materialise(dict(request, depth="arguments"), here, place)
        here.call(here.check, training_config=config)
    backend = arguments.get("attn_impl")
    packing = bool(dict(config.training).get("packing", False))
    return {"packing": packing, "attn_impl": None if backend is None else str(backend)}


@binds(
    "config.hf_length",
    check=(
        "src.trainers.rollout_matching_sft:RolloutMatchingSFTTrainer._enforce_hf_rollout_max_position_embeddings",
        "src.trainers.stage2_rollout_aligned:RolloutMatchingSFTTrainer._enforce_hf_rollout_max_position_embeddings",
    ),
)
def hf_length(request, here):
    model = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=request["max_position_embeddings"]))
    trainer = SimpleNamespace(model=model)
    try:
        check = here.check
    except CannotImport as error:
        if isinstance(error.__cause__, AttributeError):  # the class is there, the method is not
            raise Unbound(str(error)) from error
        raise
    here.call(check, trainer, prompt_pad_len=request["prompt"], max_new_tokens=request["max_new_tokens"])
    return {"passed": True}


@binds("config.preflight", resolve=(PREFLIGHT + ":resolve_stage2_launcher_preflight",), load=MATERIALISE)
def preflight(request, here):
    with workspace(here, request) as place:
        payload = here.call(here.resolve, place.leaf)
    return {"payload": below(plain(payload), place.root)}


def below(value, root):
    """Paths below the copied repository, named from `<repo>`."""
    if isinstance(value, dict):
        return {k: below(v, root) for k, v in value.items()}
    if isinstance(value, list):
        return [below(v, root) for v in value]
    if isinstance(value, str) and (value + "/").startswith(root + "/"):
        return "<repo>" + value[len(root) :]
    return value


@binds("config.launcher_output", resolve=(PREFLIGHT + ":resolve_stage2_launcher_preflight",), load=MATERIALISE)
def launcher_output(request, here):
    script = os.path.join(here.tree, "scripts", "train_stage2.sh")
    step = embedded_step(script)
    out, code = io.StringIO(), 0
    with workspace(here, dict(request, env=dict(request["env"], CONFIG_PATH=""))) as place:
        os.environ["CONFIG_PATH"] = place.leaf
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
                exec(compile(step, "train_stage2.sh", "exec"), {"__name__": "__main__"})
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    text = out.getvalue()
    return {"exit_code": code, "lines": carried(text), "terminated": text.endswith("\n")}


def embedded_step(script):
    """The Python text that the launcher runs to resolve its settings."""
    if os.path.isfile(script):
        with open(script, encoding="utf-8") as file:
            for found in re.finditer(r"<<'(\w+)'\n(.*?\n)\1\n", file.read(), re.S):
                if "resolve_stage2_launcher_preflight" in found.group(2):
                    return found.group(2)
    raise Unbound("scripts/train_stage2.sh embeds no preflight step that prints: its launcher works in process")


def carried(text):
    """The JSON objects in a text of lines, bare or as the value of a shell assignment."""
    found = []
    for line in text.split("\n"):
        value = line
        if re.match(r"[A-Za-z_]\w*=", line):
            words = shlex.split(line)
            value = words[0].partition("=")[2] if len(words) == 1 else ""
        if value.startswith("{"):
            found.append(value)
    return found


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
    loader = importlib.import_module("src.config.loader")
    place = SimpleNamespace(root=root, leaf=os.path.join(root, request["config"]), loader=loader)
    cwd = os.path.normpath(os.path.join(root, request.get("cwd", ".")))
    os.makedirs(cwd, exist_ok=True)
    if request.get("relative"):
        place.leaf = os.path.relpath(place.leaf, cwd)
    moved = {
        "__file__": os.path.join(root, "src", "config", "loader.py"),
        "TrainArguments": KeptArguments,
        "RLHFArguments": KeptArguments,
    }
    with laid_over(root, request["files"]), surroundings(cwd, request.get("env", {})), replaced(loader, moved):
        yield place


@contextlib.contextmanager
def replaced(module, values):
    before = {k: getattr(module, k) for k in values if hasattr(module, k)}
    for name in before:
        setattr(module, name, values[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


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
            write(path, text)
        yield
    finally:
        for path, text in before.items():
            if text is not None:
                write(path, text)
            elif os.path.isfile(path):
                os.remove(path)


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


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
