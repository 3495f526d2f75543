"""effective_batch_size is an exact multiple of per-device batch x world size; an explicit accumulation that disagrees
is refused.

Rounded up, one optimizer step averages over other samples than the config states: learning rate and schedule are those
of another batch, and two machines with another number of ranks train differently from one config.

Example: 64 samples on 3 ranks must be refused; with 22 accumulation steps of one sample they are 66."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.faults import overlooked
from coordexp_audit_lib.boundaries.config.predicates.rules import Resolved, batch, batch_adds_up
from coordexp_audit_lib.boundaries.config.surfaces import LOAD, Loaded
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P1",
    kind="B",
    per_config=True,
    remedy="Refuse what does not divide instead of rounding up, and check the arguments that upstream finally gets.",
)
def batch_divisible(ctx: Context) -> Iterator[Problem]:
    bench, keys = Bench(ctx), ctx.contract["config.batch"]
    effective = keys["effective"]
    for values, world_size, refuse in cases(int(bench.get(keys["per_device"], 1)), keys):
        answer = bench.load_with(values, depth="arguments", env={"WORLD_SIZE": str(world_size)})
        ctx.judged()
        case = {**values, "world_size": world_size}
        if answer.content is None:
            if not refuse and not any(k.startswith(f"{keys['also_in']}.") for k in values):
                yield Problem("A batch that divides exactly is refused.", effective, "accepted", "refused", case)
            continue
        told = realised(answer.content, world_size)
        if refuse or not is_exact(values[effective], told):
            shown = " and ".join(f"{k}: {v}" for k, v in values.items())
            steps = f"{told['per_device']} per device and {told['accumulation']} accumulation steps"
            text = f"{shown} on {world_size} rank(s) is accepted; upstream is told {steps}."
            beside = next((k for k in values if k != effective), effective)  # the key without which it can't be
            yield Problem(text, beside, "refused" if refuse else values[effective], told, case)


batch_divisible.on(Resolved, batch)


def cases(per_device: int, keys: Mapping[str, str]) -> Iterator[tuple[dict[str, Any], int, bool]]:
    """(values, world size, must be refused): four accumulation steps, then what does not come out even."""
    effective, accumulation = keys["effective"], keys["accumulation"]
    for world_size in (1, 2, 3):
        even = per_device * world_size * 4
        yield {effective: even}, world_size, False
        yield {effective: even, accumulation: 4}, world_size, False
        yield {effective: even, accumulation: 5}, world_size, True
        if per_device * world_size > 1:
            yield {effective: even + 1}, world_size, True
    # A later section that names the same argument must not change the batch behind the check's back.
    for key, value in ((accumulation, 5), (keys["per_device"], per_device + 1)):
        yield {effective: per_device * 4, f"{keys['also_in']}.{key.rpartition('.')[2]}": value}, 1, False


def realised(answer: Loaded, world_size: int) -> dict[str, Any]:
    """What upstream is told about the batch, under the names of transformers' `TrainingArguments`."""
    given = answer.arguments or {}
    per_device, accumulation = given.get("per_device_train_batch_size"), given.get("gradient_accumulation_steps")
    return {"per_device": per_device, "world_size": world_size, "accumulation": accumulation}


def is_exact(effective: int, told: Mapping[str, Any]) -> bool:
    """Whether what upstream is told makes exactly the effective batch."""
    factors = [told["per_device"], told["world_size"], told["accumulation"]]
    return all(isinstance(f, int) for f in factors) and batch_adds_up(effective, *factors)


def _one_step_more(loaded: Loaded) -> dict[str, Any] | None:
    given = loaded.arguments
    return given and {**given, "gradient_accumulation_steps": given["gradient_accumulation_steps"] + 1}


overlooked(
    batch_divisible, batch_rounded_up=("accumulation steps", "an effective batch that does not divide is rounded up")
)
SUMMARY = "upstream is told another accumulation than the effective batch implies"
fault(batch_divisible, "accumulation_wins", LOAD, SUMMARY)(answered(arguments=_one_step_more))
