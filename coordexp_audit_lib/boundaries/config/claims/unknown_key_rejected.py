"""An unknown key in any mapping at any depth under stage2_ab or rollout_matching, list items included, is refused at
load; the error names the full dotted path and says what to do.

A misspelt weight or switch that is ignored leaves the default in force: the run optimises another objective than its
config states, and nothing in its log says so.

Example: `stage2_ab.schedule.b_rato: 0.5` must not load as a schedule with the default `b_ratio`."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.config.cases import variations
from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.faults import is_null, overlooked, overlooks
from coordexp_audit_lib.boundaries.config.predicates.rules import Resolved, by_keys
from coordexp_audit_lib.boundaries.config.surfaces import LOAD
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P0",
    kind="B",
    per_config=True,
    remedy="Parse every nested mapping with the strict, schema-derived parser, and give its error the full path.",
)
def unknown_key_rejected(ctx: Context) -> Iterator[Problem]:
    bench, sections = Bench(ctx), ctx.contract["config.stage2_sections"]
    yield from variations.each_node(ctx, variations.unknown_keys(bench, variations.nodes_of(bench, stage2=True)))
    for section in sections:
        if bench.start((section,)) is None:
            ctx.left_out(section, "the target accepts no such section")
    yield from variations.each_node(ctx, variations.inherited_keys(bench, sections[::-1]), " in a parent file")


unknown_key_rejected.on(Resolved, by_keys("config.unknown_key_rejected"))

overlooked(
    unknown_key_rejected,
    list_items_unchecked=(r"servers\[0\]\.\w+: unknown key", "unknown keys of list items are ignored"),
    unknown_keys_ignored=(r"unlisted_knob: unknown key", "every unknown key is ignored"),
)
KNOB = "unlisted_knob"
ALSO = ("config.unknown_section_key_rejected",)
fault(unknown_key_rejected, "nulls_ignored", LOAD, "an unknown key that is set to null is ignored", also=ALSO)(
    overlooks(rf"{KNOB}: unknown key", is_null(KNOB))
)
fault(unknown_key_rejected, "parents_unchecked", LOAD, "only the keys of the leaf itself are checked", also=ALSO)(
    overlooks(rf"{KNOB}: unknown key", lambda request: KNOB not in request.files.get(request.config, ""))
)
