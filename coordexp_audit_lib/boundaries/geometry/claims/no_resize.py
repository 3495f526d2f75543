"""Images are never resized in training: do_resize is false, width*height above template.max_pixels is an error, and the
processor's grid equals the unresized image.

Bins are fractions of the image that was annotated. An image that is resized on the way is another picture with other
patches than the record's size says: token counts, packing lengths and what the evaluation scores on all shift.

Example: an image of 32x32 that reaches the model as 64x64 passed every check and was enlarged in silence."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.geometry import cases
from coordexp_audit_lib.boundaries.geometry import surfaces as s
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, asked, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit.picture import MULTIPLE


@claim(severity="P1", kind="B", remedy="Refuse sizes that the processor cannot take as they are; rescale offline.")
def no_resize(ctx: Context) -> Iterator[Violation]:
    yield from _max_pixels(ctx)
    for width, height in cases.GRID_SIZES:
        ctx.judged()
        yield from _grid(ctx, width, height)


def _grid(ctx: Context, width: int, height: int) -> Iterator[Violation]:
    """An image that every check lets through must reach the model as it is; a usual one must be let through."""
    size, where = f"{width}x{height}", ctx.where(s.GRID)
    answer = ctx.ask(s.GRID, cases.grid(ctx, width, height))
    if answer.refusal is not None or not cases.passes(ctx.ask(s.GATE, cases.gate(ctx, [cases.SAMPLE], width, height))):
        if (width, height) in cases.USUAL_SIZES:
            reason = answer.refusal.message if answer.refusal else "refused before launch"
            yield Violation(f"an image of {size} is refused", size, "accepted", reason, [width, height], where)
        return
    got = answer.value
    ctx.fact("image loader", got.fetched)
    if "stand-in" in got.fetched:
        ctx.left_out("what the image loader makes of an image", f"there is {got.fetched}")
    if got.do_resize != [False]:
        message = f"the image processor is called with do_resize={got.do_resize} for an image of {size}"
        yield Violation(message, size, [False], got.do_resize, [width, height], where)
    unresized = [1, height // got.patch, width // got.patch]
    if got.grid != unresized or width % got.patch or height % got.patch:
        seen = "x".join(str(side * got.patch) for side in got.grid[:0:-1]) or "no grid"
        message = f"an image of {size} passes every check and reaches the model as {seen}"
        yield Violation(message, size, unresized, got.grid, [width, height], where)


def _max_pixels(ctx: Context) -> Iterator[Violation]:
    for width, height, limit in ((640, 480, 640 * 480), (640, 480, 640 * 480 - 1), (480, 640, 480 * 640 - 1)):
        ctx.judged()
        record = {**cases.sound(index=0), "width": width, "height": height}
        refused = ctx.ask(s.RENDER, cases.render(ctx, record, max_pixels=limit)).refused
        if refused != (width * height > limit):
            message = f"{width}x{height} is {'refused' if refused else 'accepted'} under max_pixels={limit}"
            yield Violation(message, "max_pixels", not refused, refused, [width, height, limit])


def multiple(side: int) -> int:
    return max(2 * MULTIPLE, round(side / MULTIPLE) * MULTIPLE)


fault(no_resize, "resized_to_fit", s.GRID, "an image whose sides are no multiples of 32 is resized until they are")(
    asked(width=lambda request: multiple(request.width), height=lambda request: multiple(request.height))
)
fault(no_resize, "max_pixels_ignored", s.RENDER, "an image above max_pixels is let through")(
    asked(max_pixels=lambda _: 10**9)
)
fault(no_resize, "processor_resizes", s.GRID, "the image processor is called without do_resize=False")(
    answered(do_resize=lambda _: [None])
)
