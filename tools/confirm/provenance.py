"""Boundary 10: what a run records."""

import inspect
import os
import subprocess
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import config as settings
from parts import of_tree, refusal

COLLECT = ("src.sft:_collect_dependency_provenance", "src.bootstrap.run_metadata:collect_dependency_provenance")


def swift_source(tree: Path) -> tuple[bool, str]:
    """ms-swift as a wheel, its environment inside a repository of somebody else: whose commit is recorded?"""
    outer = tree / "outer"
    package = outer / "venv/lib/site-packages/swift"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("__version__ = '3.10.3'\n", encoding="utf-8")
    (outer / "notes.txt").write_text("not ms-swift", encoding="utf-8")
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b.c"}
    env.update(GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@b.c")
    for words in (["init", "-q"], ["add", "notes.txt"], ["commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=outer, env=env, check=True)
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=outer, text=True).strip()
    fake: Any = types.ModuleType("swift")
    fake.__file__, fake.__version__ = str(package / "__init__.py"), "3.10.3"
    collect, before = of_tree(*COLLECT), sys.modules.get("swift")
    sys.modules["swift"] = fake
    try:
        found = collect()
    finally:
        if before is None:
            del sys.modules["swift"]
        else:
            sys.modules["swift"] = before
    told = (found.get("ms_swift") or {}).get("sha")
    return told == head, f"ms_swift.sha {str(told)[:10]}, the outer repository's HEAD {head[:10]}"


def cache_key(tree: Path) -> tuple[bool, str]:
    """The fingerprint of a packing plan with another tokenizer, chat template and budget of pixels."""
    build = of_tree("src.sft:_build_static_packing_fingerprint")
    known = inspect.signature(build).parameters
    base = settings._merged(tree, settings.STAGE1)

    def made(pixels: int, template: str, words: str) -> Any:
        config = {**base, "template": {**base["template"], "template": template, "max_pixels": pixels}}
        config["model"] = {**base["model"], "model": words}
        typed = settings._loader().load_materialized_training_config(settings._written(tree, config))
        given = SimpleNamespace(max_length=12_000, max_pixels=pixels, tokenizer=SimpleNamespace(name_or_path=words))
        packing = SimpleNamespace(mode="static", packing_length=12_000)
        told = {
            **{"training_config": typed, "custom_config": typed.custom, "template": given},
            **{"train_args": SimpleNamespace(max_model_len=None), "dataset_seed": 1, "packing_cfg": packing},
            **{"train_jsonl": "train.jsonl", "fusion_config_path": None},
        }
        return build(**{k: v for k, v in told.items() if k in known})

    first = made(786_432, "qwen3_vl", "a")
    others = {"pixels": made(1_024, "qwen3_vl", "a"), "chat template": made(786_432, "chatml", "a")}
    others["tokenizer"] = made(786_432, "qwen3_vl", "b")
    alike = [name for name, other in others.items() if other == first]
    return len(alike) == 3, f"the same key with another {', '.join(alike)}"


def no_secrets(tree: Path) -> tuple[bool, str]:
    """The run's manifest copies the config's source as it stands."""
    write = of_tree("src.utils.run_manifest:write_run_manifest_files")
    source = tree / "configs/confirm_secret.yaml"
    source.write_text("data: {hub: https://user:hunter2-password@example.test}\n", encoding="utf-8")
    out = tree / "manifest"
    out.mkdir(exist_ok=True)
    known = {
        "output_dir": out,
        "config_path": str(source),
        "dataset_seed": 0,
        "base_config_path": None,
        "run_metadata": {},
    }
    given: dict[str, Any] = {}
    for name, parameter in inspect.signature(write).parameters.items():
        if name in known:
            given[name] = known[name]
        elif parameter.default is inspect.Parameter.empty:
            given[name] = {} if name == "training_config" else None
    write(**given)
    holding = sorted(p.name for p in out.rglob("*") if p.is_file() and "hunter2-password" in p.read_text("utf-8"))
    return bool(holding), f"a password in the config stands in {', '.join(holding)}"


def files_present(tree: Path) -> tuple[bool, str]:
    """A config that extends another: which of the two files the manifest keeps."""
    out, known = tree / "kept", {"parent.yaml": "data: {a: 1}\n", "leaf.yaml": "extends: parent.yaml\n"}
    for name, text in known.items():
        (tree / "configs" / name).write_text(text, encoding="utf-8")
    write = of_tree("src.utils.run_manifest:write_run_manifest_files")
    told = {"config_path": str(tree / "configs/leaf.yaml"), "base_config_path": None, "dataset_seed": 0}
    write(output_dir=out, training_config={}, **told)
    kept = {name: any(p.read_text("utf-8") == text for p in out.rglob("*.yaml")) for name, text in known.items()}
    return kept == {"parent.yaml": False, "leaf.yaml": True}, f"kept: {kept}"


def upstream_versions(tree: Path) -> tuple[bool, str]:
    """A package whose import raises something else than ImportError, as vLLM's does without its CUDA library."""
    collect, broken = of_tree(*COLLECT), tree / "vllm"
    broken.mkdir(exist_ok=True)
    (broken / "__init__.py").write_text("raise OSError('libcudart.so.12: cannot open')\n", encoding="utf-8")
    before = sys.modules.pop("vllm", None)
    try:
        said = refusal(collect)
    finally:
        (broken / "__init__.py").unlink()
        broken.rmdir()
        if before is not None:
            sys.modules["vllm"] = before
    return said.startswith("OSError"), f"collecting the versions: {said or 'goes on'}"
