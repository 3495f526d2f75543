"""Real rollouts on COCO val2017 images, as CoordJSON; and families of adversarial texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from coordexp_audit_lib.boundaries.coordjson.cases.texts import record
from coordexp_audit_lib.boundaries.coordjson.surfaces import Thing
from coordexp_audit_lib.kit.boxes import encode_share
from coordexp_audit_lib.kit.coordjson import OPENING, Order, array, container

RESOURCE = Path(__file__).resolve().parents[3] / "resources" / "coco_val_rollouts.jsonl"


@cache
def rollouts() -> tuple[tuple[Thing, ...], ...]:
    """What a model predicted on each image, in the order of its answer; pixels become bins 0..999."""
    return tuple(_things(json.loads(line)) for line in RESOURCE.read_text(encoding="utf-8").splitlines())


def _things(row: dict[str, Any]) -> tuple[Thing, ...]:
    sizes = (row["width"], row["height"])
    return tuple(
        Thing(p["desc"], "bbox_2d", tuple(encode_share(v, sizes[i % 2]) for i, v in enumerate(p["bbox_2d"])))
        for p in row["pred"]
    )


def families(order: Order) -> dict[str, tuple[str, str, str]]:
    """Texts at sizes n, 2n and 4n on which a parser that starts over at every brace does not end in linear time."""
    made: dict[str, Callable[[int], str]] = {
        "many {": lambda n: "{" * (8 * n),
        "many openings": lambda n: OPENING * n,
        "openings in junk": lambda n: ('{"objects" ' + OPENING[:-1] + "5}") * n,
        "nested, failing late": lambda n: (OPENING + '{"a": ') * n + "0" + "} 5]}" * n,
        "nested objects": lambda n: OPENING + '{"a": ' * n + "0" + "}" * n + "]}",
        "unterminated string": lambda n: OPENING + '{"desc": "' + "a{" * (4 * n),
        "unterminated strings": lambda n: '{"' * (4 * n),
        "backslashes": lambda n: OPENING + '{"desc": "' + "\\" * (8 * n),
        "blanks": lambda n: "{ " * (4 * n),
        "many records": lambda n: container(*(record("cat", order, k % 100) for k in range(n))),
        "long polygon": lambda n: container('{"desc": "x", "poly": ' + array(range(2 * n)) + "}"),
    }
    return {name: (make(12), make(24), make(48)) for name, make in made.items()}
