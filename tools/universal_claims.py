"""The table of the book's page on claims that hold of any pipeline: what decides each, and what the recordings that
come along are judged to be.

    PYTHONPATH=. python tools/universal_claims.py            # prints it
    PYTHONPATH=. python tools/universal_claims.py --write    # puts it into the page
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.policies import applicable
from coordexp_audit_lib.core.judge import audit
from coordexp_audit_lib.targets.resolve import open_target, packaged

PAGE = Path(__file__).resolve().parents[1] / "book" / "what_holds_of_any_pipeline.md"
PIPELINES = ("llamafactory", "ms-swift", "trl")
MARKS = re.compile(r"(?s)(\| claim \|.*?\n)(?=\n|$)")
# What each asks of an adapter; what the library asks of the environment or reads itself needs no answer.
NO_ANSWER = "nothing"
ASKS = {
    "geometry.sampling_deterministic": "geometry.sample_order",
    "template.image_tokens_match_grid": "template.encode",
    "template.labels_cover_assistant": "template.encode",
    "template.no_truncation": "template.settings, template.limit",
    "template.prompt_is_prefix": "template.rollout_prompt",
    "template.state_restored": "template.state",
    **dict.fromkeys(("packing.capacity", "packing.stable_order"), "packing.plan or packing.stream"),
    "packing.each_once": "packing.plan, packing.stream or packing.batch",
    "packing.ddp_aligned": "packing.plan",
    **dict.fromkeys(
        (f"packing.{n}" for n in ("cu_seqlens", "fields_aligned", "no_cross_boundary_label", "positions_restart")),
        "packing.encode, packing.batch",
    ),
    "packing.vision_in_order": "packing.encode, packing.batch",
    **dict.fromkeys((f"packing.{n}" for n in ("encoded_alike", "lengths_true", "turns_whole")), "packing.encode"),
    "packing.segments_isolated": "packing.forward",
    "packing.loss_equivalent": "packing.forward, packing.step",
    "metrics.evaluation_order_free": "metrics.matched_detections or metrics.average_precision",
    "metrics.no_dilution": "metrics.accumulate",
    "metrics.reduced_by_key": "metrics.reduce",
    "metrics.shards_merged": "metrics.merge_shards",
    "provenance.weights_only": "provenance.save",
    **dict.fromkeys(("rollout.no_rank_conditional_collective", "silence.no_blanket_suppression"), NO_ANSWER),
    **dict.fromkeys(("upstream.imports_there", "upstream.installed_fit", "upstream.qwen3vl_surface"), NO_ANSWER),
}
A_RUN = "a short run (`trains`)"


def rows() -> Iterator[list[str]]:
    boundaries.load()
    names = [n for n in sorted(packaged()) if n.startswith(PIPELINES)]
    yield ["claim", "asked of an adapter", *names]
    found: dict[str, dict[str, str]] = {}
    for name in names:
        with open_target(name) as target:
            chosen = [c for b in boundaries.BOUNDARIES for c in applicable(target.pipeline(), b.name)]
            for f in audit(target, chosen, []):
                found.setdefault(f.invariant, {})[name] = f.status
    for claim, statuses in found.items():
        asked = ASKS.get(claim, A_RUN)
        shown = asked if asked in (A_RUN, NO_ANSWER) else re.sub(r"([a-z]+\.[a-z_]+)", r"`\1`", asked)
        yield [f"`{claim}`", shown, *(statuses[name] for name in names)]
    decided = [sum(of[name] in ("held", "violated") for of in found.values()) for name in names]
    yield [f"decided of {len(found)}", "", *map(str, decided)]


def table() -> str:
    head, *body = rows()
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)) + "\n"


def main() -> None:
    made = table()
    if "--write" in sys.argv:
        PAGE.write_text(MARKS.sub(lambda m: made, PAGE.read_text(encoding="utf-8"), count=1), encoding="utf-8")
    else:
        print(made)


if __name__ == "__main__":
    main()
