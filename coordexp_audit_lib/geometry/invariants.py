"""The claims about records, bins and the text that they become. Those about images and sampling: `image_claims`."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from typing import Any

from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.invariant import Context, invariant
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.geometry import bins as b
from coordexp_audit_lib.geometry import cases, contract, rendered

BOUNDARY = "geometry"
ALL_BINS = list(range(b.BIN_COUNT))
SIZES = ((1000, 1000), (640, 480), (1248, 832), (333, 777))
FIELD_ORDERS = ("desc_first", "geometry_first")


def violations(
    found: Iterable[b.Problem], subject: str, counterexample: Any = None, where: Where | None = None
) -> Iterator[Violation]:
    """A predicate's problems as violations of what was asked; `where`: if it was not the surface asked last."""
    for p in found:
        what = f"{subject}: {p.message}"
        yield Violation(what, f"{subject} {p.path}".strip(), p.expected, p.actual, counterexample, where)


@invariant(
    "geometry.record_contract",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="A record that breaks the contract (images, objects, width, height, one geometry of the right arity, no "
    "legacy keys) is refused with an error that names the path.",
    remedy="Check the record where it is loaded, and put the path, such as objects[17].bbox_2d, into the error.",
    spec="openspec/specs/coord-utils/spec.md; docs/data/JSONL_CONTRACT.md",
)
def record_contract(ctx: Context) -> Iterator[Violation]:
    for case in cases.malformed():
        ctx.judge()
        answer = ctx.ask(contract.VALIDATE, contract.RecordRequest(case.record))
        if answer.refusal is None:
            message = f"a record is accepted in which {case.name}"
            yield Violation(message, ".".join(case.names), "refused", "accepted", _excerpt(case))
        elif not all(name in answer.refusal.message for name in case.names):
            message = f"the error for a record in which {case.name} does not name the path"
            yield Violation(message, ".".join(case.names), list(case.names), answer.refusal.message, _excerpt(case))
    for name, record in _sound_records(ctx):
        ctx.judge()
        answer = ctx.ask(contract.VALIDATE, contract.RecordRequest(record))
        if answer.refusal is not None:
            yield Violation(f"a sound record is refused: {name}", name, "accepted", answer.refusal.message, record)


def _excerpt(case: cases.Malformed) -> Any:
    """What a malformed record holds at its path: the record itself has many sound objects."""
    if case.names[0].startswith("objects["):
        return {f"objects[{cases.DEEP}]": case.record["objects"][cases.DEEP]}
    key = case.names[0].split("[")[0]
    return {key: case.record.get(key, "(missing)")}


def _sound_records(ctx: Context) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "tokens", cases.sound()
    yield "ints", cases.sound([1.0, 2.0, 3.0, 4.0]) | {"objects": [{"desc": "a", "bbox_2d": [1, 2, 3, 4]}]}
    yield "the least polygon", cases.sound([1, 2, 30, 4, 5, 60], "poly")
    yield "no object", {**cases.sound(), "objects": []}
    yield "other keys beside", {**cases.sound(), "image_id": 7, "metadata": {"source": "x"}}
    yield "many objects", cases.record(ctx.rng("sound"), 60)


@invariant(
    "geometry.bins_k999",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Encode is clamp(round(999*c), 0, 999) and decode is k/999 for all 1000 bins, in every function that does "
    "either; nothing divides by or multiplies with 1000.",
    remedy="Use the one codec for every conversion; round to the nearest bin and divide by 999.",
    spec="openspec/specs/coord-token-mode/spec.md (codec utilities, conversion rule)",
)
def bins_k999(ctx: Context) -> Iterator[Violation]:
    yield from _decodes(ctx)
    for width, height in SIZES:
        yield from _pixels(ctx, width, height)
    yield from _encodes(ctx)


def _decodes(ctx: Context) -> Iterator[Violation]:
    request = contract.BinsRequest(ALL_BINS)
    for surface, tolerance in ((contract.CODEC, b.EXACT), (contract.ANNOTATE, b.EXACT)):
        answer = ctx.value(surface, request)
        ctx.judge(b.BIN_COUNT)
        yield from _roundtrip(surface.name, answer.tokens, answer.ints)
        yield from violations(b.decode_problems(answer.normalized, ALL_BINS, tolerance, ""), surface.name)
    tokens = ctx.value(contract.COORD_TOKENS, request)
    ctx.judge(b.BIN_COUNT)
    yield from _roundtrip(contract.COORD_TOKENS.name, tokens.tokens, tokens.ints)
    peak = ctx.value(contract.EXPECTATION, request)
    ctx.judge(b.BIN_COUNT)
    found = b.decode_problems(peak.normalized, ALL_BINS, b.SINGLE, "")
    yield from violations(found, contract.EXPECTATION.name)


def _roundtrip(name: str, tokens: list[str], ints: list[int]) -> Iterator[Violation]:
    if tokens != list(b.TOKENS) or ints != ALL_BINS:
        got = list(zip(tokens, ints, strict=False))
        wrong = [k for k in ALL_BINS if k >= len(got) or got[k] != (b.TOKENS[k], k)]
        first = wrong[0]
        message = f"{name}: {len(wrong)} bins do not come back from their token, the first is bin {first}"
        yield Violation(message, name, [b.TOKENS[first], first], list(got[first]) if first < len(got) else None, first)


def _pixels(ctx: Context, width: int, height: int) -> Iterator[Violation]:
    request = contract.PixelsRequest(ALL_BINS, width, height)
    at = ctx.value(contract.PIXELS, request)
    corner = ctx.value(contract.CORNERS, request)
    axes = (("x", width, at.x, at.x_rounded, corner.x), ("y", height, at.y, at.y_rounded, corner.y))
    for axis, size, exact, rounded, corners in axes:
        ctx.judge(b.BIN_COUNT)
        where = f"{axis} of {width}x{height}"
        found = b.pixel_problems(exact, ALL_BINS, size, where) + b.rounded_problems(rounded, exact, size, where)
        yield from violations(found, contract.PIXELS.name, where=ctx.where(contract.PIXELS))
        given = [(k, v) for k, v in zip(ALL_BINS, corners, strict=True) if v is not None]
        ideal = [b.decode(k) * b.extent(size) for k, _ in given]
        found = b.rounded_problems([v for _, v in given], ideal, size, where)
        yield from violations(found, contract.CORNERS.name)


def _encodes(ctx: Context) -> Iterator[Violation]:
    """All bins at a size where pixel k is c = k/999, then real boxes and random geometry at other sizes."""
    whole = [{"desc": "all bins", "poly": [v for k in ALL_BINS for v in (k, k)]}]
    yield from _encode(ctx, "poly", whole, 1000, 1000)
    boxes = [{"desc": str(k), "bbox_2d": [k, k, k + 1, k + 1]} for k in range(0, b.LAST_BIN, 2)]
    yield from _encode(ctx, "bbox_2d", boxes, 1000, 1000)
    for row in cases.real_boxes():
        yield from _encode(ctx, "bbox_2d", row["gt"], row["width"], row["height"])
    for width, height in SIZES[1:]:
        rng = ctx.rng("encode", width, height)
        points = [round(rng.uniform(0, s - 1), 2) for _ in range(64) for s in (width, height)]
        yield from _encode(ctx, "poly", [{"desc": "points", "poly": points}], width, height)


def _encode(ctx: Context, key: str, objects: list[dict[str, Any]], width: int, height: int) -> Iterator[Violation]:
    made = ctx.value(contract.ENCODE, contract.EncodeRequest(copy.deepcopy(objects), width, height)).objects
    pixels = [v for item in objects for v in item[key]]
    bins = [v for item in made for v in item.get(key, [])]
    ctx.judge(len(pixels))
    sizes = [width, height] * (len(pixels) // 2)
    where = f"{key} in {width}x{height}"
    yield from violations(b.encode_problems(pixels, bins, sizes, where), f"{contract.ENCODE.name} of {key}")


@invariant(
    "geometry.bins_in_range",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="A coordinate outside 0..999, a non-integer, or an odd count is an error before augmentation.",
    remedy="Refuse such a record when it is loaded, whether its coordinates are tokens or numbers.",
    spec="openspec/specs/coord-token-mode/spec.md (clear failure on invalid coord tokens); coord-utils (range rules)",
)
def bins_in_range(ctx: Context) -> Iterator[Violation]:
    for name, key, values in cases.OUT_OF_BINS:
        record = cases.sound(index=0)
        record["objects"][0] = {"desc": "object 0", key: values}
        through: tuple[tuple[str, Surface[Any, Any], Any], ...] = (
            ("without augmentation", contract.RENDER, contract.RenderRequest(copy.deepcopy(record))),
            ("into augmentation", contract.AUGMENT, contract.AugmentRequest(copy.deepcopy(record))),
        )
        for path, surface, request in through:
            ctx.judge()
            answer = ctx.ask(surface, request)
            if not answer.refused:
                message = f"a {key} with {name} is accepted {path}"
                yield Violation(message, f"objects[0].{key}", "refused", "accepted", {key: values}, ctx.where(surface))
    ctx.fact("other spellings that are taken for a bin", _spellings(ctx))


def _spellings(ctx: Context) -> list[str]:
    """Which spellings of a bin the dataset takes besides token and int. Not judged: the claim is silent on them."""
    taken = []
    for value in cases.SPELLINGS:
        record = cases.sound(index=0)
        record["objects"][0] = {"desc": "object 0", "bbox_2d": [value, *cases.tokens([20, 30, 40])]}
        if not ctx.ask(contract.RENDER, contract.RenderRequest(record)).refused:
            taken.append(json.dumps(value))
    return taken


@invariant(
    "geometry.box_ordered",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="A ground-truth box with x2<x1 or y2<y1 is refused, never repaired, on every path into training.",
    remedy="Refuse the record with the object's path; do not sort, clamp or nudge the corners.",
    spec="openspec/specs/coord-utils/spec.md (canonical keys: expected ordering x1, y1, x2, y2)",
)
def box_ordered(ctx: Context) -> Iterator[Violation]:
    for name, box in (("in order", [100, 200, 300, 400]), *cases.CROSSED_BOXES):
        item = {"desc": "object 0", "bbox_2d": cases.tokens(box)}
        record = {**cases.sound(index=0), "objects": [item]}
        pixels = [{"desc": "object 0", "bbox_2d": box}]
        paths: tuple[tuple[str, Surface[Any, Any], Any], ...] = (
            ("the launcher's check", contract.GATE, launch_request([item])),
            ("the dataset", contract.RENDER, contract.RenderRequest(record)),
            ("Stage-2 AB ground truth", contract.GT_BOXES, contract.GtRequest([item])),
            ("rollout-matching ground truth", contract.GT_OBJECTS, contract.GtRequest([item])),
            ("the pixel-to-bin converter", contract.ENCODE, contract.EncodeRequest(pixels, 1000, 1000)),
        )
        for path, surface, request in paths:
            ctx.judge()
            answer = ctx.ask(surface, request)
            value = None if answer.refused else answer.value
            if isinstance(value, contract.GateResponse) and not value.accepted:
                value = None
            yield from _judged(path, name, box, value, ctx.where(surface))


def launch_request(objects: list[dict[str, Any]]) -> contract.GateRequest:
    """A file of one record that is sound but for its objects, before Stage-1 is launched."""
    record = {"images": ["images/0.png"], "objects": objects, "width": 64, "height": 32}
    return contract.GateRequest("scripts/train.sh", "train", [[64, 32]], [record])


def _judged(path: str, name: str, box: list[int], value: Any, where: Where | None) -> Iterator[Violation]:
    """`value`: what the path made of the box, None if it refused."""
    if name == "in order":
        if value is None:
            yield Violation(f"{path} refuses a box whose corners are in order", path, "accepted", "refused", box, where)
        return
    if value is None:
        return
    got = _box_in(value) or box
    what = "accepts it as it is" if got == box else f"turns it into {got}"
    message = f"{path} does not refuse a box with {name}: it {what}"
    yield Violation(message, path, "refused", got, box, where)


def _box_in(value: Any) -> list[int] | None:
    """The box that an answer of one of the paths holds."""
    if isinstance(value, contract.RenderResponse):
        return list(rendered.read(value.text)[0].bins)
    if isinstance(value, contract.GtResponse):
        return value.points[0] if value.points else None
    if isinstance(value, contract.GateResponse):
        return None
    return value.objects[0].get("bbox_2d") if value.objects else None


def _rendered(ctx: Context, ordering: str) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Records of 0 to 60 objects and the real ones, with their text in both field orders."""
    records = [cases.record(ctx.rng(n), n, ordered=ordering == "sorted") for n in (0, 1, 2, 3, 5, 8, 20, 60)]
    twice = cases.record(ctx.rng("twice"), 3)
    twice["objects"].insert(1, dict(twice["objects"][0]))
    for record in (*records, twice, *map(cases.real_record, cases.real_boxes())):
        for order in FIELD_ORDERS:
            request = contract.RenderRequest(record, order, ordering, max_pixels=record["width"] * record["height"])
            yield record, order, ctx.value(contract.RENDER, request).text


@invariant(
    "geometry.never_dropped",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Every object and coordinate of a record reaches the rendered assistant text, exactly once.",
    remedy="Render every object; what cannot be rendered must be an error, not a gap.",
    spec="openspec/specs/coord-utils/spec.md (non-destructive, order-preserving); docs/data/JSONL_CONTRACT.md",
)
def never_dropped(ctx: Context) -> Iterator[Violation]:
    for ordering in ("sorted", "random"):
        for record, order, text in _rendered(ctx, ordering):
            ctx.judge(1 + len(record["objects"]))
            subject = f"{len(record['objects'])} objects, {order}, {ordering}"
            yield from violations(rendered.dropped(record, text), subject, record["objects"][:3])


@invariant(
    "geometry.never_reordered",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Coordinates keep their order inside an object; objects keep the order that object_ordering sets, and an "
    "unsorted record is refused under sorted; object_field_order changes key order only.",
    remedy="Copy coordinate lists as they are; assert the top-left order instead of sorting.",
    spec="openspec/specs/object-field-ordering/spec.md; docs/data/JSONL_CONTRACT.md (ordering invariant)",
)
def never_reordered(ctx: Context) -> Iterator[Violation]:
    for ordering in ("sorted", "random"):
        sequences: dict[str, list[str]] = {}
        for record, order, text in _rendered(ctx, ordering):
            ctx.judge(1 + len(record["objects"]))
            subject = f"{len(record['objects'])} objects, {order}, {ordering}"
            yield from violations(rendered.reordered(record, text, order, ordering), subject, record["objects"][:3])
            descs = [s.desc for s in rendered.read(text)]
            if order == FIELD_ORDERS[0]:
                sequences = {"first": descs}
            elif descs != sequences["first"]:
                yield Violation("object_field_order changes the order of objects", subject, sequences["first"], descs)
    yield from _unsorted(ctx)


def _unsorted(ctx: Context) -> Iterator[Violation]:
    """Neighbours that are out of top-left order in y, in x only, or by a polygon's tight box."""
    pairs = (
        ("y", {"bbox_2d": [0, 11, 5, 20]}, {"bbox_2d": [0, 10, 5, 20]}),
        ("x at equal y", {"bbox_2d": [11, 10, 50, 20]}, {"bbox_2d": [10, 10, 50, 20]}),
        ("y of a polygon", {"poly": [5, 90, 9, 99, 1, 95]}, {"poly": [5, 99, 9, 95, 1, 89]}),
        ("x of a polygon at equal y", {"poly": [9, 10, 30, 40, 8, 60]}, {"poly": [9, 10, 30, 40, 7, 60]}),
        ("numbers, not text", {"bbox_2d": [0, 100, 5, 200]}, {"bbox_2d": [0, 99, 5, 200]}),
    )
    for name, first, second in pairs:
        items = [
            {"desc": f"object {i}", **{k: cases.tokens(v) for k, v in g.items()}} for i, g in enumerate((first, second))
        ]
        for objects, sorted_ in ((items, False), (items[::-1], True), ([items[0], items[0]], True)):
            ctx.judge()
            record = {**cases.sound(index=0), "objects": copy.deepcopy(objects)}
            refused = ctx.ask(contract.RENDER, contract.RenderRequest(record)).refused
            if refused == sorted_:
                state = (
                    "is refused though its objects are in" if sorted_ else "is accepted though its objects are out of"
                )
                message = f"a record {state} top-left order ({name})"
                verdicts = ("accepted", "refused") if sorted_ else ("refused", "accepted")
                yield Violation(message, name, *verdicts, counterexample=[first, second])


from coordexp_audit_lib.geometry import image_claims  # noqa: E402, F401  declares the rest, after the claims above
