"""Inputs that the checks ask about: sound records, malformed ones, real boxes. All plain JSON, all deterministic."""

from __future__ import annotations

import copy
import itertools
import json
import random
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.geometry import surfaces
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.surface import Answer, Surface
from coordexp_audit_lib.kit.boxes import BIN_COUNT, BIN_OF_TOKEN, LAST_BIN, encode_pixel, token, tokens, top_left
from coordexp_audit_lib.kit.coordjson import ORDERS

SIZE = (640, 480)
SAMPLE = {"desc": "a", "bbox_2d": tokens([1, 2, 3, 4])}
"""An object of which nothing is asked but that it is sound."""
DEEP = 17
"""Index of the object that a malformed record breaks: far enough down that a path must count."""

# Words that a renderer could trip over; none breaks the desc rules of the audited tree (no blank beside , / :).
WORDS = (
    *("person", "traffic light", 'a "quoted" sign', "back\\slash", "curly {brace}", "square [bracket]", "日本語の看板"),
    *("emoji 🚲", "x<|coord_12|>y", "comma,inside", "50%", "tie-dye t-shirt.", "naïve café", "'single'"),
)


class Malformed(msgspec.Struct, frozen=True):
    """A record that must be refused; `names`: what the error must name, each of them.

    late: the check of a record may leave it to the dataset, which must refuse it before it is rendered.
    """

    name: str
    record: Any
    names: tuple[str, ...]
    late: bool = False


def box(rng: random.Random) -> list[int]:
    """Bins of a box with x1 <= x2 and y1 <= y2; the image's edges come up often."""
    x = sorted(_edge(rng) for _ in range(2))
    y = sorted(_edge(rng) for _ in range(2))
    return [x[0], y[0], x[1], y[1]]


def _edge(rng: random.Random) -> int:
    return rng.choice((0, LAST_BIN, rng.randrange(BIN_COUNT), rng.randrange(BIN_COUNT)))


def poly(rng: random.Random) -> list[int]:
    """Bins of a polygon: 3 to 12 points in no particular order, sometimes closed, sometimes with a point twice."""
    points = [(rng.randrange(BIN_COUNT), rng.randrange(BIN_COUNT)) for _ in range(rng.randint(3, 12))]
    points += [points[0]] if rng.random() < 0.3 else []
    return [v for p in points for v in p]


def record(rng: random.Random, count: int, *, polygons: bool = True, ordered: bool = True) -> dict[str, Any]:
    """A sound record of `count` objects in top-left order; descs are unique, so that objects can be followed."""
    items: list[dict[str, Any]] = []
    for i in range(count):
        kind = "poly" if polygons and rng.random() < 0.4 else "bbox_2d"
        bins = poly(rng) if kind == "poly" else box(rng)
        items.append({"desc": f"{WORDS[rng.randrange(len(WORDS))]} {i}", kind: tokens(bins)})
    if ordered:
        items.sort(key=_anchor)
    return {"images": ["images/000000.png"], "objects": items, "width": SIZE[0], "height": SIZE[1]}


def _anchor(item: dict[str, Any]) -> tuple[float, float]:
    return top_left([BIN_OF_TOKEN[t] for t in item["bbox_2d" if "bbox_2d" in item else "poly"]])


def sound(bins: Sequence[Any] = (10, 20, 30, 40), key: str = "bbox_2d", index: int = DEEP) -> dict[str, Any]:
    """A sound record of index + 1 objects whose last one has the given coordinates (ints become tokens)."""
    items: list[dict[str, Any]] = [
        {"desc": f"object {i}", "bbox_2d": tokens([0, 0, 5 + i, 5 + i])} for i in range(index)
    ]
    items.append({"desc": f"object {index}", key: [token(b) if type(b) is int else b for b in bins]})
    return {"images": ["images/000000.png"], "objects": items, "width": SIZE[0], "height": SIZE[1]}


def malformed() -> list[Malformed]:
    """Records that break the contract in one place each, with the path that an error must name."""
    here = f"objects[{DEEP}]"
    whole = sound()
    made = [_with(f"{f} is {json.dumps(bad)}", {**whole, f: bad}, f) for f, bad in _BAD_FIELDS]
    for field in ("images", "objects", "width", "height"):
        made.append(_with(f"{field} is missing", {k: v for k, v in whole.items() if k != field}, field))
    made.append(_with("an image is a number", {**whole, "images": ["a.png", 7]}, "images[1]"))
    made.append(_with("an image is null", {**whole, "images": [None]}, "images[0]"))
    for bad in ("a box", ["desc", "bbox_2d"], None):
        made.append(_with(f"an object is {json.dumps(bad)}", _with_object(bad), here))
    for name, fields, *names in _BAD_OBJECTS:
        made.append(_with(name, _with_object(fields), here, *names))
    chosen = ("width is missing", "an image is a number", "legacy bbox beside bbox_2d", "a box of 3")
    hidden = [m for m in made if m.name in chosen]
    late = [_with(f"{m.name}, beside messages", {**m.record, "messages": []}, *m.names) for m in hidden]
    for name, fields, *names in _BAD_BESIDE:
        late.append(_with(name, _with_object(fields), here, *names))
    return made + [msgspec.structs.replace(m, late=True) for m in late]


def _with(name: str, record: Any, *names: str) -> Malformed:
    return Malformed(name, copy.deepcopy(record), names)


def _with_object(item: Any) -> dict[str, Any]:
    record = sound()
    record["objects"][DEEP] = item
    return record


_BAD_FIELDS: tuple[tuple[str, Any], ...] = (
    ("images", "images/000000.png"),
    ("images", {"0": "a.png"}),
    ("images", None),
    ("objects", {"0": {}}),
    ("objects", "none"),
    ("objects", None),
    *((f, bad) for f in ("width", "height") for bad in (0, -640, 640.5, "640", True, None, [640])),
)
_BOX, _POLY = tokens([1, 2, 3, 4]), tokens([1, 2, 30, 4, 5, 60])
_BAD_OBJECTS: tuple[Any, ...] = (
    ("both geometries", {"desc": "a", "bbox_2d": _BOX, "poly": _POLY}),
    ("no geometry", {"desc": "a"}),
    ("a geometry of another kind", {"desc": "a", "line": _BOX}),
    ("legacy bbox", {"desc": "a", "bbox": _BOX}),
    ("legacy polygon", {"desc": "a", "polygon": _POLY}),
    ("legacy bbox beside bbox_2d", {"desc": "a", "bbox_2d": _BOX, "bbox": _BOX}),
    ("legacy polygon beside poly", {"desc": "a", "poly": _POLY, "polygon": _POLY}),
    ("a box of 3", {"desc": "a", "bbox_2d": _BOX[:3]}, "bbox_2d"),
    ("a box of 5", {"desc": "a", "bbox_2d": [*_BOX, _BOX[0]]}, "bbox_2d"),
    ("an empty box", {"desc": "a", "bbox_2d": []}, "bbox_2d"),
    ("a box that is a string", {"desc": "a", "bbox_2d": "1 2 3 4"}, "bbox_2d"),
    ("a box that is an object", {"desc": "a", "bbox_2d": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}, "bbox_2d"),
    ("a box that is null", {"desc": "a", "bbox_2d": None}, "bbox_2d"),
    ("a polygon of 4", {"desc": "a", "poly": _POLY[:4]}, "poly"),
    ("a polygon of 7", {"desc": "a", "poly": [*_POLY, _POLY[0]]}, "poly"),
    ("a polygon that is a string", {"desc": "a", "poly": "1 2 3 4 5 6"}, "poly"),
)
_BAD_BESIDE: tuple[Any, ...] = (
    ("a line beside bbox_2d", {"desc": "a", "bbox_2d": _BOX, "line": _BOX}),
    ("a desc of blanks", {"desc": "  ", "bbox_2d": _BOX}, "desc"),
)

OUT_OF_BINS: tuple[tuple[str, str, list[Any]], ...] = (
    ("token 1000", "bbox_2d", ["<|coord_1000|>", *tokens([2, 3, 4])]),
    ("token 9999", "bbox_2d", tokens([1, 2, 3, 9999])),
    ("token -1", "bbox_2d", ["<|coord_-1|>", *tokens([2, 3, 4])]),
    ("token 12.5", "bbox_2d", ["<|coord_12.5|>", *tokens([20, 30, 40])]),
    ("a token beside number 1000", "bbox_2d", [token(1), token(2), token(3), 1000]),
    ("a token beside number 12.5", "bbox_2d", [token(1), token(2), token(30), 12.5]),
    ("number 1000", "bbox_2d", [1, 2, 3, 1000]),
    ("number -1", "bbox_2d", [-1, 2, 3, 4]),
    ("number 12.3", "bbox_2d", [1.5, 2, 12.3, 40]),
    ("null", "bbox_2d", [1, 2, 3, None]),
    ("true", "bbox_2d", [True, 2, 3, 4]),
    ("a word", "bbox_2d", ["left", *tokens([2, 3, 4])]),
    ("pairs", "poly", [[1, 2], [3, 4], [5, 6], [7, 8], [9, 1], [2, 3]]),
    ("an odd count", "poly", tokens([1, 2, 30, 4, 5, 60, 7])),
    ("polygon token 1000", "poly", tokens([1, 2, 30, 4, 5, 1000])),
)
"""Coordinates that are no bins: name, geometry key, values."""

USUAL_SIZES = ((64, 64), (96, 160), (832, 256), (32, 256))
GRID_SIZES = (*USUAL_SIZES, (32, 32), (100, 80), (60, 256))
"""Image sizes; the usual ones are multiples of 32 of at least four merged patches, and must be taken."""

SPELLINGS: tuple[Any, ...] = ("<|coord_007|>", "<|coord_\uff17|>", "<|coord_7|>\n", "12", 12.0)
"""Ways to write bin 7 or 12 that are neither its token nor an int."""

CROSSED_BOXES: tuple[tuple[str, list[int]], ...] = (
    ("x2 < x1 by one", [501, 100, 500, 200]),
    ("y2 < y1 by one", [100, 301, 200, 300]),
    ("x2 < x1 by far", [900, 100, 50, 200]),
    ("y2 < y1 by far", [100, 999, 200, 0]),
    ("both", [700, 600, 20, 10]),
)


def real_boxes() -> list[dict[str, Any]]:
    """COCO val2017 images with ground-truth boxes in pixels: image_id, width, height, gt (desc, bbox_2d)."""
    text = resources.files("coordexp_audit_lib").joinpath("resources/coco_val_rollouts.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    seen: dict[int, dict[str, Any]] = {}
    for row in rows:
        seen.setdefault(row["image_id"], {k: row[k] for k in ("image_id", "width", "height", "gt")})
    return [seen[k] for k in sorted(seen)]


def real_record(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `real_boxes` as a cooked record: bins as tokens, objects in top-left order."""
    items = []
    for item in row["gt"]:
        sizes = (row["width"], row["height"]) * 2
        bins = [encode_pixel(v, s) for v, s in zip(item["bbox_2d"], sizes, strict=True)]
        items.append({"desc": item["desc"], "bbox_2d": tokens(bins)})
    items.sort(key=_anchor)
    name = f"images/{row['image_id']:012d}.png"
    return {"images": [name], "objects": items, "width": row["width"], "height": row["height"]}


# ---- questions that several claims ask ---------------------------------------------------------------------------


def render(ctx: Context, record: Any, **options: Any) -> surfaces.RenderRequest:
    """A record through the dataset under the pipeline's own pixel limit."""
    return surfaces.RenderRequest(record, **{"max_pixels": ctx.contract["geometry.max_pixels"], **options})


def gate(ctx: Context, objects: list[dict[str, Any]], width: int = 64, height: int = 32) -> surfaces.GateRequest:
    """A training file of one record with these objects, its image as it says, before the first launcher starts."""
    record = {"images": ["images/0.png"], "objects": objects, "width": width, "height": height}
    launcher, limit = ctx.contract["geometry.launchers"][0], ctx.contract["geometry.max_pixels"]
    return surfaces.GateRequest(launcher, "train", [[width, height]], [record], limit)


def grid(ctx: Context, width: int, height: int) -> surfaces.GridRequest:
    """An image of this size under the pipeline's own pixel limit."""
    return surfaces.GridRequest(width, height, ctx.contract["geometry.max_pixels"])


def passes(answer: Answer[Any]) -> bool:
    """Whether the input was let through; the launcher's check says no without refusing."""
    return not answer.refused and getattr(answer.value, "accepted", True)


def ask(ctx: Context, path: str, surface: Surface[Any, Any], request: Any) -> Answer[Any] | None:
    """Ask one of a claim's several paths; one that the target lacks leaves the others to be judged."""
    try:
        answer = ctx.ask(surface, request)
    except SurfaceUnbound as error:
        ctx.left_out(path, error.what)
        return None
    ctx.judged()
    return answer


def paths(ctx: Context, box: list[int]) -> tuple[tuple[str, Surface[Any, Any], Any], ...]:
    """Every way by which this ground-truth box can enter training."""
    item = {"desc": "object 0", "bbox_2d": tokens(box)}
    pixels = [{"desc": "object 0", "bbox_2d": box}]
    return (
        ("the launcher's check", surfaces.GATE, gate(ctx, [item])),
        ("the dataset", surfaces.RENDER, render(ctx, {**sound(index=0), "objects": [item]})),
        ("Stage-2 AB ground truth", surfaces.GT_BOXES, surfaces.GtRequest([item])),
        ("rollout-matching ground truth", surfaces.GT_OBJECTS, surfaces.GtRequest([item])),
        ("the pixel-to-bin converter", surfaces.ENCODE, surfaces.EncodeRequest(pixels, 1000, 1000)),
    )


def rendered(ctx: Context, ordering: str) -> Iterator[tuple[dict[str, Any], str, str, str | Violation]]:
    """Records of 0 to 200 objects and the real ones, each with field order, a name and its text, or its refusal.

    Each is counted: the record and its objects.

    Raises:
        TargetRefused: every record is refused; then something else is wrong than what the claims are about.
    """
    records = [record(ctx.rng(n), n, ordered=ordering == "sorted") for n in (0, 1, 2, 3, 5, 8, 20, 60, 200)]
    twice = record(ctx.rng("twice"), 3)
    twice["objects"].insert(1, dict(twice["objects"][0]))
    asked = [*records, twice, *map(real_record, real_boxes())]
    refused: list[tuple[dict[str, Any], str, str, Violation]] = []
    answers: list[Answer[surfaces.RenderResponse]] = []
    for one, order in itertools.product(asked, ORDERS):
        options = {"object_field_order": order, "object_ordering": ordering}
        request = render(ctx, one, max_pixels=one["width"] * one["height"], **options)
        answer = ctx.offered(f"objects with their fields {order}", surfaces.RENDER, request)
        if answer is None:
            continue
        answers.append(answer)
        name = f"{len(one['objects'])} objects, {order}, {ordering}"
        if answer.refusal is None:
            ctx.judged(1 + len(one["objects"]))
            yield one, order, name, answer.value.text
        else:
            message, shown = f"a sound record is refused ({name})", one["objects"][:3]
            refused.append((one, order, name, Violation(message, name, "rendered", answer.refusal.message, shown)))
    if len(refused) == len(answers) > 0:
        _ = answers[-1].value
    ctx.judged(sum(1 + len(one["objects"]) for one, *_ in refused))
    yield from refused
