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
from coordexp_audit_lib.boundaries.upstream.faults import changed, edited, without
from coordexp_audit_lib.boundaries.upstream.predicates import batches
from coordexp_audit_lib.boundaries.upstream.predicates.installed import used_as_there
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import Release, release_keeps
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P0",
    kind="B",
    remedy="install the release that the contract was written for, or change the call",
    spec=(
        Citation(
            "modelscope/ms-swift", "swift/llm/template/template/qwen.py", "Qwen2VLTemplate.packing_row", "v3.10.3"
        ),
    ),
)
def template_surface(ctx: Context) -> Iterator[Problem]:
    yield from used_as_there(ctx, "upstream.template_surface")
    made = ctx.value(s.TEMPLATE, CHATS)
    ctx.judged(len(made.keys) + len(made.packed.shapes) + len(made.padded.shapes))
    if len(made.lengths) != len(CHATS.chats):
        yield Problem("not one encoding for each chat", "encode", len(CHATS.chats), len(made.lengths))
    yield from batches.names_and_shapes(CHATS, made)


template_surface.on(Release, release_keeps)


def _masked(made: s.Templated) -> s.Templated:
    shapes = {**made.packed.shapes, "attention_mask": made.packed.shapes["input_ids"]}
    return changed(made, packed=changed(made.packed, shapes=shapes))


def _int64(made: s.Templated) -> s.Templated:
    return changed(made, packed=changed(made.packed, dtypes={**made.packed.dtypes, "cu_seq_lens_q": "int64"}))


fault(template_surface, "template_without_packing_row", s.API, "the template has no packing_row")(
    without(":Template.packing_row")
)
fault(template_surface, "pack_with_a_mask", s.TEMPLATE, "the collator gives a pack an attention mask")(edited(_masked))
fault(template_surface, "int64_boundaries", s.TEMPLATE, "cu_seq_lens_q is int64")(edited(_int64))
