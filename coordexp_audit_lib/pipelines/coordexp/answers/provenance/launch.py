"""How a launcher starts the rollout server and what it tells the training process of it: run from the launcher's text.

Of a shell launcher the two arrays are run by bash as they stand, with their variables set. Of a Python launcher the
call that builds the server's command line and the mapping that it hands on are evaluated, with their names set.
"""

import ast
import importlib
import itertools
import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

from coordexp_audit_lib.pipelines.api import Unbound
from coordexp_audit_lib.pipelines.coordexp import symbols

SHELL, PYTHON, BUILD = "scripts/train_stage2.sh", symbols.VLLM_LAUNCHER.path, "build_swift_rollout_cmd"
ALIKE = {
    "vllm_max_model_len": "max_model_len",
    "vllm_enforce_eager": "eager",
    "vllm_gpu_memory_utilization": "memory_utilisation",
}
FLAGS = {
    "torch_dtype": "dtype",
    "vllm_data_parallel_size": "data_parallel",
    "vllm_tensor_parallel_size": "tensor_parallel",
    **ALIKE,
}
KEYWORDS = {"server_torch_dtype": "dtype", "vllm_dp": "data_parallel", "vllm_tp": "tensor_parallel", **ALIKE}
URL_NAMES = ("PRIMARY_SERVER_BASE_URL", "SERVER_BASE_URL")
KEY = "COORDEXP_STAGE2_SERVER_TORCH_DTYPE"


def recorded_environment(here, flags):
    """The server's flags as launched, by flag, and the variables that the training process is started with."""
    shell = text_of(here, SHELL)
    if "STAGE2_META_ENV_VARS=(" in shell and "SERVER_CMD=(" in shell:
        return from_shell(shell, flags)
    launcher = text_of(here, PYTHON)
    if KEY in launcher and BUILD in launcher:
        return from_python(launcher, flags)
    raise Unbound("no launcher is known that hands the rollout server's flags to the training process")


def text_of(here, relative):
    path = Path(here.tree, relative)
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def flags_of(words):
    """`--flag value` pairs of a command line, those of the six flags."""
    pairs = itertools.pairwise(words)
    return {w.lstrip("-"): v for w, v in pairs if w.startswith("--") and w.lstrip("-") in FLAGS}


def from_shell(text, flags):
    arrays = []
    for name in ("SERVER_CMD", "STAGE2_META_ENV_VARS"):
        found = re.search(r"^%s=\(.*?\)[ \t]*$" % name, text, re.MULTILINE | re.DOTALL)
        if found is None:
            raise Unbound("%s writes %s in a way that is unknown here" % (SHELL, name))
        arrays.append(found.group())
    variables = {name: "audit-" + name.lower() for array in arrays for name in re.findall(r"\$\{(\w+)\}", array)}
    for flag, name in re.findall(r"--(\w+)\s+\"?\$\{(\w+)\}", arrays[0]):
        if flag in FLAGS:
            variables[name] = flags[FLAGS[flag]]
    for name in URL_NAMES:
        if name in variables and "base_url" in flags:
            variables[name] = flags["base_url"]
    show = 'printf "%s\\0" "${SERVER_CMD[@]}" "" "${STAGE2_META_ENV_VARS[@]}"'
    env = {"PATH": os.environ.get("PATH", os.defpath), **variables}
    ran = subprocess.check_output(["bash", "-euc", "\n".join([*arrays, show])], env=env, timeout=30, text=True)
    words = ran.split("\0")[:-1]
    cut = words.index("")
    return flags_of(words[:cut]), dict(word.split("=", 1) for word in words[cut + 1 :])


def from_python(text, flags):
    nodes = list(ast.walk(ast.parse(text)))
    call = next(n for n in nodes if isinstance(n, ast.Call) and getattr(n.func, "id", "") == BUILD)
    tables = [n for n in nodes if isinstance(n, ast.Dict)]
    given = next(n for n in tables if any(isinstance(k, ast.Constant) and k.value == KEY for k in n.keys))
    url = SimpleNamespace(base_url=flags.get("base_url", "http://127.0.0.1:8000"), host="127.0.0.1", port=8000)
    unset = ("template_max_length", "template", "truncation_strategy", "vllm_engine_kwargs")
    others = {"vllm_enable_lora": False, "template_max_pixels": 4096, "base_url": url, **dict.fromkeys(unset)}
    values = {**others, **{k: typed(k, flags[c]) for k, c in KEYWORDS.items()}}
    parts: list[ast.AST] = [*ast.walk(call), *ast.walk(given)]
    space: dict[str, object] = {n.id: "audit" for n in parts if isinstance(n, ast.Name)}
    for keyword in call.keywords:
        if isinstance(keyword.value, ast.Name) and keyword.arg in values:
            space[keyword.value.id] = values[keyword.arg]
    module = importlib.import_module(symbols.VLLM_LAUNCHER[0])
    space.update({BUILD: getattr(module, BUILD), "str": str, "int": int, "float": float, "bool": bool})
    words = eval(compile(ast.Expression(call), PYTHON, "eval"), space)
    variables = eval(compile(ast.Expression(given), PYTHON, "eval"), space)
    return flags_of(words), {k: str(v) for k, v in variables.items()}


def typed(keyword, word):
    """A flag's word as the launcher's own type."""
    kind = {"vllm_enforce_eager": lambda w: w == "true", "vllm_gpu_memory_utilization": float}
    return word if keyword == "server_torch_dtype" else kind.get(keyword, int)(word)
