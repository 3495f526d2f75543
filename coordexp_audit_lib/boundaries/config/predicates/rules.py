"""The rules of a resolved config: keys and values by the schema, then what must agree with each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from coordexp_audit_lib.boundaries.config.predicates.values import Broken, Schema, broken
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.kit.nested import get

Contract = Mapping[str, Any]

# Kernels that read cu_seqlens, so that no token attends across a segment boundary.
VARLEN_BACKENDS = frozenset({"flash_attention_2", "flash_attn_2", "flash_attn", "flash_attention_3", "flash_attn_3"})


def batch_adds_up(effective: int, per_device: int, world_size: int, accumulation: int) -> bool:
    """Whether one optimizer step sees exactly `effective` samples."""
    return effective == per_device * world_size * accumulation


def respects_segments(attn_impl: Any) -> bool:
    """Whether an attention backend keeps the segments of a pack apart by itself."""
    return isinstance(attn_impl, str) and attn_impl.strip().lower() in VARLEN_BACKENDS


class Resolved:
    """A resolved config at hand, with what its pipeline promises. world_size: of the run, where it is known."""

    def __init__(self, config: Mapping[str, Any], contract: Contract, world_size: int | None = None) -> None:
        self.config, self.contract, self.world_size = config, contract, world_size

    @cached_property
    def broken(self) -> list[Broken]:
        """What is wrong with its keys and values."""
        return list(check_config(self.config, self.contract))


def by_keys(claim: str) -> Callable[[Resolved, Ledger], Iterator[Problem]]:
    """How a resolved config decides a claim about its keys and values; counts its sections."""

    def of_config(one: Resolved, ledger: Ledger) -> Iterator[Problem]:
        ledger.judged(len(one.config))
        yield from (b.problem for b in one.broken if b.claim == claim)

    return of_config


def attention(one: Resolved, ledger: Ledger) -> Iterator[Problem]:
    """Of a config whose keys and values are sound: what it packs for; counts the config."""
    _needs_sound_keys(one)
    ledger.judged()
    yield from (b.problem for b in check_attention(one.config, one.contract))


def batch(one: Resolved, ledger: Ledger) -> Iterator[Problem]:
    """Of a config whose keys and values are sound, on a known number of ranks: its batch; counts the config."""
    _needs_sound_keys(one)
    if one.world_size is None:
        raise Undecided("needs the world size")
    ledger.judged()
    yield from (b.problem for b in check_batch(one.config, one.world_size, one.contract))


def _needs_sound_keys(one: Resolved) -> None:
    if one.broken:
        raise Undecided(f"its keys and values are wrong already: {one.broken[0]}")


def check_config(config: Mapping[str, Any], contract: Contract) -> Iterator[Broken]:
    """What is wrong with a resolved config: unknown, removed and missing keys, values, and rules between keys.

    Args:
        contract: the pipeline's, of which the values `config.…` are read.
    """
    escape, refused = contract["config.escape"]
    removed = {path: remedy for path, _, _, remedy in contract["config.removed"]}
    removed[refused] = f"move the knob under {escape}, the only section with free keys"
    sound = True
    for found in Schema(contract["config.schema"], removed, escape).check(config):
        sound = False
        yield found
    if sound:
        yield from _between_keys(config, contract, removed, escape)


def _between_keys(
    config: Mapping[str, Any], contract: Contract, removed: Mapping[str, str], escape: str
) -> Iterator[Broken]:
    variant = get(config, contract["config.variant_key"])
    for section in contract["config.variant_sections"].get(variant, ()):
        if not config.get(section):
            yield broken(section, f"the section is required for {variant}", "set it", "config.required_key")
    for path, remedy in removed.items():
        above, _, key = path.rpartition(".")
        if above == escape and key in get(config, escape, {}):
            yield broken(path, "the section was moved", remedy, "config.removed_key_rejected")
    yield from check_lengths(config, contract)


def check_lengths(config: Mapping[str, Any], contract: Contract) -> Iterator[Broken]:
    """Training and rollout must agree on how long a sequence may be (tokens)."""
    keys = contract["config.lengths"]
    limit, backend = get(config, keys["limit"]), get(config, keys["backend"], "vllm")
    if limit is None or backend != "vllm":
        return
    claim = "config.length_coherent"
    budget = get(config, keys["budget"])
    name = next((k for k in (keys["own"], keys["longest"]) if get(config, k) is not None), "")
    longest = get(config, name) if name else None
    if longest is not None and longest > limit:
        what = f"{limit} is less than {name} {longest}: the server would refuse or cut what training accepts"
        yield broken(keys["limit"], what, f"raise it to {name}", claim)
    if budget is not None and budget >= limit:
        what = f"{budget} leaves no room for a prompt in {keys['limit']} {limit}"
        yield broken(keys["budget"], what, f"set it below {keys['limit'].rpartition('.')[2]}", claim)


def check_batch(config: Mapping[str, Any], world_size: int, contract: Contract) -> Iterator[Broken]:
    """One optimizer step sees exactly the effective batch."""
    keys = contract["config.batch"]
    effective, per_device = get(config, keys["effective"]), get(config, keys["per_device"], 1)
    accumulation = accumulation_of(config, world_size, contract)
    if not batch_adds_up(effective, per_device, world_size, accumulation):
        what = f"{effective} is not {per_device} per device x {world_size} ranks x {accumulation} accumulation steps"
        remedy = "use a multiple of per-device batch x world size"
        yield broken(keys["effective"], what, remedy, "config.batch_divisible")


def accumulation_of(config: Mapping[str, Any], world_size: int, contract: Contract) -> int:
    """The accumulation steps that are set, or as many whole ones as fit into the effective batch."""
    keys = contract["config.batch"]
    fitting = max(1, get(config, keys["effective"]) // (get(config, keys["per_device"], 1) * world_size))
    return int(get(config, keys["accumulation"], fitting))


def check_attention(config: Mapping[str, Any], contract: Contract) -> Iterator[Broken]:
    """Packed training needs a kernel that keeps the segments apart."""
    keys = contract["config.packing"]
    backend = get(config, keys["backend"])
    if get(config, keys["on"]) and not respects_segments(backend):
        what = f"packing needs an attention backend that reads segment boundaries, found {backend!r}"
        remedy = f"set it to flash_attention_2, or {keys['on']} to false"
        yield broken(keys["backend"], what, remedy, "config.packing_backend")
