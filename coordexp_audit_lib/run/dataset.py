"""What a dataset is like: sizes, objects, areas, places, names, lengths in tokens, and how full packs would be.

One pass over the file in bounded memory; lengths are taken of a sample of its records, by the real BPE.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.geometry import cases
from coordexp_audit_lib.boundaries.geometry.artifact import How, audit_file
from coordexp_audit_lib.boundaries.geometry.artifact.blocks import records_of
from coordexp_audit_lib.boundaries.geometry.artifact.files import opened
from coordexp_audit_lib.boundaries.geometry.artifact.images import Images
from coordexp_audit_lib.boundaries.geometry.artifact.lines import quick_line, read_line
from coordexp_audit_lib.boundaries.geometry.artifact.stream import look, stream_of
from coordexp_audit_lib.boundaries.geometry.predicates.frames import LIMITS, limits, sizes_of, smart_resize
from coordexp_audit_lib.boundaries.geometry.predicates.grounding import ASSISTANT, BOX, Talk, is_number
from coordexp_audit_lib.boundaries.geometry.predicates.records import Record, Space
from coordexp_audit_lib.boundaries.packing.reference.plans import first_fit
from coordexp_audit_lib.core.finding import SEVERITIES, Finding
from coordexp_audit_lib.kit import chat, coordjson
from coordexp_audit_lib.kit.boxes import LAST_BIN, corners, encode_pixel
from coordexp_audit_lib.kit.profile import PATCH
from coordexp_audit_lib.run.session import ViolationsFound

CELLS = 40  # of the heat map, along each side
NAMES = 50_000  # that are counted apart
MULTIPLE, LEAST, MOST = 32, 4 * 32 * 32, 16_384 * 32 * 32  # of Qwen3-VL's resizing, where the run says nothing else
AREAS = np.array([0.0, *10.0 ** np.arange(-5.0, 0.01, 0.5)])
OTHERS = "(further names)"
Share = tuple[float, float, float, float]


class Survey(msgspec.Struct):
    """Counts over all records. sizes: images by width and height. objects: records by how many they have. areas: boxes
    by their share of the image, between `AREAS`. heat: how many boxes cover each cell of the image, [y, x]. names:
    objects by desc, ref or label. lengths: tokens of the sampled records, without the run's own prompt."""

    form: str
    space: Space = "bins"
    records: int = 0
    left_out: int = 0
    boxes: int = 0
    sizes: Counter[tuple[int, int]] = msgspec.field(default_factory=Counter)
    objects: Counter[int] = msgspec.field(default_factory=Counter)
    areas: Any = msgspec.field(default_factory=lambda: np.zeros(len(AREAS) - 1, np.int64))
    heat: Any = msgspec.field(default_factory=lambda: np.zeros((CELLS + 1, CELLS + 1), np.int64))
    names: Counter[str] = msgspec.field(default_factory=Counter)
    lengths: list[int] = msgspec.field(default_factory=list)

    @property
    def coverage(self) -> Any:
        """Share of the boxes that cover each cell, [y, x]."""
        return self.heat.cumsum(0).cumsum(1)[:CELLS, :CELLS] / max(self.boxes, 1)


def sample(folder: Path) -> Path:
    """A file of the annotations that the library carries (images of COCO's val2017), as cooked records."""
    path = folder / "coco_val2017_sample.coord.jsonl"
    records = [cases.real_record(row) for row in cases.real_boxes()]
    path.write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in records))
    return path


def judged(path: Path | str, how: How) -> list[Finding]:
    """The findings of `coordexp-audit data`."""
    boundaries.load(["geometry"])
    return audit_file(path, how)


def stop(found: Sequence[Finding], fail_on: str) -> None:
    """Raise if a finding is violated at or above `fail_on`, so that papermill fails.

    Raises:
        ViolationsFound: with the claims that are violated.
    """
    worst = SEVERITIES[: SEVERITIES.index(fail_on) + 1] if fail_on in SEVERITIES else ()
    bad = [f.invariant for f in found if f.counts and f.severity in worst]
    if bad:
        raise ViolationsFound(f"violated: {', '.join(bad)}", remedy="see the table of claims above")


def surveyed(path: Path | str, how: How, sampled: int = 2000, seed: int = 0) -> Survey:
    """Read a file once. sampled: of how many records, chosen by `seed`, the length in tokens is taken."""
    rng, kept = random.Random(seed), list[tuple[Any, list[tuple[int, int]]]]()
    with opened(path) as source:
        stream = stream_of(source)
        looked = look(source.name, stream, how.form, how.frame)
        survey = Survey(looked.form, looked.space)
        images = None if how.images == "none" else Images(Path(how.images or Path(source.name).parent))
        for value in _values(looked.blocks, stream):
            record = Record(value, looked.space)
            talk = Talk(value, looked.form, how.frame, (), how.resize)
            try:
                sizes = _sizes(talk, images)
                found = list(_objects(record, talk, sizes))
            except (AttributeError, KeyError, TypeError, ValueError):
                survey.left_out += 1
                continue
            _count(survey, sizes, found)
            if len(kept) < sampled:
                kept.append((value, sizes))
            elif (at := rng.randrange(survey.records)) < sampled:
                kept[at] = (value, sizes)
        survey.lengths = [n for value, sizes in kept if (n := length(value, survey, sizes, how)) is not None]
    return survey


def _values(first: Sequence[Any], stream: Any) -> Iterator[dict[str, Any]]:
    for blocks in (first, stream.blocks):
        for block in blocks:
            for line in records_of(block, stream.lines):
                told = None if line.broken else quick_line(line.text) or read_line(line.text)
                yield told.value if told and isinstance(told.value, dict) else {}


def _sizes(talk: Talk, images: Images | None) -> list[tuple[int, int]]:
    """Of each image, as the record states them, else of the files, where they are there."""
    found = [(int(w), int(h)) for w, h in sizes_of(talk)]
    if found or images is None:
        return found
    pictured = images.of(talk.value, talk.form)
    measured = [m.size for m in pictured.images if m.size] if pictured else []
    return measured if pictured and len(measured) == len(pictured.images) else []


def _objects(record: Record, talk: Talk, sizes: list[tuple[int, int]]) -> Iterator[tuple[str, Share | None]]:
    """Each object's name, and the corners of the box around it as shares of its image, where they are known."""
    if talk.form == "objects":
        size = sizes[0] if sizes else (1, 1)
        most = (LAST_BIN, LAST_BIN) if record.space == "bins" else size
        for g in record.geometries[0]:
            box: Any = None
            if g.numbers:
                corner = corners(g.numbers, record.chart) if g.key == "bbox_2d" else _around(g.numbers)
                box = tuple(v / most[i % 2] for i, v in enumerate(corner))
            yield str(record.value["objects"][g.at].get("desc")), box
        return
    names = _names(talk)
    for i, box in enumerate(b for b in talk.boxes if len(b.values) == BOX and all(map(is_number, b.values))):
        limit = (LIMITS[box.frame],) * 2 if box.frame in LIMITS else limits(talk, box, box.frame)
        share: Any = None if isinstance(limit, str) else tuple(v / limit[n % 2] for n, v in enumerate(box.values))
        yield names[i] if i < len(names) else "", share


def _around(points: Sequence[float]) -> Share:
    return min(points[0::2]), min(points[1::2]), max(points[0::2]), max(points[1::2])


def _names(talk: Talk) -> list[str]:
    if talk.form == "coco":
        return [str(a.get("category")) for a in talk.value["annotations"]]
    if talk.form == "ms-swift":
        refs, boxes = talk.value["objects"].get("ref") or [], talk.value["objects"].get("bbox") or []
        return [str(r) for r in refs] if len(refs) == len(boxes) else []
    labels = []
    for role, text in talk.turns:
        if role in ASSISTANT and "bbox_2d" in text:
            try:
                said = msgspec.json.decode(text.strip().removeprefix("```json").removesuffix("```"))
            except msgspec.MsgspecError:
                return []
            labels += [str(o.get("label")) for o in said if isinstance(o, dict) and "bbox_2d" in o]
    return labels


def _count(survey: Survey, sizes: list[tuple[int, int]], found: list[tuple[str, Share | None]]) -> None:
    survey.records += 1
    survey.sizes.update(sizes)
    survey.objects[len(found)] += 1
    for name, box in found:
        if name:
            survey.names[name if name in survey.names or len(survey.names) < NAMES else OTHERS] += 1
        if box is None:
            continue
        x1, y1, x2, y2 = (min(max(v, 0.0), 1.0) for v in box)
        survey.boxes += 1
        area = max(0.0, x2 - x1) * max(0.0, y2 - y1)
        survey.areas[min(int(np.searchsorted(AREAS, area, "right")) - 1, len(survey.areas) - 1)] += 1
        left, top = int(x1 * (CELLS - 1e-9)), int(y1 * (CELLS - 1e-9))
        right, bottom = int(x2 * (CELLS - 1e-9)) + 1, int(y2 * (CELLS - 1e-9)) + 1
        for y, x, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
            survey.heat[y, x] += sign


def length(value: dict[str, Any], survey: Survey, sizes: list[tuple[int, int]], how: How) -> int | None:
    """Tokens of a record as Qwen3-VL's template renders it: turns, images as the run resizes them, and the answer.

    Records of objects become CoordJSON with desc first; what a run says before it, such as its prompt, is not counted.
    None where the record is no conversation, or the size of an image is not known.
    """
    turns = _answered(value, survey, sizes) if survey.form == "objects" else _turns(value, survey.form)
    slots = sum(text.count(chat.SLOT) for role, text in turns if role != "assistant")
    if not turns or slots > len(sizes):
        return None
    ids, _ = chat.render(turns, [_grid(*size, how) for size in sizes[:slots]])
    return len(ids)


def _answered(value: dict[str, Any], survey: Survey, sizes: list[tuple[int, int]]) -> list[tuple[str, str]]:
    """A record of objects as its images and one answer; pixels become bins."""
    texts = []
    for g in Record(value, survey.space).geometries[0]:
        bins = g.numbers or []
        if survey.space == "pixels":
            bins = [encode_pixel(v, sizes[0][i % 2]) for i, v in enumerate(bins)]
        texts.append(coordjson.record(str(value["objects"][g.at].get("desc")), g.key, bins, "desc_first"))
    return [("user", chat.SLOT * len(value.get("images") or [])), ("assistant", coordjson.container(*texts))]


def _turns(value: dict[str, Any], form: str) -> list[tuple[str, str]]:
    if form == "coco":
        return []
    talk = Talk(value, form)
    found = [("assistant" if r in ASSISTANT else r if r == "system" else "user", text) for r, text in talk.turns]
    if form == "ms-swift":
        marks = {"<ref-object>": value["objects"].get("ref") or [], "<bbox>": value["objects"].get("bbox") or []}
        for mark, given in marks.items():
            left = iter(given)
            found = [(role, _filled(text, mark, left)) for role, text in found]
    return found


def _filled(text: str, mark: str, left: Iterator[Any]) -> str:
    first, *others = text.split(mark)
    return first + "".join(str(next(left, "")) + other for other in others)


def _grid(width: int, height: int, how: How) -> list[int]:
    factor, least, most = how.multiple_of or MULTIPLE, how.min_pixels or LEAST, how.max_pixels or MOST
    wide, high = smart_resize(width, height, factor, least, most)
    return [1, high // PATCH, wide // PATCH]


def packs(lengths: Sequence[int], capacity: int) -> tuple[int, float, int]:
    """First fit, the longest first, as ms-swift packs: how many packs, how full they are, and how many are too long."""
    fitting = {i: n for i, n in enumerate(lengths) if n <= capacity}
    made = first_fit(fitting, capacity) if fitting else []
    fill = sum(fitting.values()) / (len(made) * capacity) if made else 0.0
    return len(made), fill, len(lengths) - len(fitting)
