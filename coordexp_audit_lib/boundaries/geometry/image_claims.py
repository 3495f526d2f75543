"""The claims about images (sizes, grids, augmentation) and about the order of samples."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.geometry import cases, contract
from coordexp_audit_lib.boundaries.geometry.judging import BOUNDARY
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Violation

LARGE = 300
"""Records of a JSONL that is larger than a spot check of 256."""


@invariant(
    "geometry.no_resize",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Images are never resized in training: do_resize is false, width*height above template.max_pixels is an "
    "error, and the processor's grid equals the unresized image.",
    remedy="Refuse sizes that the processor cannot take as they are; rescale offline.",
    spec="openspec/specs/public-data-pipeline/spec.md; the dataset's own max_pixels rule",
)
def no_resize(ctx: Context) -> Iterator[Violation]:
    yield from _max_pixels(ctx)
    for width, height in cases.GRID_SIZES:
        ctx.judged()
        yield from _grid(ctx, width, height)


def _grid(ctx: Context, width: int, height: int) -> Iterator[Violation]:
    """An image that every check lets through must reach the model as it is; a usual one must be let through."""
    size, where = f"{width}x{height}", ctx.where(contract.GRID)
    answer = ctx.ask(contract.GRID, contract.GridRequest(width, height))
    if answer.refusal is not None or _gate_refuses(ctx, width, height):
        if (width, height) in cases.USUAL_SIZES:
            reason = answer.refusal.message if answer.refusal else "refused before launch"
            yield Violation(f"an image of {size} is refused", size, "accepted", reason, [width, height], where)
        return
    got = answer.value
    ctx.fact("image loader", got.fetched)
    if got.do_resize != [False]:
        message = f"the image processor is called with do_resize={got.do_resize} for an image of {size}"
        yield Violation(message, size, [False], got.do_resize, [width, height], where)
    unresized = [1, height // got.patch, width // got.patch]
    if got.grid != unresized or width % got.patch or height % got.patch:
        seen = f"{got.grid[2] * got.patch}x{got.grid[1] * got.patch}"
        message = f"an image of {size} passes every check and reaches the model as {seen}"
        yield Violation(message, size, unresized, got.grid, [width, height], where)


def _max_pixels(ctx: Context) -> Iterator[Violation]:
    for width, height, limit in ((640, 480, 640 * 480), (640, 480, 640 * 480 - 1), (480, 640, 480 * 640 - 1)):
        ctx.judged()
        record = {**cases.sound(index=0), "width": width, "height": height}
        refused = ctx.ask(contract.RENDER, contract.RenderRequest(record, max_pixels=limit)).refused
        if refused != (width * height > limit):
            message = f"{width}x{height} is {'refused' if refused else 'accepted'} under max_pixels={limit}"
            yield Violation(message, "max_pixels", not refused, refused, [width, height, limit])


def _gate_refuses(ctx: Context, width: int, height: int) -> bool:
    """Whether the launcher's own check turns away a file with one such image."""
    objects = [{"desc": "a", "bbox_2d": cases.tokens([1, 2, 3, 4])}]
    answer = ctx.ask(contract.GATE, contract.GateRequest.of(objects, width, height))
    return answer.refused or not answer.value.accepted


def _row(image: int, width: int, height: int) -> dict[str, Any]:
    objects = [{"desc": "a", "bbox_2d": cases.tokens([1, 2, 3, 4])}]
    return {"images": [f"images/{image}.png"], "objects": objects, "width": width, "height": height}


@invariant(
    "geometry.size_matches_file",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="A record's width and height equal the image file's: what is launched has been checked for every record.",
    remedy="Open every image of every split before launch (headers suffice), or compare sizes when a sample loads.",
    spec="openspec/specs/public-data-pipeline/spec.md; both launchers' precheck",
)
def size_matches_file(ctx: Context) -> Iterator[Violation]:
    small, wide = [32, 64], [64, 32]
    for launcher in contract.LAUNCHERS:
        for split in ("train", "val"):
            for count, at in ((3, None), (3, 0), (3, 2), (LARGE, LARGE - 1)):
                ctx.judged()
                rows = [_row(int(i == at), *small) for i in range(count)]
                answer = ctx.ask(contract.GATE, contract.GateRequest(launcher, split, [small, wide], rows))
                if answer.refused or not answer.value.accepted:
                    if at is None:
                        message = f"{launcher} refuses a sound {split} file"
                        yield Violation(message, f"{launcher} {split}", "accepted", "refused")
                elif at is not None:
                    where = Where(launcher, max(answer.value.lines, default=1), "")
                    yield _size_violation(launcher, split, count, at, where)


def _size_violation(launcher: str, split: str, count: int, at: int, where: Where) -> Violation:
    what = f"a {split} file of {count} records whose record {at + 1} states another size than its image"
    counterexample = {"stated": [32, 64], "file": [64, 32], "record": at + 1}
    return Violation(
        f"{launcher} launches on {what}", f"{launcher} {split}", "refused", "accepted", counterexample, where
    )


@invariant(
    "geometry.augment_identity",
    boundary=BOUNDARY,
    severity="P1",
    kind="B",
    claim="Coordinate tokens survive a no-op augmentation token for token.",
    remedy="Turn bins into pixels before a pipeline that clips to the image, and back after it.",
    spec="openspec/specs/coord-token-mode/spec.md (coord-token augmentation compatibility)",
)
def augment_identity(ctx: Context) -> Iterator[Violation]:
    geometries: list[tuple[str, list[int]]] = [
        ("bbox_2d", [1, 2, 30, 31]),
        ("bbox_2d", [0, 0, 999, 999]),
        ("bbox_2d", [10, 20, 500, 600]),
        ("poly", [10, 20, 30, 20, 30, 40, 10, 40]),
        ("poly", [10, 20, 30, 40, 5, 60]),
        ("poly", [100, 90, 900, 80, 950, 700]),
    ]
    geometries += [("bbox_2d", cases.box(ctx.rng(i))) for i in range(12)]
    changed: dict[str, list[tuple[list[int], Any]]] = {}
    for key, bins in geometries:
        ctx.judged()
        item = {"desc": "object 0", key: cases.tokens(bins)}
        record = {**cases.sound(index=0), "objects": [item], "width": 64, "height": 32}
        answer = ctx.ask(contract.AUGMENT, contract.AugmentRequest(record))
        if answer.refusal is not None:
            changed.setdefault(f"refuses a sound {key}", []).append((bins, answer.refusal.message))
        elif [out.get(key) for out in answer.value.objects] != [item[key]]:
            got = answer.value.objects[0] if answer.value.objects else {}
            changed.setdefault(f"changes the tokens of a {key}", []).append((bins, got.get(key, got)))
    for what, found in changed.items():
        bins, got = min(found, key=lambda pair: (len(pair[0]), pair[0]))
        message = f"a no-op augmentation {what} in an image of 64x32, in {len(found)} of {len(geometries)} cases"
        yield Violation(message, what, cases.tokens(bins), got, bins)


@invariant(
    "geometry.sampling_deterministic",
    boundary=BOUNDARY,
    severity="P1",
    kind="B",
    claim="The order and content of samples are a pure function of seed, epoch and index: the same with 0 and with 2 "
    "loader workers.",
    remedy="Derive every random choice from seed, epoch and index alone; keep no state between samples.",
    spec="openspec/specs/training-pipeline-audit/spec.md; style of the dataset's per-sample generator",
)
def sampling_deterministic(ctx: Context) -> Iterator[Violation]:
    records = [cases.record(ctx.rng(i), 5, ordered=True) for i in range(12)]
    forward = list(range(len(records)))
    for seed in (0, 17):
        for ordering in ("sorted", "random"):
            asked = contract.OrderRequest(records, seed, [0, 1], forward, 0, ordering)
            first = _samples(ctx, asked)
            yield from _covered(first, forward, f"seed {seed}, {ordering}")
            others: tuple[tuple[str, dict[str, Any]], ...] = (
                ("asked again", {}),
                ("with 2 loader workers", {"workers": 2}),
                ("asked backwards", {"indices": forward[::-1]}),
                ("with the epochs in another order", {"epochs": [1, 0, 1]}),
            )
            for name, change in others:
                ctx.judged(len(records))
                again = _samples(ctx, contract.OrderRequest(**{**_fields(asked), **change}))
                wrong = sorted(key for key in first if again.get(key) != first[key])
                if wrong:
                    epoch, index = wrong[0]
                    message = (
                        f"{name}, {len(wrong)} samples differ, the first at epoch {epoch}, index {index} ({ordering})"
                    )
                    subject = f"seed {seed}, {ordering}"
                    yield Violation(message, subject, _shown(first[wrong[0]]), _shown(again.get(wrong[0])), change)


def _samples(ctx: Context, request: contract.OrderRequest) -> dict[tuple[int, int], contract.Sample]:
    """What stood at (epoch, index); a second pass over an epoch must agree with the first, or its sample is marked."""
    answer = ctx.value(contract.ORDER, copy.deepcopy(request))
    found: dict[tuple[int, int], contract.Sample] = {}
    for epoch, samples in zip(request.epochs, answer.epochs, strict=True):
        for index, sample in zip(request.indices, samples, strict=True):
            known = found.setdefault((epoch, index), sample)
            if known != sample:
                found[epoch, index] = contract.Sample(sample.record, f"{known.digest} then {sample.digest}")
    return found


def _covered(found: dict[tuple[int, int], contract.Sample], forward: list[int], subject: str) -> Iterator[Violation]:
    """An epoch holds every record once."""
    for epoch in sorted({e for e, _ in found}):
        seen = sorted(found[epoch, i].record for i in forward)
        if seen != forward:
            yield Violation(f"epoch {epoch} does not hold every record once", subject, forward, seen)


def _fields(request: contract.OrderRequest) -> dict[str, Any]:
    return {name: getattr(request, name) for name in request.__struct_fields__}


def _shown(sample: contract.Sample | None) -> dict[str, Any] | None:
    return {"record": sample.record, "digest": sample.digest} if sample else None
