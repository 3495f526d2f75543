"""Generated records of every form: none that is right has a finding, each with one fault is told, at its line."""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.geometry.artifact import How, audit_file
from coordexp_audit_lib.boundaries.geometry.predicates.frames import smart_resize
from coordexp_audit_lib.kit.boxes import token

boundaries.load(["geometry"])
SEED, SHARE = 0, int(os.environ.get("COORDEXP_FAULTS", "240"))  # records of each; 10,000 take some minutes
WORDS = ("person", "dining table", "trafic light: red", 'a "quoted" cup', "茶杯", "T-shirt", "été", "x" * 200, "a.. b")
SIZES = ((640, 480), (480, 640), (1280, 720), (96, 64))
Rng = random.Random
Record = dict[str, Any]


def corners(rng: Rng, width: int, height: int, last: int = 0) -> list[int]:
    x, y = sorted(rng.sample(range(width + last), 2)), sorted(rng.sample(range(height + last), 2))
    return [x[0], y[0], x[1], y[1]]


def image(rng: Rng) -> tuple[str, int, int]:
    at = rng.randrange(len(SIZES))
    return f"images/{at}.png", *SIZES[at]


def objects(rng: Rng, coordinate: str = "token", polys: bool = False) -> Record:
    path, width, height = image(rng)
    made = []
    for _ in range(rng.randint(1, 6)):
        if polys and rng.random() < 0.5:
            flat = [rng.randrange(1000) for _ in range(2 * rng.randint(3, 6))]
            item: Record = {"poly": flat, **({"poly_points": len(flat) // 2} if rng.random() < 0.7 else {})}
        else:
            item = {"bbox_2d": corners(rng, 1000, 1000)}
        key = next(iter(item))
        tokens = coordinate == "token" or (coordinate == "mixed" and rng.random() < 0.5)
        item[key] = [token(k) for k in item[key]] if tokens else item[key]
        made.append({"desc": rng.choice(WORDS), **item})
    more = {"image_id": rng.randrange(9), "metadata": {"source": "x", "tags": ["a", {"b": 1}]}, "summary": "a: b"}
    rest = {k: v for k, v in more.items() if rng.random() < 0.5}
    return {"images": [path], "objects": made, "width": width, "height": height, **rest}


def prepared(rng: Rng, chart: str) -> Record:
    made = objects(rng)
    for item in made["objects"]:
        w, h = rng.randint(10, 600), rng.randint(10, 600)
        cx, cy = rng.randint(w // 2 + 1, 998 - w // 2), rng.randint(h // 2 + 1, 998 - h // 2)
        size = [w, h] if chart == "cxcywh" else [logarithmic(w), logarithmic(h)]
        item["bbox_2d"] = [token(k) for k in (cx, cy, *size)]
    return {**made, "metadata": {"prepared_bbox_format": chart}}


def logarithmic(side: int) -> int:
    import math

    return int(999 * (1 + math.log(side / 999) / math.log(1024)))


def pixels(rng: Rng) -> Record:
    made = objects(rng, "int")
    for item in made["objects"]:
        item["bbox_2d"] = [v + 0.25 for v in corners(rng, made["width"] - 1, made["height"] - 1)]
    return made


def swift(rng: Rng, kind: str = "real") -> Record:
    path, width, height = image(rng)
    size = {"real": (width, height), "norm1000": (1000, 1000), "norm1": (1000, 1000)}[kind]
    boxes: list[Any] = [corners(rng, *size) for _ in range(rng.randint(1, 4))]
    boxes = [[v / 1000 for v in b] for b in boxes] if kind == "norm1" else boxes
    talk = [
        {"role": "user", "content": "<image>Find " + " and ".join(["<ref-object>"] * len(boxes))},
        {"role": "assistant", "content": json.dumps([{"bbox_2d": "B"}] * len(boxes)).replace('"B"', "<bbox>")},
    ]
    told = {} if kind == "real" else {"bbox_type": kind}
    refs = [rng.choice(WORDS) for _ in boxes]
    return {"messages": talk, "images": [path], "objects": {"ref": refs, "bbox": boxes, **told}}


def qwen(rng: Rng, frame: str = "norm1000") -> Record:
    path, width, height = image(rng)
    size = (1000, 1000) if frame == "norm1000" else smart_resize(width, height, 28, 56 * 56, 512 * 28 * 28)
    boxes = [{"bbox_2d": corners(rng, *size), "label": rng.choice(WORDS)} for _ in range(rng.randint(1, 4))]
    boxes += [{"point_2d": corners(rng, *size)[:2], "label": "p"}] if rng.random() < 0.3 else []
    talk = [
        {"from": "human", "value": "<image>\nFind all."},
        {"from": "gpt", "value": json.dumps(boxes, ensure_ascii=rng.random() < 0.5)},
    ]
    return {"image": path, "conversations": talk}


def factory(rng: Rng) -> Record:
    made = qwen(rng)
    talk = [
        {"role": "user" if t["from"] == "human" else "assistant", "content": t["value"]} for t in made["conversations"]
    ]
    return {"messages": [{"role": "system", "content": "s"}, *talk], "images": [made["image"]]}


def parts(rng: Rng) -> Record:
    made = factory(rng)
    asked = [{"type": "image", "image": made["images"][0]}, {"type": "text", "text": "Find all."}]
    return {"messages": [{"role": "user", "content": asked}, made["messages"][2]]}


def coco(rng: Rng) -> Record:
    images, annotations = [], []
    for i in range(3):
        path, width, height = image(rng)
        images.append({"id": i, "file_name": path, "width": width, "height": height})
        for _ in range(rng.randint(1, 4)):
            x1, y1, x2, y2 = corners(rng, width, height)
            box = [x1 + 0.5, y1, x2 - x1, y2 - y1]
            annotations.append({"id": len(annotations), "image_id": i, "category_id": rng.randrange(3), "bbox": box})
    return {"images": images, "annotations": annotations, "categories": [{"id": c, "name": WORDS[c]} for c in range(3)]}


FORMS: dict[str, tuple[Callable[[Rng], Record], How]] = {
    "tokens": (objects, How()),
    "bins": (lambda r: objects(r, "int"), How()),
    "tokens and bins": (lambda r: objects(r, "mixed", True), How()),
    "polygons": (lambda r: objects(r, polys=True), How()),
    "centre and size": (lambda r: prepared(r, "cxcywh"), How()),
    "centre and logarithms": (lambda r: prepared(r, "cxcy_logw_logh"), How()),
    "pixels": (pixels, How(frame="real")),
    "ms-swift": (swift, How()),
    "ms-swift shares": (lambda r: swift(r, "norm1"), How()),
    "ms-swift thousandths": (lambda r: swift(r, "norm1000"), How()),
    "Qwen3-VL": (qwen, How(frame="norm1000")),
    "Qwen2.5-VL": (lambda r: qwen(r, "resized"), How(frame="resized", max_pixels=512 * 28 * 28, multiple_of=28)),
    "LLaMA-Factory": (factory, How(frame="norm1000")),
    "content in parts": (parts, How(frame="norm1000")),
    "COCO": (coco, How()),
}
OBJECTS = ("tokens", "bins", "tokens and bins", "polygons")
BOXES = ("tokens", "bins")
SWIFT = ("ms-swift", "ms-swift shares", "ms-swift thousandths")
TALKS = ("Qwen3-VL", "Qwen2.5-VL", "LLaMA-Factory")
Fault = Callable[[Any, Rng], Any]


def put(*path: Any, to: Any) -> Fault:
    """A fault that sets what stands at `path`; a function makes it of what was there."""

    def fault(record: Any, rng: Rng) -> Any:
        at = record
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = to(at[path[-1]]) if callable(to) else copy.deepcopy(to)
        return record

    return fault


def out(*path: Any) -> Fault:
    """A fault that takes away what stands at `path`."""

    def fault(record: Any, rng: Rng) -> Any:
        at = record
        for key in path[:-1]:
            at = at[key]
        del at[path[-1]]
        return record

    return fault


def raw(change: Callable[[bytes, Rng], bytes]) -> Fault:
    return lambda record, rng: change(json.dumps(record).encode(), rng)


def geometry(to: Callable[[list[Any]], Any]) -> Fault:
    def fault(record: Any, rng: Rng) -> Any:
        item = record["objects"][0]
        key = "bbox_2d" if "bbox_2d" in item else "poly"
        item[key] = to(item[key])
        return record

    return fault


def answer(to: Callable[[str], str]) -> Fault:
    def fault(record: Any, rng: Rng) -> Any:
        turn = record["conversations" if "conversations" in record else "messages"][-1]
        key = "value" if "value" in turn else "content"
        turn[key] = to(turn[key])
        return record

    return fault


def boxed(box: Any) -> Fault:
    return answer(lambda text: json.dumps([{"bbox_2d": box, "label": "a"}]))


def swapped(values: list[Any]) -> list[Any]:
    return [values[2], *values[1:2], values[0], *values[3:]]


CONTRACT, RANGE, ORDER, SIZE = "record_contract", "bins_in_range", "box_ordered", "size_matches_file"
ANY = tuple(f for f in FORMS if f != "COCO")
FAULTS: dict[str, tuple[tuple[str, ...], Fault, str]] = {
    "no closing brace": (ANY, raw(lambda t, r: t[:-1]), CONTRACT),
    "cut anywhere": (ANY, raw(lambda t, r: t[: r.randrange(1, len(t))]), CONTRACT),
    "bad UTF-8": (ANY, raw(lambda t, r: t.replace(b"i", b"\xff", 1)), CONTRACT),
    "a surrogate in bytes": (ANY, raw(lambda t, r: t.replace(b"png", b"\xed\xa0\x80", 1)), CONTRACT),
    "half a surrogate pair": (ANY, raw(lambda t, r: t.replace(b"png", b"\\ud83d", 1)), CONTRACT),
    "a NUL byte": (ANY, raw(lambda t, r: t.replace(b".png", b".\0png", 1)), CONTRACT),
    "a byte order mark": (ANY, raw(lambda t, r: b"\xef\xbb\xbf" + t), CONTRACT),
    "UTF-16 in between": (ANY, raw(lambda t, r: t.decode().encode("utf-16-be")), CONTRACT),
    "NaN": (ANY, raw(lambda t, r: t[:-1] + b', "x": NaN}'), CONTRACT),
    "an infinity": (ANY, raw(lambda t, r: t[:-1] + b', "x": [-Infinity]}'), CONTRACT),
    "1e999": (ANY, raw(lambda t, r: t[:-1] + b', "x": 1e999}'), CONTRACT),
    "an integer of 10,000 digits": (ANY, raw(lambda t, r: t[:-1] + b', "x": ' + b"1" * 10_000 + b"}"), CONTRACT),
    "deep brackets": (ANY, raw(lambda t, r: t[:-1] + b', "x": ' + b"[" * 100_000), CONTRACT),
    "two records on a line": (ANY, raw(lambda t, r: t + t), CONTRACT),
    "an unknown key twice": (ANY, raw(lambda t, r: t[:-1] + b', "zz": 1, "zz": 1}'), CONTRACT),
    "a nested key twice": (ANY, raw(lambda t, r: t[:-1] + b', "m": {"a": 1, "a": 2}}'), CONTRACT),
    "a known key twice": (OBJECTS, raw(lambda t, r: t[:-1] + b', "width" : 7}'), CONTRACT),
    "a key twice, once escaped": (OBJECTS, raw(lambda t, r: t[:-1] + b', "w\\u0069dth": 7}'), CONTRACT),
    "a single quote": (ANY, raw(lambda t, r: t.replace(b'"', b"'", 2)), CONTRACT),
    "a list": (ANY, lambda record, rng: [record], CONTRACT),
    "null": (ANY, lambda record, rng: None, CONTRACT),
    "no images": (OBJECTS, out("images"), CONTRACT),
    "images is a text": (OBJECTS, put("images", to="a.png"), CONTRACT),
    "an image that is a number": (OBJECTS, put("images", 0, to=7), CONTRACT),
    "an absolute image": (OBJECTS, put("images", 0, to=lambda p: f"/data/{p}"), CONTRACT),
    "an image elsewhere": (OBJECTS, put("images", 0, to=lambda p: f"a/../../{p}"), CONTRACT),
    "an image of a drive": (OBJECTS, put("images", 0, to=lambda p: f"C:\\{p}"), CONTRACT),
    "an URL": (OBJECTS, put("images", 0, to=lambda p: f"s3://bucket/{p}"), CONTRACT),
    "no width": (OBJECTS, out("width"), CONTRACT),
    "a width of 0": (OBJECTS, put("width", to=0), CONTRACT),
    "a height as a text": (OBJECTS, put("height", to="480"), CONTRACT),
    "a height with a fraction": (OBJECTS, put("height", to=480.5), CONTRACT),
    "a width that is true": (OBJECTS, put("width", to=True), CONTRACT),
    "a width over 64 bits": (OBJECTS, put("width", to=2**65), CONTRACT),
    "sides whose product overflows": (OBJECTS, put("height", to=2**33), CONTRACT),
    "objects as a mapping": (OBJECTS, put("objects", to=lambda o: {"0": o[0]}), CONTRACT),
    "an object that is a list": (OBJECTS, put("objects", 0, to=["cup"]), CONTRACT),
    "no desc": (OBJECTS, out("objects", 0, "desc"), CONTRACT),
    "a blank desc": (OBJECTS, put("objects", 0, "desc", to="\u3000 "), CONTRACT),
    "a desc that is a number": (OBJECTS, put("objects", 0, "desc", to=7), CONTRACT),
    "a desc that is null": (OBJECTS, put("objects", 0, "desc", to=None), CONTRACT),
    "both geometries": (BOXES, put("objects", 0, to=lambda o: {**o, "poly": [1, 2, 3, 4, 5, 6]}), CONTRACT),
    "a legacy key": (OBJECTS, put("objects", 0, to=lambda o: {**o, "bbox": [1, 2, 3, 4]}), CONTRACT),
    "line points": (OBJECTS, put("objects", 0, to=lambda o: {**o, "line_points": 2}), CONTRACT),
    "a geometry as a text": (OBJECTS, geometry(lambda g: "1 2 3 4"), CONTRACT),
    "nested points": (OBJECTS, geometry(lambda g: [g[:2], g[2:]]), CONTRACT),
    "a coordinate too few": (OBJECTS, geometry(lambda g: g[:-1]), CONTRACT),
    "points of another polygon": (BOXES, put("objects", 0, to=lambda o: {**o, "poly_points": 2}), CONTRACT),
    "a box without area": (BOXES, geometry(lambda g: [g[0], g[1], g[0], g[3]]), CONTRACT),
    "bin 1000": (OBJECTS, geometry(lambda g: [1000, *g[1:]]), RANGE),
    "token 1000": (OBJECTS, geometry(lambda g: ["<|coord_1000|>", *g[1:]]), RANGE),
    "a token with zeros": (OBJECTS, geometry(lambda g: ["<|coord_007|>", *g[1:]]), RANGE),
    "a negative bin": (OBJECTS, geometry(lambda g: [-1, *g[1:]]), RANGE),
    "a bin with a fraction": (OBJECTS, geometry(lambda g: [12.0, *g[1:]]), RANGE),
    "a bin that is true": (OBJECTS, geometry(lambda g: [True, *g[1:]]), RANGE),
    "a coordinate that is null": (OBJECTS, geometry(lambda g: [None, *g[1:]]), RANGE),
    "corners exchanged": (BOXES, geometry(swapped), ORDER),
    "an unknown chart": (OBJECTS, put("metadata", to={"prepared_bbox_format": "xywh"}), CONTRACT),
    "corners as centre and size": (
        ("centre and size",),
        put("objects", 0, "bbox_2d", to=[token(k) for k in (100, 200, 900, 950)]),
        RANGE,
    ),
    "a polygon among prepared boxes": (
        ("centre and size", "centre and logarithms"),
        put("objects", 0, to={"desc": "a", "poly": [1, 2, 3, 4, 5, 6]}),
        CONTRACT,
    ),
    "a pixel beyond the image": (("pixels",), put("objects", 0, "bbox_2d", 2, to=1281.0), RANGE),
    "pixel corners exchanged": (("pixels",), geometry(swapped), ORDER),
    "the size of another image": (OBJECTS, put("height", to=lambda h: h + 32), SIZE),
    "sides exchanged": (("tokens",), lambda r, g: {**r, "width": r["height"], "height": r["width"]}, SIZE),
    "an image that is missing": (OBJECTS, put("images", 0, to="images/none.png"), SIZE),
    "an image that is a folder": (OBJECTS, put("images", 0, to="images"), SIZE),
    "an image that is damaged": (("tokens", *SWIFT), put("images", 0, to="images/damaged.png"), SIZE),
    "a ref too many": (SWIFT, put("objects", "ref", to=lambda r: [*r, "cup"]), CONTRACT),
    "a box too few": (SWIFT, put("objects", "bbox", to=lambda b: b[:-1]), CONTRACT),
    "a blank ref": (SWIFT, put("objects", "ref", 0, to=" "), CONTRACT),
    "a ref that is a number": (SWIFT, put("objects", "ref", 0, to=7), CONTRACT),
    "an unknown bbox_type": (SWIFT, put("objects", "bbox_type", to="norm100"), CONTRACT),
    "a box of three": (SWIFT, put("objects", "bbox", 0, to=lambda b: b[:3]), CONTRACT),
    "a box of texts": (SWIFT, put("objects", "bbox", 0, to=["1", "2", "3", "4"]), CONTRACT),
    "a box in no image": (SWIFT, put("objects", "image_id", to=[3]), CONTRACT),
    "boxes beyond": (SWIFT, put("objects", "bbox", 0, 2, to=1300.5), RANGE),
    "shares as pixels": (("ms-swift",), put("objects", "bbox", 0, to=[0.1, 0.2, 0.5, 0.6]), RANGE),
    "corners of a box exchanged": (SWIFT, put("objects", "bbox", 0, to=swapped), ORDER),
    "an image too many": ((*SWIFT, "LLaMA-Factory"), put("images", to=lambda i: [*i, i[0]]), CONTRACT),
    "no image": ((*SWIFT, "LLaMA-Factory"), put("images", to=[]), CONTRACT),
    "no answer": (("LLaMA-Factory", *SWIFT), put("messages", to=lambda m: m[:-1]), CONTRACT),
    "a blank answer": (TALKS, answer(lambda text: " \n"), CONTRACT),
    "an unknown role": (("LLaMA-Factory", *SWIFT), put("messages", 0, "role", to="narrator"), CONTRACT),
    "a turn that is a text": (("LLaMA-Factory",), put("messages", 0, to="hello"), CONTRACT),
    "an answer's box of three": (TALKS, boxed([1, 2, 3]), CONTRACT),
    "an answer's box of texts": (TALKS, boxed(["1", "2", "3", "4"]), CONTRACT),
    "an answer's box beyond": (TALKS, boxed([1, 2, 1300, 4]), RANGE),
    "an answer's negative box": (TALKS, boxed([-3, 2, 30, 40]), RANGE),
    "an answer in shares": (TALKS, boxed([0.1, 0.2, 0.5, 0.75]), RANGE),
    "an answer's corners exchanged": (TALKS, boxed([30, 2, 3, 4]), ORDER),
    "an annotation of no image": (("COCO",), put("annotations", 0, "image_id", to=77), CONTRACT),
    "a category that is not listed": (("COCO",), put("annotations", 0, "category_id", to=77), CONTRACT),
    "an id twice": (("COCO",), put("images", 1, "id", to=0), CONTRACT),
    "a bbox of three": (("COCO",), put("annotations", 0, "bbox", to=[1, 2, 3]), CONTRACT),
    "a negative width": (("COCO",), put("annotations", 0, "bbox", to=[10, 10, -5, 5]), ORDER),
    "a bbox without area": (("COCO",), put("annotations", 0, "bbox", to=[10, 10, 0, 5]), CONTRACT),
    "a bbox beyond the image": (("COCO",), put("annotations", 0, "bbox", to=[10, 10, 1300, 5]), RANGE),
    "no file name": (("COCO",), out("images", 0, "file_name"), CONTRACT),
    "a height that is null": (("COCO",), put("images", 0, "height", to=None), CONTRACT),
    "the size of no image": (("COCO",), put("images", 0, "width", to=1281), SIZE),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    (made / "images").mkdir()
    for i, size in enumerate(SIZES):
        Image.new("L", size).save(made / "images" / f"{i}.png")
    (made / "images" / "damaged.png").write_bytes(b"\x89PNG but no more")
    return made


def line(record: Any) -> bytes:
    return record if isinstance(record, bytes) else json.dumps(record, ensure_ascii=False).encode()


def violated(path: Path, how: How) -> dict[str, list[int]]:
    """The claims that are violated, with the lines of the examples."""
    found = audit_file(path, how)
    assert all(f.status != "error" for f in found), [f.note for f in found]
    return {
        f.invariant.removeprefix("geometry."): [v.where.line for v in f.violations if v.where]
        for f in found
        if f.status == "violated"
    }


@pytest.mark.parametrize("form", FORMS)
def test_right_records_of_any_form_have_no_finding(form: str, folder: Path) -> None:
    make, how = FORMS[form]
    rng, count = Rng(f"{SEED} {form}"), max(3, SHARE // len(FORMS))
    path = folder / f"{form}.jsonl"
    if form == "COCO":
        for _ in range(max(1, count // 3)):
            path.write_bytes(line(make(rng)))
            assert violated(path, how) == {}
        return
    path.write_bytes(b"\n".join(line(make(rng)) for _ in range(count)) + b"\n")
    found = {f.invariant.removeprefix("geometry."): f for f in audit_file(path, how)}
    assert {name: f.violations for name, f in found.items() if f.status == "violated"} == {}
    assert all(f.status == "held" for name, f in found.items() if name != ORDER or f.checked), found
    assert found[CONTRACT].checked == count


def test_a_record_with_one_fault_is_told_at_its_line(folder: Path) -> None:
    rng, path, missed = Rng(SEED), folder / "one.jsonl", []
    names = list(FAULTS)
    for n in range(max(SHARE, len(names))):
        name = names[n % len(names)]
        forms, fault, claim = FAULTS[name]
        form = rng.choice(forms)
        make, how = FORMS[form]
        records = [make(rng) for _ in range(3)]
        if form == "COCO":
            path.write_bytes(line(fault(records[0], rng)))
        else:
            path.write_bytes(b"\n".join([line(records[0]), line(fault(records[1], rng)), line(records[2])]) + b"\n")
        found = violated(path, how)
        if claim not in found or (form != "COCO" and set().union(*found.values()) != {2}):
            missed.append((name, form, found))
    assert missed == []
    assert len(FAULTS) >= 40


VALIDATOR = """
import contextlib, io, json, sys
sys.path.insert(0, sys.argv[1])
from public_data.scripts.validate_jsonl import JSONLValidator
refused = []
for name in sys.argv[2:]:
    validator = JSONLValidator(check_images=True, check_image_sizes=True, image_check_mode="open", image_check_n=0)
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            sound = validator.validate_file(name)
        except Exception:
            sound = False
    refused += [] if sound else [name]
print(json.dumps(refused))
"""
# A lone list is a JSON array here; the validator's own reader takes no byte order mark, which is said and no violation.
OURS = ("a list", "a byte order mark")


@pytest.mark.checkout
def test_what_the_project_s_validator_refuses_is_told(folder: Path) -> None:
    repo, python = os.environ.get("COORDEXP_REPO"), os.environ.get("COORDEXP_PYTHON")
    if not repo or not python:
        pytest.skip("set COORDEXP_REPO and COORDEXP_PYTHON to run the tests that need a CoordExp checkout")
    rng, made = Rng(SEED), {}
    for name, (forms, fault, _) in FAULTS.items():
        for form in forms:
            if form in OBJECTS and name not in OURS:
                make, how = FORMS[form]
                path = folder / f"{len(made)}.jsonl"
                path.write_bytes(line(make(rng)) + b"\n" + line(fault(make(rng), rng)) + b"\n")
                made[str(path)] = (name, how)
    asked = [python, "-c", VALIDATOR, repo, *made]
    refused = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    assert len(refused) > len(made) / 2
    assert [made[name][0] for name in refused if not violated(Path(name), made[name][1])] == []
