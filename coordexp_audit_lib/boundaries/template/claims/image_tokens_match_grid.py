"""Image placeholders equal the grid t·h·w / merge² for every image, in order.

The vision features are written over the placeholders, one after the other, and the rotary positions are laid out by the
grid. With one placeholder less, or with the grids of two images exchanged, every later feature lands at another place:
the model is asked for boxes in a picture that it sees sheared.

Example: a picture of 64 × 96 pixels, patches of 16, merged two by two: grid `1, 6, 4`, six placeholders."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.template import cases, predicates
from coordexp_audit_lib.boundaries.template import surfaces as s
from coordexp_audit_lib.boundaries.template.faults import each
from coordexp_audit_lib.boundaries.template.reference import PROFILE
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.finding import Violation

MODEL = "src/transformers/models/qwen3_vl/modeling_qwen3_vl.py"


@claim(
    severity="P0",
    kind="B",
    remedy="Expand each image's placeholder from the grid that the image processor gave for that very image.",
    spec=(
        Citation("huggingface/transformers", MODEL, "Qwen3VLModel.get_placeholder_mask", "v4.57.6"),
        Citation("modelscope/ms-swift", "swift/llm/template/template/qwen.py", "Qwen3VLTemplate._encode", "v3.10.3"),
    ),
)
def image_tokens_match_grid(ctx: Context) -> Iterator[Violation]:
    profile = cases.profile(ctx)
    for name, request in cases.encode_requests(ctx.contract):
        answer = ctx.offered(name, s.ENCODE, request)
        if answer is None:
            continue
        made = answer.value
        if len(made.unpacked) != len(request.records):
            yield Violation("a record was lost", name, len(request.records), len(made.unpacked), {"case": name})
            continue
        for number, (record, sample) in enumerate(zip(request.records, made.unpacked, strict=True)):
            ctx.judged(len(record.pictures))
            case = {"case": name, "record": number, "pictures": list(record.pictures)}
            for p in predicates.grid_problems(sample.input_ids, sample.grid, profile, record.pictures):
                yield p.violation(name, case)


def _shorter(e: s.Encoded) -> s.Encoded:
    at = e.input_ids.index(PROFILE.image_pad or 0)
    return replace(e, input_ids=e.input_ids[:at] + e.input_ids[at + 1 :], labels=e.labels[:at] + e.labels[at + 1 :])


fault(image_tokens_match_grid, "one_pad_short", s.ENCODE, "an image has one placeholder less than its grid has cells")(
    each(_shorter)
)
fault(image_tokens_match_grid, "grids_reversed", s.ENCODE, "the grids of a sample's images stand in reverse order")(
    each(lambda e: replace(e, grid=e.grid[::-1]))
)


def _unmerged(e: s.Encoded) -> s.Encoded:
    pads = [t == PROFILE.image_pad for t in e.input_ids]
    times = [PROFILE.merge_size**2 if pad else 1 for pad in pads]
    ids, labels = ([v for v, n in zip(row, times, strict=True) for _ in range(n)] for row in (e.input_ids, e.labels))
    return replace(e, input_ids=ids, labels=labels)


fault(image_tokens_match_grid, "pads_unmerged", s.ENCODE, "an image has a placeholder for each patch, not each cell")(
    each(_unmerged)
)
fault(image_tokens_match_grid, "one_grid_for_all", s.ENCODE, "every image of a sample has the grid of the first")(
    each(lambda e: replace(e, grid=[e.grid[0] for _ in e.grid]))
)
