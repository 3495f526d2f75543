"""Claims about values that must agree with each other, and about loading that depends on the config alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from coordexp_audit_lib.boundaries.config import chain as edit
from coordexp_audit_lib.boundaries.config.bench import Bench
from coordexp_audit_lib.boundaries.config.chain import text_of
from coordexp_audit_lib.boundaries.config.contract import (
    HF_LENGTH,
    PACKING,
    HfLength,
    Loaded,
    batch_adds_up,
    respects_segments,
)
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.errors import AuditError, SurfaceUnbound
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.surface import Answer

EFFECTIVE = "training.effective_batch_size"
PER_DEVICE = "training.per_device_train_batch_size"
ACCUMULATION = "training.gradient_accumulation_steps"


def batch_cases(per_device: int) -> Iterator[tuple[dict[str, Any], int, bool]]:
    """(values, world size, must be refused): four accumulation steps, then what does not come out even."""
    for world_size in (1, 2, 3):
        even = per_device * world_size * 4
        yield {EFFECTIVE: even}, world_size, False
        yield {EFFECTIVE: even, ACCUMULATION: 4}, world_size, False
        yield {EFFECTIVE: even, ACCUMULATION: 5}, world_size, True
        if per_device * world_size > 1:
            yield {EFFECTIVE: even + 1}, world_size, True
    # A later section that names the same argument must not change the batch behind the check's back.
    yield {EFFECTIVE: per_device * 4, "rlhf.gradient_accumulation_steps": 5}, 1, False
    yield {EFFECTIVE: per_device * 4, "rlhf.per_device_train_batch_size": per_device + 1}, 1, False


def realised(answer: Loaded, world_size: int) -> dict[str, Any]:
    """What upstream is told about the batch."""
    given = answer.arguments or {}
    return {
        "per_device": given.get("per_device_train_batch_size"),
        "world_size": world_size,
        "accumulation": given.get("gradient_accumulation_steps"),
    }


def is_exact(effective: int, told: Mapping[str, Any]) -> bool:
    """Whether what upstream is told makes exactly the effective batch."""
    factors = [told["per_device"], told["world_size"], told["accumulation"]]
    return all(isinstance(f, int) for f in factors) and batch_adds_up(effective, *factors)


@invariant(
    "config.batch_divisible",
    boundary="config",
    severity="P0",
    kind="B",
    per_config=True,
    claim="effective_batch_size is an exact multiple of per-device batch x world size; an explicit accumulation that "
    "disagrees is refused.",
    remedy="Refuse what does not divide instead of rounding up, and check the arguments that upstream finally gets.",
    spec="stage2-ab-training: Channel-B step mode is step-budgeted in raw rollouts",
)
def batch_divisible(ctx: Context) -> Iterator[Violation]:
    bench = Bench(ctx)
    per_device = int(bench.get(PER_DEVICE, 1))
    for values, world_size, refuse in batch_cases(per_device):
        answer = bench.load_with(values, depth="arguments", env={"WORLD_SIZE": str(world_size)})
        ctx.judged()
        case = {**values, "world_size": world_size}
        if answer.content is None:
            if not refuse and not any(k.startswith("rlhf.") for k in values):
                yield Violation("A batch that divides exactly is refused.", EFFECTIVE, "accepted", "refused", case)
            continue
        told = realised(answer.content, world_size)
        if refuse or not is_exact(values[EFFECTIVE], told):
            shown = " and ".join(f"{k}: {v}" for k, v in values.items())
            yield Violation(
                f"{shown} on {world_size} rank(s) is accepted; upstream is told {told['per_device']} per device and "
                f"{told['accumulation']} accumulation steps.",
                subject=EFFECTIVE,
                expected="refused" if refuse else values[EFFECTIVE],
                actual=told,
                counterexample=case,
            )


# (global_max_length, max_model_len, max_new_tokens, coherent)
LENGTHS = (
    (4096, 4096, 1024, True),
    (4096, 8192, 8191, True),
    (4097, 4096, 1024, False),
    (12000, 4096, 1024, False),
    (4096, 4096, 4096, False),
    (4096, 8192, 8192, False),
    (4096, 8192, 20000, False),
)
# (prompt, max_new_tokens, max_position_embeddings, fits)
HF_LENGTHS = ((10, 10, 20, True), (10, 11, 20, False), (21, 1, 20, False), (1, 20, 20, False), (0, 20, 20, True))


@invariant(
    "config.length_coherent",
    boundary="config",
    severity="P0",
    kind="B",
    per_config=True,
    claim="global_max_length is at most vllm.max_model_len, max_new_tokens less than it; with the HF backend the "
    "prompt and max_new_tokens fit max_position_embeddings.",
    remedy="Compare the lengths at load (vLLM) and before generation (HF), and refuse what one side would cut.",
    spec="rollout-matching-sft: length coherence between training and rollouts",
)
def length_coherent(ctx: Context) -> Iterator[Violation]:
    contradictions = list(_vllm_lengths(ctx, Bench(ctx)))
    yield from contradictions
    try:
        yield from _hf_lengths(ctx)
    except SurfaceUnbound as unbound:
        if not contradictions:  # one half alone can refute the claim, but not uphold it
            raise
        ctx.fact("not judged", str(unbound))


def _vllm_lengths(ctx: Context, bench: Bench) -> Iterator[Violation]:
    start = bench.start(("rollout_matching", "vllm"))
    if start is None:
        raise AuditError(
            "the target accepts no rollout_matching.vllm section", remedy="extend the skeleton for its era"
        )
    for longest, limit, budget, coherent in LENGTHS:
        values = {
            "global_max_length": longest,
            "rollout_matching.rollout_backend": "vllm",
            "rollout_matching.vllm.max_model_len": limit,
            "rollout_matching.max_new_tokens": budget,
        }
        answer = bench.load_with({**start, **values})
        ctx.judged()
        if answer.refused == coherent:
            yield _length_violation(coherent, answer, values)


def _hf_lengths(ctx: Context) -> Iterator[Violation]:
    for prompt, budget, positions, fits in HF_LENGTHS:
        verdict = ctx.ask(HF_LENGTH, HfLength(prompt, budget, positions))
        ctx.judged()
        if verdict.refused == fits:
            values = {"prompt": prompt, "max_new_tokens": budget, "max_position_embeddings": positions}
            yield _length_violation(fits, verdict, values)


def _length_violation(coherent: bool, answer: Answer[Any], values: dict[str, Any]) -> Violation:
    return Violation(
        f"Lengths that {'agree are refused' if coherent else 'contradict each other are accepted'}.",
        subject="rollout lengths",
        expected="accepted" if coherent else "refused",
        actual=answer.refusal.message if answer.refusal else "accepted",
        counterexample=values,
    )


ATTN = "model.attn_impl"
PACKING_ON = "training.packing"


def packing_cases(bench: Bench) -> Iterator[tuple[dict[str, Any], dict[str, str], bool]]:
    """(values shown, overlay, must be refused). The last cases put the backend where a check may not look."""
    values: dict[str, Any]
    for backend in ("sdpa", "eager", ""):
        values = {PACKING_ON: True, ATTN: backend}
        yield values, edit.with_values(bench.chain, values), True
    yield {PACKING_ON: True, ATTN: "unset"}, edit.without(bench.chain, ("model", "attn_impl")), True
    for values in ({PACKING_ON: True, ATTN: "flash_attention_2"}, {PACKING_ON: False, ATTN: "sdpa"}):
        yield values, edit.with_values(bench.chain, values), False
    for section in ("template", "training"):
        values = {PACKING_ON: True, ATTN: "flash_attention_2", f"{section}.attn_impl": "sdpa"}
        yield values, edit.with_values(bench.chain, values), True


@invariant(
    "config.packing_backend",
    boundary="config",
    severity="P0",
    kind="B",
    per_config=True,
    claim="Packing with an attention backend that ignores segment boundaries is refused.",
    remedy="Check the backend that upstream finally gets, not only the one under model; refuse all but varlen kernels.",
    spec="packing-dataset; stage2-ab-training: padding-free packing metadata",
)
def packing_backend(ctx: Context) -> Iterator[Violation]:
    bench = Bench(ctx).flat()
    bench.must_load()
    for values, overlay, refuse in packing_cases(bench):
        answer = ctx.ask(PACKING, bench.request(overlay))
        ctx.judged()
        if answer.content is None:
            if not refuse:
                yield Violation("A sound attention backend is refused.", ATTN, "accepted", "refused", values)
            continue
        got = answer.content
        if got.packing and (refuse or not respects_segments(got.attn_impl)):
            shown = " and ".join(f"{k}: {v}" for k, v in values.items() if k != PACKING_ON)
            yield Violation(
                f"Packing with {shown} is accepted; upstream is given {got.attn_impl!r}, which does not read the "
                "segment boundaries.",
                subject=ATTN,
                expected="refused",
                actual={"packing": got.packing, "attn_impl": got.attn_impl},
                counterexample=values,
            )


NOISE = {"HOME": "/nowhere", "USER": "someone", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu", "CONFIG": "x.yaml"}
RANKS = {"WORLD_SIZE": "8", "RANK": "3", "LOCAL_RANK": "3", "CUDA_VISIBLE_DEVICES": "3"}
PROMPT = "prompts/audit_prompt.txt"


def reordered(bench: Bench, ctx: Context) -> dict[str, dict[str, str]]:
    """Overlays of every file of the chain with its keys, at every depth, in another order."""
    orders = {"reversed": lambda keys: keys.reverse(), "sorted": lambda keys: keys.sort(key=str)}
    orders["shuffled"] = ctx.rng("keys").shuffle
    return {
        name: {f.path: text_of(_reordered(f.raw, order), f.extends) for f in bench.chain.files}
        for name, order in orders.items()
    }


def _reordered(value: Any, order: Any) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        order(keys)
        return {k: _reordered(value[k], order) for k in keys}
    return [_reordered(v, order) for v in value] if isinstance(value, list) else copy.copy(value)


def surroundings(bench: Bench, ctx: Context) -> Iterator[tuple[str, Answer[Loaded]]]:
    """The same config loaded in other circumstances."""
    yield "a second time", bench.load({})
    for cwd in ("elsewhere", "configs", "."):
        yield f"from the directory {cwd}, named relative to it", bench.load({}, cwd=cwd, relative=True)
    yield "from another directory, named absolutely", bench.load({}, cwd="elsewhere")
    yield "in another environment", bench.load({}, env=NOISE)
    yield "as rank 3 of 8", bench.load({}, env=RANKS)
    for name, overlay in reordered(bench, ctx).items():
        yield f"with its keys {name}", bench.load(overlay)


@invariant(
    "config.deterministic",
    boundary="config",
    severity="P1",
    kind="B",
    per_config=True,
    claim="Loading depends on the config alone, not on working directory, key order or environment; two loads give the "
    "same canonical hash.",
    remedy="Resolve every file that a config names against the repository, and read no environment at load.",
    spec="stage2-ab-training: preflight and loader are safe to call from arbitrary working directories",
)
def deterministic(ctx: Context) -> Iterator[Violation]:
    bench = Bench(ctx)
    for how, answer in surroundings(bench, ctx):
        ctx.judged()
        yield from _same(bench.loaded, answer, how, {"loaded": how})
    flat = bench.flat()
    ctx.judged()
    yield from _same(bench.loaded, flat.load({}), "resolved into one file", {"loaded": "as one file"})
    values = {"custom.user_prompt": PROMPT}
    overlay = {**edit.with_values(bench.chain, values), PROMPT: "Locate every object."}
    here, there = bench.load(overlay), bench.load(overlay, cwd="elsewhere")
    if here.content is not None:
        ctx.judged()
        yield from _same(here.content, there, "from another directory if custom.user_prompt names a text file", values)


def _same(base: Loaded, answer: Answer[Loaded], how: str, case: dict[str, Any]) -> Iterator[Violation]:
    digest = answer.content.digest if answer.content else f"refused: {answer.refusal and answer.refusal.message}"
    if digest != base.digest:
        yield Violation(f"The config loads otherwise {how}.", how, base.digest, digest, case)
