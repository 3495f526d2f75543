"""coord_tokens.enabled and coord_tokens.skip_bbox_norm must be true.

Without coordinate tokens a box is trained as digits, on which no coordinate loss acts; without `skip_bbox_norm` bins
0…999 are divided by the image's size once more, and every box is supervised at another place.

Example: `custom.coord_tokens.skip_bbox_norm: false` must be refused."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.faults import overlooked
from coordexp_audit_lib.boundaries.config.predicates.rules import Resolved, by_keys
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.nested import get

OFF = (False, 0, "false", "no")


@claim(
    severity="P0",
    kind="B",
    per_config=True,
    remedy="Refuse a config that turns either off: coordinates would be trained as digits, or normalized twice.",
)
def coord_mode_mandatory(ctx: Context) -> Iterator[Problem]:
    bench = Bench(ctx)
    for path in ctx.contract["config.coord_switches"]:
        for value in OFF:
            answer = bench.load_with({path: value})
            ctx.judged()
            if not answer.refused:
                actual = get(answer.value.config, path)
                yield Problem(f"{path}: {value!r} is accepted.", path, "refused", actual, {path: value})


coord_mode_mandatory.on(Resolved, by_keys("config.coord_mode_mandatory"))

WORDS = r"coord_tokens\.\w+: expected true"
overlooked(
    coord_mode_mandatory,
    coord_mode_optional=(WORDS, "coordinate tokens can be switched off"),
    boxes_as_digits=(r"coord_tokens\.enabled: expected true", "boxes can be trained as digits"),
    boxes_divided_again=(r"coord_tokens\.skip_bbox_norm: expected true", "bins can be divided by the image's size"),
)
