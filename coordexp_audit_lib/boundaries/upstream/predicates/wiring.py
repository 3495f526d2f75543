"""Optimizer wiring: which parameter is in which group, with which decay and rate."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.upstream.surfaces import Group, TrainerRequest, Wiring
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.wiring import OFFSETS

OPTIMIZER = "the pipeline's optimizer"
RATES = "Match the part with the longest name first (the merger before the tower that holds it) when groups are made."
RATE = 1e-9  # learning rates and decays are passed through, not computed with


def groups_by_name(request: TrainerRequest, wiring: Wiring) -> Iterator[Problem]:
    """`create_optimizer` puts each trainable parameter in one group, with weight decay where the names say so."""
    yield from _partition("create_optimizer", wiring.names, wiring.groups)
    for group in wiring.groups:
        for name in group.names:
            decay = request.weight_decay if name in wiring.decay else 0.0
            yield from _number(f"create_optimizer: the weight decay of {name}", decay, group.weight_decay, name)
            yield from _number(f"create_optimizer: the rate of {name}", request.learning_rate, group.lr, name)


def decay_by_name(wiring: Wiring) -> Iterator[Problem]:
    """Biases and norms get no weight decay, weights do."""
    for name in wiring.names:
        plain = not name.endswith("bias") and "norm" not in name
        if plain != (name in wiring.decay):
            what = "is left out of" if plain else "is in"
            yield Problem(f"{name} {what} the names that get weight decay", name, plain, not plain, name)


def optimizer_as_set(request: TrainerRequest, wiring: Wiring) -> Iterator[Problem]:
    """The optimizer's class and keyword arguments are those of the training arguments."""
    wanted = {"lr": request.learning_rate, "betas": [request.beta1, request.beta2], "eps": request.epsilon}
    if wiring.optimizer != "AdamW" or wiring.kwargs != wanted:
        message = "get_optimizer_cls_and_kwargs does not give the arguments' optimizer"
        yield Problem(message, "adamw_torch", ["AdamW", wanted], [wiring.optimizer, wiring.kwargs])


def rates_by_part(
    request: TrainerRequest, rates: dict[str, float], names: list[str], decayed: list[str], groups: list[Group]
) -> Iterator[Problem]:
    """The pipeline's own wiring: each parameter in one group, decay by the names, the rate that is set for its part.

    Args:
        rates: of each part, by a prefix of its parameters' names; the longest prefix counts.
        names: of the trainable parameters. decayed: those that get weight decay. groups: as the pipeline has them.
    """
    yield from _partition("the pipeline's optimizer", names, groups)
    for group in groups:
        for name in group.names:
            part = max((p for p in rates if name.startswith(p)), key=len, default="")
            rate = rates[part] if part else request.learning_rate
            wrong = _number(f"{OPTIMIZER}: the rate of {name}", rate, group.lr, name)
            yield from (replace(p, remedy=RATES, kind=f"the rate of {part or 'the rest'}") for p in wrong)
            if not name.startswith(OFFSETS):
                decay = request.weight_decay if name in decayed else 0.0
                what = f"the pipeline's optimizer: the weight decay of {name}"
                yield from _number(what, decay, group.weight_decay, name)


def _partition(what: str, names: list[str], groups: list[Group]) -> Iterator[Problem]:
    grouped = sorted(n for g in groups for n in g.names)
    if grouped != sorted(names):
        odd = sorted(set(names) ^ set(grouped)) or sorted({n for n in grouped if grouped.count(n) > 1})
        yield Problem(f"{what} does not hold each trainable parameter once", what, sorted(names), grouped, odd)


def _number(what: str, wanted: float, found: float, name: str) -> Iterator[Problem]:
    if abs(wanted - found) > RATE:
        yield Problem(f"{what} is {found:g}, not {wanted:g}", name, wanted, found, name)
