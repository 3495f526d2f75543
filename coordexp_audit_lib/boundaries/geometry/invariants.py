"""The claims about records and bins. `text_claims` and `image_claims` declare the rest."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.geometry import bins as b
from coordexp_audit_lib.boundaries.geometry import cases, contract, rendered
from coordexp_audit_lib.boundaries.geometry.judging import BOUNDARY, Ways, violations
from coordexp_audit_lib.core.claim import Context, invariant, provokes
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.surface import Answer, Surface

ALL_BINS = list(range(b.BIN_COUNT))
SIZES = ((1000, 1000), (640, 480), (1248, 832), (333, 777))


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
        ctx.judged()
        answer = ctx.ask(contract.VALIDATE, contract.RecordRequest(case.record))
        if answer.refusal is None:
            message = f"a record is accepted in which {case.name}"
            yield Violation(message, ".".join(case.names), "refused", "accepted", _excerpt(case))
        elif not all(name in answer.refusal.message for name in case.names):
            message = f"the error for a record in which {case.name} does not name the path"
            yield Violation(message, ".".join(case.names), list(case.names), answer.refusal.message, _excerpt(case))
    for name, record in _sound_records(ctx):
        ctx.judged()
        answer = ctx.ask(contract.VALIDATE, contract.RecordRequest(record))
        if answer.refusal is not None:
            yield Violation(f"a sound record is refused: {name}", name, "accepted", answer.refusal.message, record)


@provokes(contract.VALIDATE)
def malformed_records(ctx: Context) -> Iterator[tuple[str, Answer[Any]]]:
    for case in cases.malformed():
        yield case.name, ctx.ask(contract.VALIDATE, contract.RecordRequest(case.record))


def _excerpt(case: cases.Malformed) -> Any:
    """What a malformed record holds at its path: the record itself has many sound objects."""
    if case.names[0].startswith("objects["):
        return {f"objects[{cases.DEEP}]": case.record["objects"][cases.DEEP]}
    key = case.names[0].split("[")[0]
    return {key: case.record.get(key, "(missing)")}


def _sound_records(ctx: Context) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "tokens", cases.sound()
    yield "ints", {**cases.sound(), "objects": [{"desc": "a", "bbox_2d": [1, 2, 3, 4]}]}
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
        ctx.judged(b.BIN_COUNT)
        yield from _roundtrip(surface.name, answer.tokens, answer.ints)
        yield from violations(b.decode_problems(answer.normalized, ALL_BINS, tolerance, ""), surface.name)
    tokens = ctx.value(contract.COORD_TOKENS, request)
    ctx.judged(b.BIN_COUNT)
    yield from _roundtrip(contract.COORD_TOKENS.name, tokens.tokens, tokens.ints)
    peak = ctx.value(contract.EXPECTATION, request)
    ctx.judged(b.BIN_COUNT)
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
        ctx.judged(b.BIN_COUNT)
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
    ctx.judged(len(pixels))
    sizes = [width, height] * (len(pixels) // 2)
    subject = f"the pixel-to-bin converter on {key} in an image of {width}x{height}"
    yield from violations(b.encode_problems(pixels, bins, sizes, ""), subject)


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
    ways = Ways(ctx)
    for name, key, values in cases.OUT_OF_BINS:
        record = cases.sound(index=0)
        record["objects"][0] = {"desc": "object 0", key: values}
        for path, surface, request in (
            ("without augmentation", contract.RENDER, contract.RenderRequest(copy.deepcopy(record))),
            ("into augmentation", contract.AUGMENT, contract.AugmentRequest(copy.deepcopy(record))),
        ):
            answer = ways.ask(path, surface, request)
            if answer is not None and not answer.refused:
                message = f"a {key} with {name} is accepted {path}"
                where = ctx.where(surface)
                yield ways.found(Violation(message, f"objects[0].{key}", "refused", "accepted", {key: values}, where))
    ctx.fact("other spellings that are taken for a bin", _spellings(ctx))
    ways.close()


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
    ways = Ways(ctx)
    passed: dict[str, list[tuple[list[int], list[int] | None, Where | None]]] = {}
    for name, box in (("in order", [100, 200, 300, 400]), *cases.CROSSED_BOXES):
        for path, surface, request in _paths(box):
            answer = ways.ask(path, surface, request)
            if answer is None:
                continue
            value = None if answer.refused else answer.value
            if isinstance(value, contract.GateResponse) and not value.accepted:
                value = None
            where = ctx.where(surface)
            if name == "in order" and value is None:
                yield ways.found(Violation(f"{path} refuses a box in order", path, "accepted", "refused", box, where))
            elif name != "in order" and value is not None:
                passed.setdefault(path, []).append((box, _box_in(value), where))
    for path, found in passed.items():
        box, got, where = found[0]
        what = "accepts them as they are" if got in (None, box) else f"repairs them, {box} becomes {got}"
        message = f"{path} refuses {len(cases.CROSSED_BOXES) - len(found)} of {len(cases.CROSSED_BOXES)} crossed boxes"
        yield ways.found(Violation(f"{message}: it {what}", path, "refused", got, [box for box, _, _ in found], where))
    ways.close()


def _paths(box: list[int]) -> tuple[tuple[str, Surface[Any, Any], Any], ...]:
    """Every way by which this ground-truth box can enter training."""
    item = {"desc": "object 0", "bbox_2d": cases.tokens(box)}
    record = {**cases.sound(index=0), "objects": [item]}
    pixels = [{"desc": "object 0", "bbox_2d": box}]
    return (
        ("the launcher's check", contract.GATE, contract.GateRequest.of([item])),
        ("the dataset", contract.RENDER, contract.RenderRequest(record)),
        ("Stage-2 AB ground truth", contract.GT_BOXES, contract.GtRequest([item])),
        ("rollout-matching ground truth", contract.GT_OBJECTS, contract.GtRequest([item])),
        ("the pixel-to-bin converter", contract.ENCODE, contract.EncodeRequest(pixels, 1000, 1000)),
    )


def _box_in(value: Any) -> list[int] | None:
    """The box that an answer of one of the paths holds."""
    if isinstance(value, contract.RenderResponse):
        return list(rendered.read(value.text)[0].bins)
    if isinstance(value, contract.GtResponse):
        return value.points[0] if value.points else None
    if isinstance(value, contract.GateResponse):
        return None
    return value.objects[0].get("bbox_2d") if value.objects else None


from coordexp_audit_lib.boundaries.geometry import text_claims, image_claims  # noqa: E402, F401, I001  declare the rest, in order
