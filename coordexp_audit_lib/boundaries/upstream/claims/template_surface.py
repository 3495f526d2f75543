"""The Qwen3-VL template's encode, packing_row and data_collator keep names, inputs and outputs.

The trainer reads tensors of a batch by name, and a variable-length kernel reads `cu_seq_lens` as int32. A tensor under
another name is not read at all, one of another dtype or shape is read wrongly, and an attention mask beside a pack
switches the isolation of its segments off: samples then attend to one another and the loss is conditioned on text that
they do not have.

Example: three chats packed to a length L give `position_ids` [3, 1, L], `text_position_ids` [1, L], `cu_seq_lens_q` [4]
in int32, and no `attention_mask`."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.upstream import surfaces as s
from coordexp_audit_lib.boundaries.upstream.cases import CHATS
from coordexp_audit_lib.boundaries.upstream.faults import changed, without
from coordexp_audit_lib.boundaries.upstream.predicates import batches
from coordexp_audit_lib.boundaries.upstream.predicates.installed import REMEDY, swift, used_as_there
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import Release, release_keeps
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P0",
    kind="B",
    remedy=REMEDY,
    spec=(swift("swift/llm/template/template/qwen.py", "Qwen2VLTemplate.packing_row"),),
)
def template_surface(ctx: Context) -> Iterator[Problem]:
    yield from used_as_there(ctx, "upstream.template_surface")
    made = ctx.value(s.TEMPLATE, CHATS)
    ctx.judged(len(made.keys) + len(made.packed.shapes) + len(made.padded.shapes))
    if len(made.lengths) != len(CHATS.chats):
        yield Problem("not one encoding for each chat", "encode", len(CHATS.chats), len(made.lengths))
    yield from batches.names_and_shapes(CHATS, made)


template_surface.on(Release, release_keeps)


def _masked(pack: s.Collated) -> s.Collated:
    return changed(pack, shapes={**pack.shapes, "attention_mask": pack.shapes["input_ids"]})


fault(template_surface, "template_without_packing_row", s.API, "the template has no packing_row")(
    without(":Template.packing_row")
)
fault(template_surface, "pack_with_a_mask", s.TEMPLATE, "the collator gives a pack an attention mask")(
    answered(packed=lambda made: _masked(made.packed))
)
fault(template_surface, "int64_boundaries", s.TEMPLATE, "cu_seq_lens_q is int64")(
    answered(packed=lambda made: changed(made.packed, dtypes={**made.packed.dtypes, "cu_seq_lens_q": "int64"}))
)
