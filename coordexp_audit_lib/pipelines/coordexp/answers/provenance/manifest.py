"""Manifest writing: the tree's collectors, and the part of its entrypoint that writes.

The entrypoint writes the manifest inside one long function. The statement that does it is taken out of that function
and run by itself, with the values that it needs given: it is the tree's own code, up to the first training step.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import json
import logging
import os
import re
import shutil
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

from coordexp_audit_lib.kit.stand_ins import replaced
from coordexp_audit_lib.pipelines.api import Unbound, binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.answers.provenance import planting
from coordexp_audit_lib.pipelines.coordexp.answers.provenance.launch import recorded_environment
from coordexp_audit_lib.pipelines.coordexp.harness.configs import plain, sha, shortened, workspace

LONG = 200
LOADED: dict[str, tuple[object, object, dict[str, bytes]]] = {}
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


@binds("provenance.upstream", collect=symbols.COLLECT_DEPENDENCIES)
def upstream(request, here):
    collect = here.collect
    with planting.environment({}), planting.planted_modules(here, request["modules"]) as planted:
        collected = here.call(collect)
    return {"upstream": facts(plain(collected)), "sha": planted.sha}


@binds("provenance.launch", collect=symbols.COLLECT_LAUNCHER)
def launch(request, here):
    collect = here.collect
    launched, recorded = recorded_environment(here, request["flags"])
    with planting.environment(recorded):
        return {"launched": launched, "recorded": plain(here.call(collect))}


@binds("provenance.write", main=symbols.MAIN, writer=symbols.WRITE_MANIFEST, collect=symbols.COLLECT_LAUNCHER)
def write(request, here):
    main, out = here.main, os.path.join(here.scratch, "provenance_run")
    module = importlib.import_module(symbols.SFT[0])
    statement, before, line = writing_statement(main)
    shutil.rmtree(out, ignore_errors=True)
    config = {"config": request["config"], "files": overlay(here, request)}
    env = dict(request["env"])
    if request["server"] is not None:
        env.update(recorded_environment(here, request["server"])[1])
    with workspace(here, config) as place:
        loader = place.loader.ConfigLoader
        base = os.path.join(here.scratch, "provenance_base.yaml") if request["with_base"] else None
        if base:
            Path(base).write_text("debug: {}\n", encoding="utf-8")
        training_config, merged, chain = loaded(here, request, loader, place.leaf, base)
        sources = {"config_source.yaml": place.leaf}
        if base:
            sources["base_config_source.yaml"] = base
        root = planting.run_repository(here, request["remote"])
        given = {**vars(module), **needed(request, place.leaf, base, out), "training_config": training_config}
        given["__file__"] = os.path.join(root, symbols.SFT.path)
        with planting.environment(env), planting.planted_modules(here, request["modules"]):
            here.call(run, statement, given)
        same = {name: same_bytes(out, name, path) for name, path in sources.items()}
    made = written(request, out, merged, {k: v for k, v in same.items() if v is not None})
    kept = [path.read_bytes() for path in Path(out).rglob("*") if path.is_file()]
    made["lost"] = sorted(name for name, text in chain.items() if text not in kept)
    return dict(made, before_training=before, line=line)


def loaded(here, request, loader, leaf, base):
    """The typed config, what its sources resolve to, and those sources by name; one that runs share is loaded once."""
    key = json.dumps([request["config"], request["values"], request["with_base"]], sort_keys=True)
    if key not in LOADED:
        typed = here.call(loader.load_materialized_training_config, leaf, base)
        chain, read = {}, loader.load_yaml

        def noted(path):
            chain[os.path.basename(os.path.dirname(path)) + "/" + os.path.basename(path)] = Path(path).read_bytes()
            return read(path)

        with replaced(loader, load_yaml=staticmethod(noted)):
            LOADED[key] = typed, plain(loader.load_yaml_with_extends(leaf)), chain
    return LOADED[key]


def needed(request, leaf, base, out):
    """The local names of the entrypoint that the statement reads, at any era."""
    by_split = ("%s_data_provenance", "%s_encoded_sample_cache_info")
    unset = ["selected_pipeline_manifest", *(name % split for name in by_split for split in ("train", "eval"))]
    return {
        "args": SimpleNamespace(config=leaf, base_config=base),
        "train_args": SimpleNamespace(output_dir=out, run_name=request["run_name"]),
        **{"dataset_seed": request["seed"], "is_rank0": True, "logger": logging.getLogger("audit")},
        **{"effective_runtime": {}, **dict.fromkeys(unset)},
    }


@functools.lru_cache(maxsize=1)
def writing_statement(main):
    """The statement of the entrypoint that writes the manifest, whether it stands before the call that trains, and its
    line."""
    writer = symbols.WRITE_MANIFEST[0].partition(":")[2]
    tree = ast.parse(textwrap.dedent(inspect.getsource(main)))
    found = [n for n in ast.walk(tree) if isinstance(n, ast.If) and any(called(c) == writer for c in ast.walk(n))]
    if not found:
        raise Unbound("no statement of src/sft.py's main writes the manifest")
    statement = min(found, key=lambda n: n.lineno)
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    trains = [n.lineno for n in calls if called(n) == ".train" and n.args]
    before = (statement.lineno < min(trains)) if trains else None
    return statement, before, statement.lineno + inspect.getsourcelines(main)[1] - 1


def called(node):
    """The name of what a call calls, with a dot before that of a method."""
    function = getattr(node, "func", None)
    return "." + function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)


def run(statement, given):
    body = ast.fix_missing_locations(ast.Module(body=[statement], type_ignores=[]))
    try:
        exec(compile(body, symbols.SFT.path, "exec"), given)
    except NameError as error:
        what = "the part of src/sft.py's main that writes needs a name that is unknown here: %s" % error
        raise Unbound(what) from error


def overlay(here, request):
    """The leaf with the request's values set, as a text laid over the tree's own."""
    if not request["values"]:
        return {}
    import yaml

    leaf = yaml.safe_load(Path(here.tree, request["config"]).read_text(encoding="utf-8"))
    for path, value in request["values"].items():
        *above, last = path.split(".")
        node = leaf
        for step in above:
            node = node.setdefault(step, {})
        node[last] = value
    return {request["config"]: yaml.safe_dump(leaf, sort_keys=False)}


def written(request, out, merged, same):
    """What stands in the run's folder."""
    files = (path for path in Path(out).rglob("*") if path.is_file())
    raw = {path.relative_to(out).as_posix(): path.read_bytes() for path in files}
    documents = {n: facts(plain(json.loads(raw[n]))) for n in sorted(raw) if n.endswith(".json")}
    found = [(label, n) for label, text in request["search"].items() for n in sorted(raw) if text.encode() in raw[n]]
    return {"files": sorted(raw), "documents": documents, "sources": same, "merged": facts(merged), "leaks": found}


def same_bytes(out, name, source):
    """Whether a copy is its source byte for byte; None where there is no copy."""
    copy = Path(out, name)
    return copy.read_bytes() == Path(source).read_bytes() if copy.is_file() else None


def facts(value, key=""):
    """Builtins without what differs from machine to machine; prompts and long texts as digests, id spans as ends."""
    if isinstance(value, dict):
        return {k: facts(v, k) for k, v in value.items()}
    if isinstance(value, list):
        span = {"start": value[0], "end": value[-1]} if is_span(value) else None
        return span or shortened([facts(v) for v in value], key)
    if not isinstance(value, str):
        return value
    if value == sys.version or TIME.match(value):
        return "<python>" if value == sys.version else "<time>"
    if len(value) > LONG:
        return "sha256:" + sha(value)
    return shortened({key: value})[key]


def is_span(value):
    """Whether a list is a run of many consecutive ids."""
    return len(value) > 16 and type(value[0]) is int and value == list(range(value[0], value[0] + len(value)))
