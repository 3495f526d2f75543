"""An unknown key in any other schema-owned section, at any depth, and an unknown top-level section are refused, with
the dotted path and what to do; custom.extra alone takes free keys, a top-level extra is refused.

The same silence as in the Stage-2 sections, in the sections that set the data, the coordinate losses and the optimiser:
what is written in the config is not what is trained.

Example: `custom.coord_soft_ce_w1.soft_ce_wieght: 2.0` must be refused; else the soft cross-entropy keeps its default
weight."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.config.cases import variations
from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.cases.variations import UNKNOWN
from coordexp_audit_lib.boundaries.config.faults import overlooked
from coordexp_audit_lib.boundaries.config.predicates.messages import tried, unknown_key
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.finding import Authority
from coordexp_audit_lib.core.problem import Problem

GUIDANCE: Authority = "practice"  # that the error says what to do: demanded of no section but those of Stage-2


@claim(
    severity="P0",
    kind="B",
    per_config=True,
    remedy="Check the keys of each section and of its nested mappings against their schema before use.",
)
def unknown_section_key_rejected(ctx: Context) -> Iterator[Problem]:
    bench = Bench(ctx)
    tried_keys = variations.unknown_keys(bench, variations.nodes_of(bench, stage2=False))
    yield from variations.each_node(ctx, tried_keys, guidance=GUIDANCE)
    inherited = variations.inherited_keys(bench, ctx.contract["config.inherited_sections"])
    yield from variations.each_node(ctx, inherited, " in a parent file", GUIDANCE)
    escape, extra = ctx.contract["config.escape"]
    for path, value in ((UNKNOWN, 1), (UNKNOWN, {}), (extra, {}), (extra, {"knob": 1})):
        ctx.judged()
        yield from unknown_key(tried(bench.load_with({path: value}), path, value), guidance=GUIDANCE)
    ctx.judged()
    free = bench.load_with({f"{escape}.{UNKNOWN}": 1})
    if free.refusal is not None:
        message = f"A free key under {escape}, the one escape hatch, is refused."
        yield Problem(message, escape, "accepted", free.refusal.message)
    foreign = ctx.contract["config.pass_through"]
    there = {p: foreign[p] for p in sorted(foreign) if isinstance(bench.get(p), dict)}
    ctx.fact("mappings left to their owners", there)


NESTED = r"custom\.coord_tokens\.\w+: unknown key"
overlooked(
    unknown_section_key_rejected,
    nested_sections_unchecked=(NESTED, "unknown keys of a nested mapping under custom are ignored"),
    extra_tolerated=(r"^extra: the key was removed", "a top-level extra is accepted"),
)
