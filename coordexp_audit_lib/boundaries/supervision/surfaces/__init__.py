"""The questions of boundary 07 and their types.

Token positions are relative to the assistant's first token unless said otherwise; the gradient of token p is the
gradient of the loss at the logits that predict p (row p-1). Bins are integers 0..999.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Literal

import msgspec

from coordexp_audit_lib.core.surface import surface
from coordexp_audit_lib.kit.coordjson import Order

GradMode = Literal["unroll", "em_detach"]


class ScheduleRequest(msgspec.Struct, frozen=True):
    """Steps `resumes[0]` to `resumes[-1]`, with a fresh trainer at each of the steps in between.

    detail: also list the Channel-B steps (for a short stretch). block: steps per digest.
    """

    b: float
    resumes: list[int]
    block: int = 10_000
    detail: bool = False


class Schedule(msgspec.Struct, frozen=True):
    """blocks: first 8 hex digits of the sha256 of each block's letters (`A`/`B` per step). b_steps: how many are B."""

    blocks: list[str]
    b_steps: int
    positions: list[int]


class SeedRequest(msgspec.Struct, frozen=True):
    seed: int
    step: int


class Seed(msgspec.Struct, frozen=True):
    base: int


class RequestSeedsRequest(msgspec.Struct, frozen=True):
    """One Channel-B step of `samples` rollouts, at most `chunk` of them in one call of the server."""

    seed: int
    step: int
    samples: int
    chunk: int


class RequestSeeds(msgspec.Struct, frozen=True):
    """calls: for each request to the server, in order, how many rollouts it asked for and with which seed."""

    calls: list[tuple[int, int]]


class MatchRequest(msgspec.Struct, frozen=True):
    """Boxes in bins (x1, y1, x2, y2); pairs below `gate` IoU must not match; false positives and negatives cost 1."""

    preds: list[list[int]]
    gts: list[list[int]]
    gate: float
    top_k: int
    resolution: int = 1000


class Match(msgspec.Struct, frozen=True):
    pairs: list[tuple[int, int]]
    fn: list[int]
    fp: list[int]


class DecodeRequest(msgspec.Struct, frozen=True):
    """For each coordinate slot the (bin, logit) peaks; all other bins have the logit `floor`."""

    slots: list[list[tuple[int, float]]]
    floor: float
    temperature: float


class Coords(msgspec.Struct, frozen=True):
    coords: list[float | None]


class BoxLossRequest(msgspec.Struct, frozen=True):
    """Pairs of boxes (x1, y1, x2, y2) in units of the image; each pair is a batch of its own."""

    preds: list[list[float]]
    gts: list[list[float]]


class BoxLoss(msgspec.Struct, frozen=True):
    """Values and gradients with respect to the prediction; null stands for a number that is not finite."""

    smoothl1: list[float | None]
    ciou: list[float | None]
    smoothl1_grad: list[list[float | None]]
    ciou_grad: list[list[float | None]]


class ClosureRequest(msgspec.Struct, frozen=True):
    """The assistant's tokens with what the template puts after them, and how many of them are the rollout's."""

    ids: list[int]
    prefix_len: int


class Positions(msgspec.Struct, frozen=True):
    """Positions relative to the first token after the prefix."""

    positions: list[int]


class PrefixRequest(msgspec.Struct, frozen=True):
    rollouts: list[list[int]]
    order: Order


class Prefix(msgspec.Struct, frozen=True):
    """What is kept of one rollout, and what was counted."""

    prefix: list[int]
    invalid: bool
    valid: int
    dropped: int
    truncated: bool
    reasons: dict[str, int]


class Prefixes(msgspec.Struct, frozen=True):
    parses: list[Prefix]


class RolesRequest(msgspec.Struct, frozen=True):
    texts: list[list[int]]


class TextRoles(msgspec.Struct, frozen=True):
    """The positions that the pipeline holds for description and for coordinate tokens."""

    desc: list[int]
    coordinate: list[int]


class Roles(msgspec.Struct, frozen=True):
    texts: list[TextRoles]


class Thing(msgspec.Struct, frozen=True):
    """A ground-truth object."""

    desc: str
    bbox: list[int]


class Sample(msgspec.Struct, frozen=True):
    """Ground truth, and the rollout's token ids (Channel-B only)."""

    gt: list[Thing]
    rollout: list[int] = []


class ChannelBRequest(msgspec.Struct, frozen=True):
    """One batch of Channel-B.

    ciou_weight: with 0 the geometry is SmoothL1 alone, so that the gradient tells the target bin. all_terms: switch
    on every coordinate term that the pipeline has. image: side in pixels of an image in the prompt, 0 for none.
    backward: without it only the preparation runs. unclosed: samples whose closure the pipeline's own search is
    made to miss.
    """

    samples: list[Sample]
    order: Order = "desc_first"
    desc_ce_weight: float = 0.25
    multiplier: float = 1.0
    ciou_weight: float = 0.0
    all_terms: bool = False
    packed: bool = False
    backward: bool = True
    image: int = 0
    seed: int = 0
    step: int = 0
    unclosed: list[int] = []


class Group(msgspec.Struct, frozen=True):
    """Four coordinate positions and the bins that their gradient points to."""

    pos: list[int]
    bins: list[int]


class SegmentB(msgspec.Struct, frozen=True):
    """One training segment of Channel-B.

    ids: the assistant's tokens, what the template appends included. labels: the label that the pipeline's
    cross-entropy got (-100 for none); share: the token's weight over the sum of weights; both empty where they
    can't be observed. text_grad, coord_grad: gradient norms on the columns of ordinary and of coordinate tokens.
    raised: the token that the gradient raises, -1 without cross-entropy. targets: the bin that a slot's gradient points
    to, solved from it (-1: none).
    """

    prompt_len: int
    prefix_len: int
    ids: list[int]
    invalid: bool
    valid: int
    matched: int
    fn: int
    dropped: int
    truncated: bool
    prefix_groups: list[Group]
    fn_groups: list[Group]
    struct_pos: list[int]
    closure_pos: list[int]
    desc_pos: list[int]
    seed_base: int | None
    labels: list[int]
    share: list[float]
    text_grad: list[float]
    coord_grad: list[float]
    raised: list[int]
    targets: list[int]


class ChannelB(msgspec.Struct, frozen=True):
    """metrics: the batch's counters. kwargs: names that the model's forward got with a value that is not None."""

    segments: list[SegmentB]
    metrics: dict[str, float | None]
    kwargs: list[str]
    losses: dict[str, float | None]
    use_cache: bool


class ChannelARequest(msgspec.Struct, frozen=True):
    samples: list[Sample]
    n_iter: int
    grad_mode: GradMode
    order: Order = "desc_first"
    desc_ce_weight: float = 1.0
    ciou_weight: float = 1.0
    packed: bool = False
    image: int = 0
    seed: int = 0
    step: int = 0


class SegmentA(msgspec.Struct, frozen=True):
    """`row` and `start` place the segment in the batch."""

    ids: list[int]
    prompt_len: int
    start: int
    row: int


class Pass(msgspec.Struct, frozen=True):
    """One forward. Positions are absolute: row of the batch times its length plus the position.

    tracked: the logits carry a gradient. changed: positions whose embedding is not bitwise the token's own.
    update_error: greatest distance of the slots' embeddings from the expectation under the previous logits at p-1;
    update_error_unshifted: under those at p. text_rows: rows whose ordinary columns got a gradient. slot_grad:
    gradient norm on the coordinate columns of the rows that predict a slot; slots_reached: how many such rows have
    one. text_grad: norm over text columns.
    """

    kwargs: list[str]
    ids: bool
    embeds: bool
    use_cache: bool
    past: bool
    tracked: bool
    changed: list[int]
    update_error: float | None
    update_error_unshifted: float | None
    text_rows: list[int]
    slot_grad: float
    text_grad: float
    slots_reached: int


class ChannelA(msgspec.Struct, frozen=True):
    """length: tokens per row. slots: the coordinate positions. tables: under `unroll`, of each forward from the second
    on how many rows of the embedding table get a gradient from what was put into the slots, other than through the
    logits before; null where it was not measured. aims: where SmoothL1 is the only geometry term, the bin that each
    slot's gradient in the last forward points to, solved from it (-1: no gradient); else empty."""

    segments: list[SegmentA]
    length: int
    passes: list[Pass]
    slots: list[int]
    loss: float | None
    tables: list[int] | None = None
    aims: list[int] = []


def digests(line: str, block: int) -> list[str]:
    """The blocks of a schedule, of which `line` has one letter a step."""
    return [sha256(line[i : i + block].encode()).hexdigest()[:8] for i in range(0, len(line), block)]


SCHEDULE = surface("supervision.schedule", ScheduleRequest, Schedule, "Which steps run Channel-B.")
ROLLOUT_SEED = surface("supervision.rollout_seed", SeedRequest, Seed, "The rollout seed base of a step.")
REQUEST_SEEDS = surface(
    "supervision.request_seeds", RequestSeedsRequest, RequestSeeds, "The seeds a Channel-B step sends to the server."
)
MATCH = surface("supervision.match", MatchRequest, Match, "Match predictions with ground truth.")
DECODE = surface("supervision.expectation_decode", DecodeRequest, Coords, "Coordinates decoded from logits.")
BBOX_LOSS = surface("supervision.bbox_loss", BoxLossRequest, BoxLoss, "Geometry losses of box pairs, with gradients.")
CLOSURE = surface("supervision.closure_positions", ClosureRequest, Positions, "Where a target is closed.")
PREFIX = surface("supervision.prefix", PrefixRequest, Prefixes, "What is kept of rollouts.")
ROLES = surface("supervision.token_roles", RolesRequest, Roles, "Which tokens are description, which coordinates.")
CHANNEL_B = surface("supervision.channel_b", ChannelBRequest, ChannelB, "Channel-B from rollouts to gradients.")
CHANNEL_A = surface("supervision.channel_a", ChannelARequest, ChannelA, "Channel-A's loop, forward by forward.")
