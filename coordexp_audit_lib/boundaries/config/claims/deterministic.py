"""Loading depends on the config alone, not on working directory, key order or environment; two loads give the same
canonical hash.

A rank that starts elsewhere, or a rerun in another shell, would otherwise optimise another objective from the same
file, and the file that is kept as evidence does not say which.

Example: a prompt file that is looked up in the caller's directory changes every prompt with it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.config.cases import edits
from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.surfaces import LOAD, Loaded, LoadRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.evidence import digest
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Answer

NOISE = {"HOME": "/nowhere", "USER": "someone", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu", "CONFIG": "x.yaml"}
RANKS = {"WORLD_SIZE": "8", "RANK": "3", "LOCAL_RANK": "3", "CUDA_VISIBLE_DEVICES": "3"}
PROMPT = "prompts/audit_prompt.txt"


@claim(
    severity="P1",
    kind="B",
    per_config=True,
    remedy="Resolve every file that a config names against the repository, and read no environment at load.",
)
def deterministic(ctx: Context) -> Iterator[Problem]:
    bench, prompt = Bench(ctx), ctx.contract["config.prompt"]
    for how, answer in surroundings(bench, ctx):
        ctx.judged()
        yield from _same(bench.loaded, answer, how, {"loaded": how})
    flat = bench.flat()
    ctx.judged()
    yield from _same(bench.loaded, flat.load({}), "resolved into one file", {"loaded": "as one file"})
    values = {prompt: PROMPT}
    overlay = {**edits.with_values(bench.chain, values), PROMPT: "Locate every object."}
    here, there = bench.load(overlay), bench.load(overlay, cwd="elsewhere")
    if here.content is not None:
        ctx.judged()
        yield from _same(here.content, there, f"from another directory if {prompt} names a text file", values)


def _same(base: Loaded, answer: Answer[Loaded], how: str, case: dict[str, Any]) -> Iterator[Problem]:
    found = answer.content.digest if answer.content else f"refused: {answer.refusal and answer.refusal.message}"
    if found != base.digest:
        yield Problem(f"The config loads otherwise {how}.", how, base.digest, found, case)


def surroundings(bench: Bench, ctx: Context) -> Iterator[tuple[str, Answer[Loaded]]]:
    """The same config loaded in other circumstances."""
    yield "a second time", bench.load({})
    for cwd in ("elsewhere", "configs", "."):
        yield f"from the directory {cwd}, named relative to it", bench.load({}, cwd=cwd, relative=True)
    yield "from another directory, named absolutely", bench.load({}, cwd="elsewhere")
    yield "in another environment", bench.load({}, env=NOISE)
    yield "as rank 3 of 8", bench.load({}, env=RANKS)
    orders = {"reversed": lambda keys: keys.reverse(), "sorted": lambda keys: keys.sort(key=str)}
    for name, order in {**orders, "shuffled": ctx.rng("keys").shuffle}.items():
        files = {f.path: edits.text_of(_reordered(f.raw, order), f.extends) for f in bench.chain.files}
        yield f"with its keys {name}", bench.load(files)


def _reordered(value: Any, order: Callable[[list[str]], None]) -> Any:
    """The same value with the keys of its mappings, at every depth, in another order."""
    if isinstance(value, dict):
        keys = list(value)
        order(keys)
        return {k: _reordered(value[k], order) for k in keys}
    return [_reordered(v, order) for v in value] if isinstance(value, list) else copy.copy(value)


def _hangs_on(part: Callable[[LoadRequest], Any]) -> Callable[[LoadRequest, Honest], Any]:
    """A loader whose result hangs on a part of the request that must not matter."""
    return lambda request, honest: replace(made := honest(request), digest=digest([made.digest, part(request)]))


for _name, _part in (
    ("cwd", lambda r: r.cwd),
    ("environment", lambda r: r.env.get("LANG", "")),
    ("key_order", lambda r: r.files.get(r.config, "")[:40]),
):
    _summary = f"the loaded config depends on the {_name.replace('_', ' ')}"
    fault(deterministic, f"depends_on_{_name}", LOAD, _summary)(_hangs_on(_part))
