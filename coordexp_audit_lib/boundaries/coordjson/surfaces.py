"""CoordJSON at its boundary: the questions that a pipeline answers, and the types they are asked in.

Positions are character offsets into the text that was asked, half-open. `kit.coordjson` says what CoordJSON is.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from coordexp_audit_lib.boundaries.coordjson.dataflow import Scan, ScanRequest, scan
from coordexp_audit_lib.core.surface import surface
from coordexp_audit_lib.kit.coordjson import Order

Geometry = Literal["bbox_2d", "poly"]
Mode = Literal["strict", "salvage"]


class Thing(msgspec.Struct, frozen=True):
    """What a record says: a description and the bins (0..999) of its one geometry."""

    desc: str
    geometry: Geometry
    values: tuple[int, ...]


class RenderRequest(msgspec.Struct, frozen=True):
    """Records to write, in this order; `order` is the order of the keys inside each record."""

    things: tuple[Thing, ...]
    order: Order


class Text(msgspec.Struct, frozen=True):
    """A text that the pipeline wrote."""

    text: str


class ParseRequest(msgspec.Struct, frozen=True):
    """Assistant text to read. `strict` refuses what breaks the contract, `salvage` keeps the valid records."""

    text: str
    mode: Mode
    order: Order


class Record(msgspec.Struct, frozen=True):
    """A record that was kept. `index` counts every entry of the array, dropped ones too.

    span cuts the record with its braces, geometry_span the array with its brackets.
    """

    index: int
    desc: str
    geometry: str
    values: list[int]
    key_order: list[str]
    span: tuple[int, int]
    geometry_span: tuple[int, int]


class Parsed(msgspec.Struct, frozen=True):
    """What a parser made of a text.

    dropped: how many complete records were dropped, by reason. incomplete_tail: 1 if the text ends inside a record.
    container: where the chosen container starts and ends (the end is null where the text stops before it).
    truncated: the text ends before the container does. failed: no container was found, so nothing counts.
    dropped_total: the pipeline's own total of dropped records, null where it keeps none.
    """

    records: list[Record]
    dropped: dict[str, int]
    incomplete_tail: int
    container_start: int | None
    container_end: int | None
    truncated: bool
    failed: bool
    dropped_total: int | None = None


class Transpiled(msgspec.Struct, frozen=True):
    """Strict JSON made from assistant text; `failed` is the sample-level failure that the transpiler reports."""

    text: str
    failed: bool


class GrowthRequest(msgspec.Struct, frozen=True):
    """One family of texts at sizes n, 2n and 4n."""

    texts: tuple[str, str, str]
    order: Order


class Growth(msgspec.Struct, frozen=True):
    """How the work grew from the first text to the last.

    lines: growth exponent of the executed Python lines, counted exactly, rounded to one decimal. time: whether the
    measured CPU time agrees (`linear`, `superlinear`, or `unclear` where it is too short to tell).
    """

    lines: float
    time: Literal["linear", "superlinear", "unclear"]


RENDER = surface("coordjson.render", RenderRequest, Text, "Write records as CoordJSON.")
PARSE = surface("coordjson.parse", ParseRequest, Parsed, "Read CoordJSON, strictly or by salvage.")
TRANSPILE = surface("coordjson.transpile", ParseRequest, Transpiled, "Turn CoordJSON into strict JSON text.")
GROWTH = surface("coordjson.growth", GrowthRequest, Growth, "The salvage parser's work.")
PREDICTION_GROWTH = surface(
    "coordjson.prediction_growth", GrowthRequest, Growth, "The work of inference's reading of model text."
)
ROLLOUT_GROWTH = surface(
    "coordjson.rollout_growth", GrowthRequest, Growth, "The work of the trainer's reading of a rollout."
)
JSON_SINKS = surface(
    "coordjson.json_sinks",
    ScanRequest,
    Scan,
    "Every strict parser call in the owner modules and what reaches it.",
    static=scan,
)
READERS = {"salvage": GROWTH, "inference": PREDICTION_GROWTH, "trainer": ROLLOUT_GROWTH}
