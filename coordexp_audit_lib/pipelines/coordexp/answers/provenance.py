"""Manifest writing of a CoordExp tree: its collectors, the part of its entrypoint that writes, and its checkpoints.

The entrypoint writes the manifest inside one long function. The statement that does it is taken out of that function
and run by itself, with the values that it needs given: it is the tree's own code, up to the first training step.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import inspect
import json
import logging
import os
import re
import shutil
import sys
import textwrap
from types import SimpleNamespace

from coordexp_audit_lib.pipelines.api import Unbound, binds
from coordexp_audit_lib.pipelines.coordexp.answers.config import plain, shortened, workspace
from coordexp_audit_lib.pipelines.coordexp.answers.provenance_launch import recorded_environment
from coordexp_audit_lib.pipelines.coordexp.answers.provenance_planting import (
    environment,
    planted_modules,
    run_repository,
)

COLLECT = ("src.sft:_collect_dependency_provenance", "src.bootstrap.run_metadata:collect_dependency_provenance")
LAUNCHER = (
    "src.sft:_collect_launcher_metadata_from_env",
    "src.bootstrap.run_metadata:collect_launcher_metadata_from_env",
)
WRITER = ("src.utils.run_manifest:write_run_manifest_files",)
LONG = 200
LOADED: dict[str, tuple[object, object]] = {}
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


@binds("provenance.upstream", collect=COLLECT)
def upstream(request, here):
    collect = here.collect
    with environment({}), planted_modules(here, request["modules"]) as planted:
        collected = here.call(collect)
    return {"upstream": facts(plain(collected)), "sha": planted.sha}


@binds("provenance.launch", collect=LAUNCHER)
def launch(request, here):
    collect = here.collect
    launched, recorded = recorded_environment(here, request["flags"])
    with environment(recorded):
        return {"launched": launched, "recorded": plain(here.call(collect))}


@binds("provenance.write", main=("src.sft:main",), writer=WRITER, collect=LAUNCHER)
def write(request, here):
    main, out = here.main, os.path.join(here.scratch, "provenance_run")
    module = importlib.import_module("src.sft")
    statement, before = writing_statement(main)
    shutil.rmtree(out, ignore_errors=True)
    config = {"config": request["config"], "files": overlay(here, request)}
    env = dict(request["env"])
    if request["server"] is not None:
        env.update(recorded_environment(here, request["server"])[1])
    with workspace(here, config) as place:
        loader = place.loader.ConfigLoader
        base = os.path.join(here.scratch, "provenance_base.yaml") if request["with_base"] else None
        if base:
            write_text(base, "debug: {}\n")
        training_config, merged = loaded(here, request, loader, place.leaf, base)
        sources = {"config_source.yaml": place.leaf}
        if base:
            sources["base_config_source.yaml"] = base
        root = run_repository(here, request["remote"])
        given = dict(
            vars(module), __file__=os.path.join(root, "src", "sft.py"), **needed(request, place.leaf, base, out)
        )
        given["training_config"] = training_config
        with environment(env), planted_modules(here, request["modules"]):
            here.call(run, statement, given)
        same = {name: same_bytes(out, name, path) for name, path in sources.items()}
    made = written(request, out, merged, {k: v for k, v in same.items() if v is not None})
    return dict(made, before_training=before, line=statement.lineno + inspect.getsourcelines(main)[1] - 1)


def loaded(here, request, loader, leaf, base):
    """The typed config and what its sources resolve to; a config that several runs share is loaded once."""
    key = json.dumps([request["config"], request["values"], request["with_base"]], sort_keys=True)
    if key not in LOADED:
        typed = here.call(loader.load_materialized_training_config, leaf, base)
        LOADED[key] = typed, plain(loader.load_yaml_with_extends(leaf))
    return LOADED[key]


def needed(request, leaf, base, out):
    """The local names of the entrypoint that the statement reads, at any era."""
    return {
        "args": SimpleNamespace(config=leaf, base_config=base),
        "train_args": SimpleNamespace(output_dir=out, run_name=request["run_name"]),
        "dataset_seed": request["seed"],
        "is_rank0": True,
        "logger": logging.getLogger("audit"),
        "effective_runtime": {},
        "selected_pipeline_manifest": None,
        "train_data_provenance": None,
        "eval_data_provenance": None,
        "train_encoded_sample_cache_info": None,
        "eval_encoded_sample_cache_info": None,
    }


def writing_statement(main):
    """The statement of the entrypoint that writes the manifest, and whether it stands before the call that trains."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(main)))
    found = [n for n in ast.walk(tree) if isinstance(n, ast.If) and calls(n, "write_run_manifest_files")]
    if not found:
        raise Unbound("no statement of src/sft.py's main writes the manifest")
    statement = min(found, key=lambda n: n.lineno)
    trains = [
        n.lineno
        for n in ast.walk(tree)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "train" and n.args
    ]
    return statement, (statement.lineno < min(trains)) if trains else None


def calls(node, name):
    return any(isinstance(n, ast.Call) and getattr(n.func, "id", "") == name for n in ast.walk(node))


def run(statement, given):
    body = ast.fix_missing_locations(ast.Module(body=[statement], type_ignores=[]))
    try:
        exec(compile(body, "src/sft.py", "exec"), given)
    except NameError as error:
        raise Unbound(
            "the part of src/sft.py's main that writes needs a name that is unknown here: %s" % error
        ) from error


def overlay(here, request):
    """The leaf with the request's values set, as a text laid over the tree's own."""
    if not request["values"]:
        return {}
    import yaml

    with open(os.path.join(here.tree, request["config"]), encoding="utf-8") as file:
        leaf = yaml.safe_load(file)
    for path, value in request["values"].items():
        *above, last = path.split(".")
        node = leaf
        for step in above:
            node = node.setdefault(step, {})
        node[last] = value
    return {request["config"]: yaml.safe_dump(leaf, sort_keys=False)}


def written(request, out, merged, same):
    """What stands in the run's folder."""
    raw = {}
    for folder, _, names in os.walk(out):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                raw[os.path.relpath(path, out)] = file.read()
    documents = {n: facts(plain(json.loads(raw[n]))) for n in sorted(raw) if n.endswith(".json")}
    found = [(label, n) for label, text in request["search"].items() for n in sorted(raw) if text.encode() in raw[n]]
    return {"files": sorted(raw), "documents": documents, "sources": same, "merged": facts(merged), "leaks": found}


def same_bytes(out, name, source):
    """Whether a copy is its source byte for byte; None where there is no copy."""
    copy = os.path.join(out, name)
    if not os.path.isfile(copy):
        return None
    with open(copy, "rb") as a, open(source, "rb") as b:
        return a.read() == b.read()


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
        return "sha256:" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return shortened({key: value})[key]


def is_span(value):
    """Whether a list is a run of many consecutive ids."""
    return len(value) > 16 and type(value[0]) is int and value == list(range(value[0], value[0] + len(value)))


def write_text(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


@binds("provenance.save", wrap=("src.trainers.final_checkpoint:with_final_checkpoint",))
def save(request, here):
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM, Trainer, TrainingArguments
    from transformers.trainer_callback import DefaultFlowCallback

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=64, num_key_value_heads=1, tie_word_embeddings=False, **sizes))
    if request["shard_bytes"]:
        kept = model.save_pretrained
        size = request["shard_bytes"]
        setattr(model, "save_pretrained", lambda *a, **kw: kept(*a, **dict(kw, max_shard_size=size)))  # noqa: B010
    out = os.path.join(here.scratch, "provenance_save")
    shutil.rmtree(out, ignore_errors=True)
    arguments = TrainingArguments(
        output_dir=out,
        max_steps=1,
        per_device_train_batch_size=1,
        save_strategy="steps",
        save_steps=1000,
        save_only_model=request["save_only_model"],
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    ids = torch.arange(8)
    with quiet():
        trainer = here.wrap(Trainer)(model=model, args=arguments, train_dataset=[{"input_ids": ids, "labels": ids}])
        # ms-swift, once loaded, puts callbacks of its own into every trainer, which need its own arguments and a GPU.
        for callback in list(trainer.callback_handler.callbacks):
            if type(callback).__module__.startswith("swift"):
                trainer.remove_callback(callback)
        trainer.add_callback(DefaultFlowCallback)
        here.call(trainer.train)
    folder = os.path.join(out, "checkpoint-1")
    if not os.path.isdir(folder):
        return {"files": [], "tensors": {}}
    names = sorted(os.listdir(folder))
    tensors = {n: header(os.path.join(folder, n)) for n in names if n.endswith(".safetensors")}
    index = os.path.join(folder, "model.safetensors.index.json")
    made = None
    if os.path.isfile(index):
        with open(index, encoding="utf-8") as file:
            made = json.load(file)
    return {"files": names, "tensors": tensors, "index": made}


@contextlib.contextmanager
def quiet():
    with open(os.devnull, "w", encoding="utf-8") as sink, contextlib.redirect_stdout(sink):
        yield


def header(path):
    """Tensor names and sizes in bytes of a safetensors file."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(size))
    return {k: v["data_offsets"][1] - v["data_offsets"][0] for k, v in entries.items() if k != "__metadata__"}
