"""What the boundary is asked with: real rollouts of a real model, and generated ones that go where trouble is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec
from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.surfaces import ChannelARequest, ChannelBRequest, Sample, Thing
from coordexp_audit_lib.kit import coordjson
from coordexp_audit_lib.kit.boxes import encode_share
from coordexp_audit_lib.kit.coordjson import OPENING, Order
from coordexp_audit_lib.kit.tokenizer import IM_END, encode

CAT, DOG = Thing("cat", [100, 100, 300, 300]), Thing("dog", [600, 600, 900, 900])
BIRD = Thing("bird", [10, 500, 60, 560])
GT = [Thing("cat", [110, 100, 300, 310]), Thing("t-shirt", [400, 100, 500, 300]), Thing("dog", [600, 610, 900, 900])]
ODD = [
    Thing("t-shirt.", [100, 100, 300, 300]),
    Thing('a "quoted" one!', [400, 100, 600, 300]),
    Thing("set {of} [braces]", [700, 100, 900, 300]),
    Thing("Cat \U0001f408 É", [100, 500, 300, 700]),
    Thing("book (open)", [400, 500, 600, 700]),
]

FLIPPED: Order = "geometry_first"
MOST = 3  # forwards of one step of Channel-A
BRACES = [
    Thing("smile :-}", [100, 100, 300, 300]),
    Thing("open {", [400, 100, 600, 300]),
    Thing('a "}" in \\"quotes\\"', [700, 100, 900, 300]),
]
"""Braces that do not add up, for readers that count them inside strings too."""


class Case(msgspec.Struct, frozen=True):
    """A Channel-B request with a name for the reader. recoverable: its text is broken, but holds a sound container."""

    name: str
    request: ChannelBRequest
    recoverable: bool = False


def answer(text: str, ended: bool = True) -> list[int]:
    """A rollout's tokens as a model would sample them, `<|im_end|>` at the end."""
    return [*encode(text), *([IM_END] if ended else [])]


def write(things: Sequence[Thing], order: Order = "desc_first") -> str:
    """Records as the assistant writes them, joined by a comma and a space."""
    return ", ".join(coordjson.record(t.desc, "bbox_2d", t.bbox, order) for t in things)


def contained(*records: str) -> list[int]:
    """A rollout of some records' texts."""
    return answer(coordjson.container(*records))


def rollout(things: Sequence[Thing], order: Order = "desc_first") -> list[int]:
    return contained(write(things, order))


def one(gt: list[Thing], ids: list[int], **settings: Any) -> ChannelBRequest:
    return ChannelBRequest([Sample(gt, ids)], **settings)


def targets() -> list[Case]:
    """Cases that run to the gradient and that a pipeline must turn into a target, some of a broken rollout."""
    plain = rollout([CAT, DOG, BIRD])
    two = [Sample(GT, plain), Sample([BIRD, *GT[:1]], rollout([BIRD]))]
    shifted = [Thing(t.desc, [k + 8 for k in t.bbox]) for t in ODD]
    return [
        Case("two matched, one false, one missed", one(GT, plain)),
        Case("false before matched", one(GT, rollout([BIRD, CAT, DOG]))),
        Case("geometry first", one(GT, rollout([CAT, BIRD, DOG], FLIPPED), order=FLIPPED)),
        Case("odd descriptions, matched", one(shifted, rollout(ODD))),
        Case("odd descriptions, missed", one(ODD, rollout([BIRD]))),
        Case("odd descriptions, geometry first", one(ODD, rollout(shifted[:2], FLIPPED), order=FLIPPED)),
        Case("duplicates", one(GT, rollout([CAT, CAT, DOG, DOG]))),
        Case("no space between records", one(GT, answer(_compact([BIRD, CAT, DOG])))),
        Case("empty array", one(GT, answer('{"objects": []}'))),
        Case("all matched", one([GT[0], GT[2]], rollout([CAT, DOG]))),
        Case("all false", one(GT[1:2], rollout([CAT, BIRD]))),
        Case("cut inside a record", one(GT, rollout([CAT, BIRD, DOG])[:-12])),
        Case("junk after", one(GT, answer(coordjson.container(write([CAT])) + " That is all."))),
        Case("every coordinate term", one(GT, plain, all_terms=True, ciou_weight=1.0)),
        Case("two samples, padded", ChannelBRequest(two)),
        Case("two samples, packed", ChannelBRequest(two, packed=True)),
        gaps(),
        Case("with an image", one(GT, plain, image=64)),
        Case("end-of-turn spelled in a description", one(GT, _look_alike())),
        Case("poly and unordered box between boxes", one(GT, _poly_and_unordered())),
        Case("corners exchanged over ground truth", one(GT, rollout(_exchanged()))),
        *real(3),
    ]


def gaps() -> Case:
    """A pack of three in which the first sample has nothing to append and the second nothing that was matched: what is
    kept of each by its place must go on past a sample that has none."""
    three = [
        Sample([GT[0], GT[2]], rollout([CAT, DOG])),
        Sample(GT[1:2], rollout([BIRD])),
        Sample([BIRD, *GT[:1]], rollout([BIRD])),
    ]
    return Case("three samples packed, two with a gap", ChannelBRequest(three, packed=True))


def empty_between() -> Case:
    """The same with a sample between that has no ground truth at all."""
    case = gaps()
    first, _, last = case.request.samples
    between = [first, Sample([], rollout([CAT])), last]
    return Case("a sample without ground truth between two packed ones", replace(case.request, samples=between))


def empty_pack() -> tuple[str, ChannelARequest]:
    """The same of Channel-A."""
    three = [Sample(GT[:1]), Sample([]), Sample([ODD[0], GT[2]])]
    name = "a sample without ground truth between two packed ones"
    return name, ChannelARequest(three, 1, "unroll", packed=True, ciou_weight=0.0)


def with_invalid_records() -> list[Case]:
    """Rollouts that hold a record which a strict reader refuses, between usable ones."""
    first, last = write([CAT]), write([DOG])
    bad = {
        "wrong arity": '{"desc": "x", "bbox_2d": [<|coord_1|>, <|coord_2|>, <|coord_3|>]}',
        "quoted coordinates": '{"desc": "x", "bbox_2d": ["<|coord_1|>", "<|coord_2|>", "<|coord_3|>", "<|coord_4|>"]}',
        "no description": '{"bbox_2d": [<|coord_1|>, <|coord_2|>, <|coord_3|>, <|coord_4|>]}',
    }
    return [Case(name, one(GT, contained(first, text, last), backward=False)) for name, text in bad.items()]


def unparsable() -> list[Case]:
    """Rollouts with nothing that a prefix could be made of."""
    texts = {
        "empty": "",
        "no brace": "I see a cat.",
        "another key": '{"items": []}',
        "a list": '[{"desc": "cat"}]',
        "cut in the first key": '{"obj',
        "missing comma": '{"objects": [{"desc": "a"} {"desc": "b"}]}',
    }
    made = ((name, answer(text, ended=name != "empty")) for name, text in texts.items())
    return [Case(name, one(GT, ids, backward=name in ("empty", "no brace"))) for name, ids in made]


def two_unparsable() -> ChannelBRequest:
    """Two samples of one batch, both with nothing that a prefix could be made of."""
    texts = ("I see a cat.", "[]")
    return ChannelBRequest([Sample(GT, answer(t)) for t in texts], backward=False)


def after_one(order: Order = "desc_first") -> ChannelBRequest:
    """The first object is found as it is, and the others are missed: what follows it is teacher forcing's own text."""
    return one(GT, rollout(GT[:1], order), order=order, backward=False)


def junk_before() -> Case:
    """Text before a container that is sound: it can't stand in a target that starts with the container."""
    return Case("junk before", one(GT, answer("Sure: " + coordjson.container(write([CAT])))), recoverable=True)


def inside_or_behind() -> list[Case]:
    """A sound container inside another object, or behind one: a target that opens so is no container."""
    whole = coordjson.container(write([CAT]))
    texts = {
        "a container inside another object": '{"result": ' + whole + "}",
        "an object before the container": "{} " + whole,
        "a container that is none before it": '{"objects": 5} ' + whole,
    }
    return [Case(name, one(GT, answer(text), backward=False), recoverable=True) for name, text in texts.items()]


def without_ground_truth() -> Case:
    """A picture with nothing to find, which the data contract allows."""
    return Case("no ground truth", one([], rollout([CAT]), backward=False))


def coordinate_in_desc() -> Case:
    """A missed object whose description spells a coordinate token, which is text there."""
    labelled = Thing("label <|coord_7|>", [400, 100, 500, 300])
    return Case("a description that spells a coordinate", one([labelled], rollout([BIRD]), backward=False))


def escaped_key() -> Case:
    """A rollout that writes a letter of a key as an escape: JSON all the same, and a reader takes it for one."""
    escaped = answer(coordjson.container(write([CAT, DOG])).replace('"desc": "cat"', '"d\\u0065sc": "cat"'))
    return Case("an escaped key", one([GT[0], GT[2]], escaped))


def truncations() -> list[list[int]]:
    """One rollout cut at every token."""
    whole = rollout([BIRD, ODD[1], DOG])
    return [whole[:n] for n in range(1, len(whole))]


def crowd() -> ChannelBRequest:
    """300 ground-truth objects, of which the rollout found two; without the forward pass."""
    corners = [(40 * (i % 20), 60 * (i // 20)) for i in range(300)]
    gt = [Thing(f"thing {i}", [x, y, x + 30, y + 40]) for i, (x, y) in enumerate(corners)]
    return one(gt, rollout(gt[7:9]), backward=False)


def drops() -> list[Case]:
    """With and without something dropped; asked with two multipliers."""
    poly = Case("a polygon was dropped", one(GT, _poly_and_unordered()))
    return [poly, Case("nothing was dropped", one(GT, rollout([CAT, DOG, BIRD])))]


def channel_a(most: int = MOST) -> list[tuple[str, ChannelARequest]]:
    """Channel-A's cases. most: forwards that the pipeline can be asked for; cases of more are asked for so many."""
    return [
        (name, request) if request.n_iter <= most else (f"{name}, in {most}", replace(request, n_iter=most))
        for name, request in _channel_a()
    ]


def _channel_a() -> list[tuple[str, ChannelARequest]]:
    plain, pair = [Sample(GT[:2])], [Sample(GT[:1]), Sample([ODD[0], GT[2]])]
    return [
        ("one forward", ChannelARequest(plain, 1, "unroll")),
        ("two, unrolled", ChannelARequest(plain, 2, "unroll")),
        ("three, unrolled", ChannelARequest(plain, 3, "unroll")),
        ("three, detached", ChannelARequest(plain, 3, "em_detach", image=64)),
        ("two samples packed, unrolled", ChannelARequest(pair, 2, "unroll", packed=True)),
        ("two samples padded, detached", ChannelARequest(pair, 2, "em_detach")),
        ("two samples packed, boxes alone", ChannelARequest(pair, 1, "unroll", packed=True, ciou_weight=0.0)),
    ]


def real(count: int) -> list[Case]:
    """Real rollouts of three to seven predictions, at most eight objects, from images that differ."""
    chosen: dict[int, Case] = {}
    for row in _rows():
        small = 3 <= len(row["pred"]) <= 9 and 2 <= len(row["gt"]) <= 12
        if small and row["image_id"] not in chosen and len(chosen) < count:
            request = one(things(row, "gt"), rollout(things(row, "pred")))
            chosen[row["image_id"]] = Case(f"real rollout, image {row['image_id']}", request)
    return list(chosen.values())


def real_texts() -> Iterator[tuple[str, list[int]]]:
    """Every real rollout, as tokens."""
    for row in _rows():
        yield f"image {row['image_id']}, {row['decode']}", rollout(things(row, "pred"))


def things(row: dict[str, Any], kind: str) -> list[Thing]:
    """Ground truth (`gt`) or predictions (`pred`) of one image; pixels to bins, as shares of the image's sides."""
    sides = (row["width"], row["height"]) * 2
    return [Thing(o["desc"], list(map(encode_share, o["bbox_2d"], sides))) for o in row[kind]]


@lru_cache(maxsize=1)
def _rows() -> list[dict[str, Any]]:
    path = files("coordexp_audit_lib") / "resources" / "coco_val_rollouts.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _compact(things: list[Thing]) -> str:
    return coordjson.container(write(things)).replace(", ", ",").replace(": ", ":")


def _look_alike() -> list[int]:
    """A rollout whose second description spells the end-of-turn sign with ordinary tokens."""
    tail = write([DOG]).removeprefix('{"desc": "dog')
    spelled = [t for piece in ("<", "|", "im", "_end", "|", ">") for t in encode(piece)]
    return [*encode(OPENING + write([CAT]) + ', {"desc": "dog '), *spelled, *answer(tail + "]}")]


def _exchanged() -> list[Thing]:
    """Boxes that would be ground truth's, were their two y, or their two x, not the wrong way round."""
    (ax, ay, bx, by), (cx, cy, dx, dy) = GT[1].bbox, GT[2].bbox
    return [CAT, Thing("t-shirt", [ax, by, bx, ay]), Thing("dog", [dx, cy, cx, dy])]


def _poly_and_unordered() -> list[int]:
    poly = coordjson.record("leaf", "poly", (10, 10, 60, 10, 60, 60), "desc_first")
    flipped = write([Thing("fish", [300, 300, 200, 200])])
    return contained(write([CAT]), poly, flipped, write([DOG]))
