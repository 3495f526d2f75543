"""What a pipeline is asked at the geometry boundary: the surfaces and their types.

Points are flat lists x, y, x, y, …; a bin is an int in 0..999; a size is (width, height) in pixels.
"""

from __future__ import annotations

from typing import Any

import msgspec

from coordexp_audit_lib.core.surface import surface
from coordexp_audit_lib.kit.coordjson import Order


class RecordRequest(msgspec.Struct, frozen=True):
    """A dataset record as JSON gives it; anything at all, for malformed records are part of the question."""

    record: Any


class Accepted(msgspec.Struct, frozen=True):
    """The input was accepted."""

    accepted: bool = True


class BinsRequest(msgspec.Struct, frozen=True):
    bins: list[int]


class CodecResponse(msgspec.Struct, frozen=True):
    """For each bin: its token, the bin that the token gives back, and the decoded coordinate k/999."""

    tokens: list[str]
    ints: list[int]
    normalized: list[float]


class TokensResponse(msgspec.Struct, frozen=True):
    """For each bin its token, and the bin that the token gives back."""

    tokens: list[str]
    ints: list[int]


class DecodeResponse(msgspec.Struct, frozen=True):
    normalized: list[float]


class PixelsRequest(msgspec.Struct, frozen=True):
    """Bins to place in an image of this size."""

    bins: list[int]
    width: int
    height: int


class PixelsResponse(msgspec.Struct, frozen=True):
    """Positions along both axes, exact and rounded to a pixel."""

    x: list[float]
    y: list[float]
    x_rounded: list[int]
    y_rounded: list[int]


class CornersResponse(msgspec.Struct, frozen=True):
    """For each bin k the lower right pixel of the box 0, 0, k, k; null where the box is refused as degenerate."""

    x: list[int | None]
    y: list[int | None]


class EncodeRequest(msgspec.Struct, frozen=True):
    """Objects with `bbox_2d` or `poly` in pixels of an image of this size."""

    objects: list[dict[str, Any]]
    width: int
    height: int


class ObjectsResponse(msgspec.Struct, frozen=True):
    """The objects that came out, with `desc` and their one geometry (bins as ints, or tokens)."""

    objects: list[dict[str, Any]]


class GtRequest(msgspec.Struct, frozen=True):
    """The objects of a sample's assistant payload, coordinates as tokens."""

    objects: list[dict[str, Any]]


class GtResponse(msgspec.Struct, frozen=True):
    """The bins of every ground-truth object, in order."""

    points: list[list[int]]


class RenderRequest(msgspec.Struct, frozen=True):
    """One record through the dataset: loaded, checked, ordered, annotated, rendered. The template is a stub."""

    record: Any
    max_pixels: int
    object_field_order: Order = "desc_first"
    object_ordering: str = "sorted"
    seed: int = 0


class RenderResponse(msgspec.Struct, frozen=True):
    """The assistant's text."""

    text: str


class OrderRequest(msgspec.Struct, frozen=True):
    """A dataset over `records`, read through a torch DataLoader, for each epoch in turn, at `indices` in this order.

    workers: loader processes. persistent: they outlive an epoch.
    """

    records: list[dict[str, Any]]
    seed: int
    epochs: list[int]
    indices: list[int]
    workers: int
    object_ordering: str
    persistent: bool = False


class Sample(msgspec.Struct, frozen=True):
    """Which record stood at an index, and a digest of what was encoded."""

    record: int
    digest: str


class OrderResponse(msgspec.Struct, frozen=True):
    """For each epoch the samples, in the order in which they were asked for."""

    epochs: list[list[Sample]]


class GridRequest(msgspec.Struct, frozen=True):
    """One image of this size, and a record that says so, through dataset, template and image processor."""

    width: int
    height: int
    max_pixels: int


class GridResponse(msgspec.Struct, frozen=True):
    """What the image processor was told and gave.

    do_resize: each value it was called with (null: not said, so its own default). grid: t, h, w in patches.
    patch: pixels along a patch. fetched: whether the upstream image loader was the real one or a stand-in.
    """

    do_resize: list[bool | None]
    grid: list[int]
    patch: int
    fetched: str


class GateRequest(msgspec.Struct, frozen=True):
    """A JSONL file and its images before a launch. `files`: true (width, height) of images/0.png, images/1.png, …"""

    launcher: str
    split: str
    files: list[list[int]]
    records: list[dict[str, Any]]
    max_pixels: int


class GateResponse(msgspec.Struct, frozen=True):
    """accepted: every check that the launcher runs on this split passed.

    runs: how many it runs. lines: where each stands in the launcher, or in `file`, which it starts.
    """

    accepted: bool
    runs: int
    lines: list[int]
    file: str = ""


class AugmentRequest(msgspec.Struct, frozen=True):
    """A record through the augmentation stage with an empty pipeline; its image is a plain one of the record's size."""

    record: Any


VALIDATE = surface("geometry.validate_record", RecordRequest, Accepted, "check a dataset record's contract")
CODEC = surface("geometry.codec", BinsRequest, CodecResponse, "bins to tokens, back, and to coordinates")
COORD_TOKENS = surface("geometry.coord_tokens", BinsRequest, TokensResponse, "the shared token helpers on bins")
ANNOTATE = surface("geometry.annotate", BinsRequest, CodecResponse, "annotate records whose polygons hold these bins")
EXPECTATION = surface("geometry.expectation", BinsRequest, DecodeResponse, "expectation decode of one-peak logits")
PIXELS = surface("geometry.to_pixels", PixelsRequest, PixelsResponse, "bins to pixels of an image")
CORNERS = surface("geometry.standardize", PixelsRequest, CornersResponse, "boxes of tokens to pixels, for evaluation")
ENCODE = surface("geometry.encode", EncodeRequest, ObjectsResponse, "a pixel record's geometry to bins")
GT_BOXES = surface("geometry.gt_boxes", GtRequest, GtResponse, "ground truth for Stage-2 AB")
GT_OBJECTS = surface("geometry.gt_objects", GtRequest, GtResponse, "ground truth for rollout matching")
RENDER = surface("geometry.render_record", RenderRequest, RenderResponse, "a record's assistant text, via the dataset")
ORDER = surface("geometry.sample_order", OrderRequest, OrderResponse, "samples as a data loader gives them")
GRID = surface("geometry.processor_grid", GridRequest, GridResponse, "an image's patch grid in training")
GATE = surface("geometry.launch_gate", GateRequest, GateResponse, "the launcher's own check of a JSONL and its images")
AUGMENT = surface("geometry.augment", AugmentRequest, ObjectsResponse, "a record through a no-op augmentation")
