"""What the notebook shows: boxes beside their bins, the quantization error, and what becomes of data that is wrong.

Exhibits ask the target and give numbers; `draw_…` functions draw those numbers and nothing else.
"""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.boundaries.geometry import cases
from coordexp_audit_lib.boundaries.geometry import surfaces as s
from coordexp_audit_lib.core.claim import Context, exhibit
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.kit import boxes as b
from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, PURPLE, SKY, VERMILION, WHITE
from coordexp_audit_lib.report.text import cut, visible

SIZES = (64, 96, 128, 192, 256, 384, 512, 640, 768, 896, 1024, 1248, 1536, 2048)
SAMPLED, STEP, AXIS = 200, 4, 1248
AUGMENTED = (640, 480)
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)


@exhibit("geometry.boxes")
def boxes(ctx: Context) -> dict[str, Any]:
    """A COCO image's ground truth: pixels, the bins that the target's converter gives, the nearest bins."""
    row = max(cases.real_boxes(), key=lambda r: (len({o["desc"] for o in r["gt"]}), r["image_id"]))
    width, height = row["width"], row["height"]
    made = ctx.value(s.ENCODE, s.EncodeRequest(row["gt"], width, height)).objects
    shown = []
    for item, out in zip(row["gt"], made, strict=True):
        sizes = (width, height) * 2
        nearest = [b.encode_pixel(v, s) for v, s in zip(item["bbox_2d"], sizes, strict=True)]
        shown.append({"desc": item["desc"], "pixels": item["bbox_2d"], "bins": out["bbox_2d"], "nearest": nearest})
    return {"image_id": row["image_id"], "width": width, "height": height, "objects": shown}


@exhibit("geometry.quantization")
def quantization(ctx: Context) -> dict[str, Any]:
    """Pixels through encode and decode: signed error along one axis, and the largest error for each image size.

    Errors are in pixels. `near`: a coordinate of a polygon; `first`, `second`: the corners of a box.
    """
    pixels = list(range(0, AXIS, STEP))
    near = _encoded(ctx, [{"desc": "p", "poly": [float(v) for x in pixels for v in (x, 0)]}], AXIS)
    first = _encoded(ctx, [{"desc": "p", "bbox_2d": [x, 0, AXIS - 1, 1]} for x in pixels[:-1]], AXIS)
    second = _encoded(ctx, [{"desc": "p", "bbox_2d": [0, 0, x, 1]} for x in pixels[1:]], AXIS)
    largest = []
    for size in SIZES:
        xs = sorted(ctx.rng(size).sample(range(size), min(SAMPLED, size)))
        bins = _encoded(ctx, [{"desc": "p", "poly": [float(v) for x in xs for v in (x, 0)]}], size)
        errors = [abs(e) for e in _errors(ctx, xs, bins[0::2], size)]
        row = {"size": size, "largest": max(errors), "mean": round(sum(errors) / len(errors), 6)}
        largest.append({**row, "bound": round(bound(size), 6)})
    return {
        "axis": AXIS,
        "bound": round(bound(AXIS), 6),
        "near": {"pixels": pixels, "errors": _errors(ctx, pixels, near[0::2], AXIS)},
        "first": {"pixels": pixels[:-1], "errors": _errors(ctx, pixels[:-1], first[0::4], AXIS)},
        "second": {"pixels": pixels[1:], "errors": _errors(ctx, pixels[1:], second[2::4], AXIS)},
        "sizes": largest,
    }


def bound(size: int) -> float:
    """Half a bin's width in pixels: the largest error that rounding to the nearest of 1000 bins can make."""
    return b.extent(size) / (2 * b.LAST_BIN)


def _encoded(ctx: Context, objects: list[dict[str, Any]], width: int) -> list[int]:
    """The bins of all coordinates, object after object."""
    made = ctx.value(s.ENCODE, s.EncodeRequest(objects, width, width)).objects
    return [k for item in made for k in item.get("poly", item.get("bbox_2d", []))]


def _errors(ctx: Context, pixels: list[int], bins: list[int], size: int) -> list[float]:
    """Decoded minus original, in pixels."""
    back = ctx.value(s.PIXELS, s.PixelsRequest(bins, size, size)).x
    return [round(x - p, 6) for x, p in zip(back, pixels, strict=True)]


@exhibit("geometry.malformed")
def malformed(ctx: Context) -> dict[str, Any]:
    """Each malformed record: refused or not, and whether the error names the path."""
    rows = []
    for case in cases.malformed():
        answer = ctx.ask(s.VALIDATE, s.RecordRequest(case.record))
        text = answer.refusal.message if answer.refusal else ""
        named = "yes" if answer.refused and all(n in text for n in case.names) else "no" if answer.refused else "-"
        rows.append([case.name, ".".join(case.names), "refused" if answer.refused else "accepted", named])
    return {"rows": rows}


@exhibit("geometry.crossed")
def crossed(ctx: Context) -> dict[str, Any]:
    """What each path into training makes of a box whose corners are crossed."""
    rows = []
    for name, box in cases.CROSSED_BOXES:
        verdicts = [_verdict(ctx, surface, request) for _, surface, request in cases.paths(ctx, box)]
        rows.append([name, str(box), *verdicts])
    return {"rows": rows}


def _verdict(ctx: Context, surface: Surface[Any, Any], request: Any) -> str:
    try:
        answer = ctx.ask(surface, request)
    except SurfaceUnbound:
        return "not in this tree"
    if not cases.passes(answer):
        return "refused"
    if isinstance(answer.value, s.ObjectsResponse):
        return f"becomes {answer.value.objects[0].get('bbox_2d')}"
    return "accepted"


@exhibit("geometry.augmented")
def augmented(ctx: Context) -> dict[str, Any]:
    """Bins before and after a no-op augmentation, along both axes of an image of 640x480; null where refused."""
    width, height = AUGMENTED
    bins = [*range(0, b.BIN_COUNT, 9)]
    objects = [{"desc": str(k), "bbox_2d": b.tokens([0, 0, k, k])} for k in bins]
    record = {"images": ["images/0.png"], "objects": objects, "width": width, "height": height}
    empty = [None] * len(bins)
    found = {"width": width, "height": height, "bins": bins, "x": empty, "y": empty, "note": ""}
    try:
        answer = ctx.ask(s.AUGMENT, s.AugmentRequest(record))
    except SurfaceUnbound as error:
        return {**found, "note": error.what}
    if answer.refusal is not None:
        return {**found, "note": answer.refusal.message}
    out = [[b.BIN_OF_TOKEN.get(str(t)) for t in item.get("bbox_2d", [None] * 4)] for item in answer.value.objects]
    return {**found, "x": [box[2] for box in out], "y": [box[3] for box in out]}


@exhibit("geometry.grids")
def grids(ctx: Context) -> dict[str, Any]:
    """For each image size: what the launcher's check says, and as what size the image reaches the model."""
    rows = []
    for width, height in cases.GRID_SIZES:
        gate = cases.gate(ctx, [cases.SAMPLE], width, height)
        answer = ctx.ask(s.GRID, cases.grid(ctx, width, height))
        seen = "refused"
        if not answer.refused:
            got = answer.value
            seen = f"{got.grid[2] * got.patch}x{got.grid[1] * got.patch}"
        rows.append([f"{width}x{height}", _verdict(ctx, s.GATE, gate), seen])
    return {"rows": rows}


# ---- drawing -------------------------------------------------------------------------------------------------------


@figure(
    "geometry.boxes",
    lambda data: (
        f"{len(data['objects'])} boxes of COCO image {data['image_id']} in pixels, and as the bins that the "
        "pipeline's own converter gives. "
        "The same picture twice, but for the aspect: nothing moves, mirrors or leaves the grid."
    ),
    "Two frames with the same labelled boxes: left in pixels, right on the grid of a thousand bins.",
)
def draw_boxes(data: dict[str, Any]) -> Any:
    """The image's frame in its true aspect with the boxes in pixels; beside it the same boxes on the grid of bins."""
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    names = sorted({o["desc"] for o in data["objects"]})
    colours = {name: CYCLE[i % len(CYCLE)] for i, name in enumerate(names)}
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.5), layout="constrained")
    for ax, key in ((left, "pixels"), (right, "bins")):
        for i, item in enumerate(data["objects"]):
            _box(ax, item[key], colours[item["desc"]], names.index(item["desc"]) // len(CYCLE), str(i))
    _frame(left, data["width"], data["height"], "x (pixels)", "y (pixels)")
    left.set_title(f"image of {data['width']}×{data['height']} pixels", fontsize=9)
    _frame(right, b.LAST_BIN, b.LAST_BIN, "x (bin)", "y (bin)")
    right.set_title("grid of 1000×1000 bins", fontsize=9)
    dashes = [names.index(n) // len(CYCLE) for n in names]
    handles = [Line2D([], [], color=colours[n], ls=_DASHES[d], lw=1.6) for n, d in zip(names, dashes, strict=True)]
    labels = [cut(visible(n), 24) for n in names]
    style.legend(fig, handles, labels, loc="outside lower center", ncols=min(6, len(names)), fontsize=8)
    return fig


_DASHES = ("-", "--", ":")


def _box(ax: Any, box: list[int], colour: str, dash: int, label: str) -> None:
    from matplotlib.patches import Rectangle

    x1, y1, x2, y2 = box
    patch = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, lw=1.3, ls=_DASHES[dash % len(_DASHES)])
    ax.add_patch(patch)
    look = {"boxstyle": "square,pad=0.12", "fc": WHITE, "ec": "none", "alpha": 0.75}
    place = {"xytext": (1.5, -1.5), "textcoords": "offset points", "va": "top"}
    _ = ax.annotate(label, (x1, y1), color=colour, fontsize=6.5, bbox=look, parse_math=False, **place)


def _frame(ax: Any, width: int, height: int, x: str, y: str) -> None:
    ax.set(xlim=(-0.01 * width, 1.01 * width), ylim=(1.01 * height, -0.01 * height), aspect="equal")
    ax.set_xlabel(x, fontsize=9)
    ax.set_ylabel(y, fontsize=9)
    ax.tick_params(labelsize=8)
    ax.set_facecolor(PALE)


@figure(
    "geometry.quantization",
    "What a coordinate loses on its way through a token and back, in pixels. Left along one axis, right by image "
    "size; the dashed lines "
    "are the bound of rounding to the nearest bin. Marks outside of it are a systematic shift.",
    "Left, error against position for box corners and polygon vertices; right, largest and mean error against "
    "image size, with the bound.",
    main=True,
)
def draw_quantization(data: dict[str, Any]) -> Any:
    """Left: the signed error along one axis. Right: the largest error for each size, and the bound."""
    import matplotlib.pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.1), layout="constrained")
    series = (
        ("first", "box, first corner", VERMILION, "v"),
        ("second", "box, second corner", ORANGE, "^"),
        ("near", "polygon vertex", BLUE, "o"),
    )
    for key, label, colour, marker in series:
        part = data[key]
        _ = left.plot(part["pixels"], part["errors"], marker, ms=2.2, color=colour, label=label, mew=0, alpha=0.85)
    for sign in (-1, 1):
        _ = left.axhline(sign * data["bound"], color=INK, lw=0.9, ls="--")
    left.set_xlabel(f"pixel along an axis of {data['axis']}", fontsize=9)
    left.set_ylabel("decoded − original (pixels)", fontsize=9)
    top = 1.15 * max(abs(e) for key, *_ in series for e in data[key]["errors"])
    left.set_ylim(-top, 1.75 * top)
    left.legend(fontsize=7.5, ncols=2, frameon=False, loc="upper left", markerscale=2.5)
    sizes = [row["size"] for row in data["sizes"]]
    _ = right.plot(sizes, [r["bound"] for r in data["sizes"]], "--", color=INK, lw=1, label="bound (size−1)/(2·999)")
    _ = right.plot(sizes, [r["largest"] for r in data["sizes"]], "o", ms=4.5, color=BLUE, label="largest error")
    _ = right.plot(sizes, [r["mean"] for r in data["sizes"]], "s", ms=4, mfc=WHITE, color=GREEN, label="mean error")
    right.set_xlabel("image size along the axis (pixels)", fontsize=9)
    right.set_ylabel("error of a polygon vertex (pixels)", fontsize=9)
    right.legend(fontsize=7.5, frameon=False)
    _tidy(left, right)
    return fig


@figure(
    "geometry.augmented",
    "Bins before and after an augmentation that should do nothing. On the diagonal every token comes back as itself.",
    "Bins after against bins before along both axes, with the diagonal.",
)
def draw_augmented(data: dict[str, Any]) -> Any:
    """Bins after a no-op augmentation against the bins before it; a sound pipeline gives the diagonal."""
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(4.2, 3.3), layout="constrained")
    _ = ax.plot([0, b.LAST_BIN], [0, b.LAST_BIN], color=GREY, lw=1, label="token for token")
    for key, size, colour, marker in (("x", data["width"], BLUE, "o"), ("y", data["height"], VERMILION, "^")):
        points = [(k, v) for k, v in zip(data["bins"], data[key], strict=True) if v is not None]
        label = f"{key}, image {size} pixels along it"
        _ = ax.plot([k for k, _ in points], [v for _, v in points], marker, ms=3, color=colour, mew=0, label=label)
    if data["note"]:
        note = cut(visible(data["note"]), 60)
        _ = ax.text(0.5, 0.5, note, transform=ax.transAxes, ha="center", fontsize=7, parse_math=False)
    ax.set_xlabel("bin before", fontsize=9)
    ax.set_ylabel("bin after", fontsize=9)
    ax.legend(fontsize=7.5, frameon=False, loc="upper left")
    _tidy(ax)
    return fig


def _tidy(*axes: Any) -> None:
    style.spare(*axes)
    for ax in axes:
        ax.tick_params(labelsize=8)
        ax.grid(alpha=0.25, lw=0.5)
