"""Qwen3VLForConditionalGeneration.forward and get_rope_index are there as they are called, and four rows of
position_ids isolate packed segments.

No signature says that the model takes a fourth row of `position_ids` for the text positions by which it finds the
segments of a pack. A release that does not leaves the segments attending to one another: the loss of each sample is
conditioned on its neighbours' images and boxes. An argument that moves, as `get_rope_index` has it in later releases,
puts the image grids into another parameter, and the image's tokens get text positions.

Example: under [4, 1, L] positions the last segment's logits must be those that it has per sample, whatever stands
before it."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.upstream import surfaces as s
from coordexp_audit_lib.boundaries.upstream.cases import GRIDS
from coordexp_audit_lib.boundaries.upstream.faults import changed, seen
from coordexp_audit_lib.boundaries.upstream.predicates import batches
from coordexp_audit_lib.boundaries.upstream.predicates.installed import REMEDY, transformers, used_as_there
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import Release, release_keeps
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.source.facts import Level, Parameter, Seen

MODEL = "src/transformers/models/qwen3_vl/modeling_qwen3_vl.py"


@claim(
    severity="P0",
    kind="B",
    remedy=REMEDY,
    spec=(transformers(MODEL, "Qwen3VLModel.get_rope_index"), transformers(MODEL, "Qwen3VLTextModel.forward")),
)
def qwen3vl_surface(ctx: Context) -> Iterator[Problem]:
    if ctx.target.declaration() is None:
        yield from used_as_there(ctx, "upstream.qwen3vl_surface")
    elif ctx.contract.get("upstream.profile") != "qwen3_vl":
        raise Undecided("the adapter's profile is another family's")
    for request in GRIDS:
        rows = ctx.value(s.ROWS, request)
        ctx.judged(4)
        yield from batches.isolated_rows(request, rows)


qwen3vl_surface.on(Release, release_keeps)


def _with_token_types(k: Seen) -> Seen:
    first, *rest = (k.levels or [Level("", [])])[0].parameters
    return changed(k, levels=[Level(k.home, [first, Parameter("mm_token_type_ids", "normal", True), *rest])])


fault(
    qwen3vl_surface,
    "rope_wants_token_types",
    s.API,
    "get_rope_index takes another argument in the place of the image grids",
    also=("upstream.versions_matrix",),
)(seen(".get_rope_index", _with_token_types))
fault(qwen3vl_surface, "four_rows_not_split", s.API, "the model does not tell four rows of position_ids from three")(
    seen(":Qwen3VLTextModel.forward", lambda k: changed(k, expressions=[]))
)
fault(qwen3vl_surface, "rope_shifted", s.ROWS, "the text after an image goes on one position too late")(
    answered(rope=lambda made: [[*row[:-1], row[-1] + 1] for row in made.rope])
)
fault(qwen3vl_surface, "segments_leak", s.ROWS, "segments of a pack see one another")(
    answered(isolated=lambda _: False, blind=lambda _: False)
)
