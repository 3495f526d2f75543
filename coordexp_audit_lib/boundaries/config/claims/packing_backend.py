"""Packing with an attention backend that ignores segment boundaries is refused.

SDPA without a mask lets the second sample of a pack attend to the first: its loss is conditioned on another sample's
image and text, which it will not have when it is evaluated.

Example: `training.packing: true` with `model.attn_impl: sdpa` must be refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from coordexp_audit_lib.boundaries.config.cases import edits
from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.predicates.rules import Resolved, attention, respects_segments
from coordexp_audit_lib.boundaries.config.surfaces import PACKING, LoadRequest, Packed
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Refuse
from coordexp_audit_lib.kit.nested import steps


@claim(
    severity="P1",
    kind="B",
    per_config=True,
    remedy="Check the backend that upstream finally gets, not only the one under model; refuse all but varlen kernels.",
)
def packing_backend(ctx: Context) -> Iterator[Problem]:
    bench, keys = Bench(ctx).flat(), ctx.contract["config.packing"]
    on, backend = keys["on"], keys["backend"]
    bench.must_load()
    for values, overlay, refuse in cases(bench, keys):
        answer = ctx.ask(PACKING, bench.request(overlay))
        ctx.judged()
        if answer.content is None:
            if not refuse:
                yield Problem("A sound attention backend is refused.", backend, "accepted", "refused", values)
            continue
        got = answer.content
        if values[on] and not got.packing and not refuse:
            ctx.left_out("packing", "the target does not pack where a config with a sound backend asks for it")
        if got.packing and (refuse or not respects_segments(got.attn_impl)):
            shown = " and ".join(f"{k}: {v}" for k, v in values.items() if k != on)
            given = f"upstream is given {got.attn_impl!r}, which does not read the segment boundaries."
            told = {"packing": got.packing, "attn_impl": got.attn_impl}
            beside = next((k for k in values if k not in (on, backend)), backend)  # the key without which it can't be
            yield Problem(f"Packing with {shown} is accepted; {given}", beside, "refused", told, values)


packing_backend.on(Resolved, attention)


def cases(bench: Bench, keys: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, str], bool]]:
    """(values shown, overlay, must be refused). The last cases put the backend where a check may not look."""
    on, attn, sound = keys["on"], keys["backend"], "flash_attention_2"
    tried: list[tuple[dict[str, Any], bool]] = [({on: True, attn: b}, True) for b in ("sdpa", "eager", "")]
    tried += [({on: True, attn: sound}, False), ({on: False, attn: "sdpa"}, False)]
    name = attn.rpartition(".")[2]
    tried += [({on: True, attn: sound, f"{section}.{name}": "sdpa"}, True) for section in keys["also_in"]]
    for values, refuse in tried:
        yield values, edits.with_values(bench.chain, values), refuse
    yield {on: True, attn: "unset"}, edits.without(bench.chain, steps(attn)), True


@fault(packing_backend, "sdpa_packed", PACKING, "packing with SDPA is accepted")
def sdpa_packed(request: LoadRequest, honest: Honest) -> Any:
    try:
        return honest(request)
    except Refuse:
        return Packed(True, "sdpa")
