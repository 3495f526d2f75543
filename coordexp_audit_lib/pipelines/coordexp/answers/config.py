"""Config loading, the packing backend check, the length check and the launcher's preflight of a CoordExp tree."""

import contextlib
import copy
import io
import json
import os
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

from coordexp_audit_lib.kit.stand_ins import replaced
from coordexp_audit_lib.pipelines.api import CannotImport, Refused, Unbound, binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.harness.configs import materialise, plain, sha, shortened, workspace


@binds("config.chain", resolve=symbols.LOAD_EXTENDED, load_yaml=symbols.LOAD_YAML)
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

        with replaced(loader, load_yaml=staticmethod(keep)):
            merged = here.call(loader.load_yaml_with_extends, place.leaf)
    return {"files": list(files.values()), "merged": plain(merged)}


def source_file(raw, path):
    raw = raw if isinstance(raw, dict) else {}
    parents = raw.pop("extends", None)
    parents = raw.pop("inherit", None) if parents is None else parents
    parents = [] if parents is None else parents if isinstance(parents, list) else [parents]
    return {"path": path, "extends": [str(p) for p in parents], "raw": plain(raw)}


@binds("config.load", load=symbols.MATERIALISE)
def load(request, here):
    with workspace(here, request) as place:
        config, arguments = materialise(request, here, place)
    full = plain(config)
    text = json.dumps(full, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return {"digest": sha(text), "config": shortened(full), "arguments": arguments}


@binds("config.packing_backend", check=symbols.PACKING_BACKEND.optional, load=symbols.MATERIALISE)
def packing_backend(request, here):
    with workspace(here, request) as place:
        config, arguments = materialise(dict(request, depth="arguments"), here, place)
        if here.check is not None:  # before 2026-02-19 the loader is all that looks
            here.call(here.check, training_config=config)
    backend = arguments.get("attn_impl")
    packing = bool(dict(config.training).get("packing", False))
    return {"packing": packing, "attn_impl": None if backend is None else str(backend)}


@binds("config.shipped", resolve=symbols.LOAD_EXTENDED, load=symbols.MATERIALISE)
def shipped(request, here):
    """Of the configs that no other extends, those that hold what a training needs."""
    asked, made = {"config": "", "files": {}, "depth": "materialise"}, []
    with workspace(here, asked) as place:
        files = sorted(str(p) for p in Path(place.root, request["folder"]).rglob("*.yaml"))
        raw = {path: mapping_in(place.loader.ConfigLoader, path) for path in files}
        parents = {os.path.normpath(os.path.join(os.path.dirname(p), n)) for p, r in raw.items() for n in named(r)}
        for path in (p for p in files if p not in parents and raw[p]):
            try:
                merged = here.call(here.resolve, path)
            except Refused:
                continue  # `config.parents_exist` says what is wrong with it
            if not all(held(merged, need.split(".")) for need in request["needs"]):
                continue
            refused, place.leaf = "", path
            try:
                materialise(asked, here, place)
            except Refused as error:
                refused = " ".join(error.told.replace(place.root, "<repo>").split())[:300]
            made.append({"path": os.path.relpath(path, place.root), "refused": refused})
    return {"configs": made}


def mapping_in(loader, path):
    """What a YAML file holds, where it can be read as a mapping; else nothing."""
    try:
        raw = loader.load_yaml(path)
    except Exception:
        return {}
    return raw if isinstance(raw, dict) else {}


def named(raw):
    """The parents that a config names."""
    parents = raw.get("extends") or raw.get("inherit") or []
    return [str(p) for p in (parents if isinstance(parents, list) else [parents])]


def held(merged, parts):
    for part in parts:
        merged = merged.get(part) if isinstance(merged, dict) else None
    return merged is not None


@binds("config.hf_length", check=symbols.CHECK_HF_LENGTH)
def hf_length(request, here):
    model = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=request["max_position_embeddings"]))
    try:
        check = here.check
    except CannotImport as error:
        if isinstance(error.__cause__, AttributeError):  # the class is there, the method is not
            raise Unbound(str(error)) from error
        raise
    asked = {"prompt_pad_len": request["prompt"], "max_new_tokens": request["max_new_tokens"]}
    here.call(check, SimpleNamespace(model=model), **asked)
    return {"passed": True}


@binds("config.preflight", resolve=symbols.RESOLVE_PREFLIGHT, load=symbols.MATERIALISE)
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


@binds("config.launcher_output", resolve=symbols.RESOLVE_PREFLIGHT, load=symbols.MATERIALISE)
def launcher_output(request, here):
    step = embedded_step(Path(here.tree, "scripts", "train_stage2.sh"))
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
    text = script.read_text(encoding="utf-8") if script.is_file() else ""
    for found in re.finditer(r"<<'(\w+)'\n(.*?\n)\1\n", text, re.S):
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
