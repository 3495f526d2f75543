"""The reference's Channel-B target: from a rollout and its ground truth to the supervised tokens, weights and slots."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from coordexp_audit_lib.boundaries.supervision.cases.rollouts import write
from coordexp_audit_lib.boundaries.supervision.predicates.matching import match
from coordexp_audit_lib.boundaries.supervision.predicates.roles import (
    CLOSURE,
    DESC,
    Layout,
    is_coordinate,
    layout,
    piece,
    text_of,
)
from coordexp_audit_lib.boundaries.supervision.surfaces import ChannelBRequest, Group, Prefix, Sample
from coordexp_audit_lib.kit.coordjson import OPENING, Order, salvage
from coordexp_audit_lib.kit.tokenizer import IM_END, encode

GATE = 0.3
END = "<|im_end|>\n"


class Target(msgspec.Struct, frozen=True):
    """A Channel-B target. weights: of each token in the cross-entropy (0: not supervised). groups: of matched, then of
    appended.

    prefix_len counts the rollout's own tokens; the token after them may still cover the end of the rollout's text.
    """

    ids: list[int]
    prefix_len: int
    kept: Prefix
    pairs: list[tuple[int, int]]
    missed: list[int]
    weights: list[float]
    matched_groups: list[Group]
    missed_groups: list[Group]
    view: Layout


def keep(rollout: Sequence[int], order: Order) -> Prefix:
    """Cut a rollout behind its last record before the first that a strict reader refuses; or take the empty prefix."""
    ids = list(rollout)
    if IM_END in ids:
        ids = ids[: ids.index(IM_END)]
    text = text_of(ids)
    found = salvage(text, order)
    if found is None or text[: found.start].strip():
        return Prefix(encode(OPENING), True, 0, 0, False, {})
    cut, valid, reasons = found.opened, 0, dict[str, int]()
    refused = False
    for record in found.entries:
        refused = refused or not record.valid
        if record.box is None:
            name = "invalid" if not record.valid else "poly" if record.geometry == "poly" else "unordered"
            reasons[name] = reasons.get(name, 0) + 1
        if not refused:
            cut = record.span[1]
            valid += record.box is not None
    return Prefix(cut_tokens(ids, cut), False, valid, sum(reasons.values()), found.end is None, reasons)


def cut_tokens(ids: Sequence[int], cut: int) -> list[int]:
    """The tokens up to byte `cut`; one that reaches over it is written anew up to there."""
    out, at = list[int](), 0
    for token in ids:
        end = at + len(piece(token))
        if end > cut:
            return out + encode(piece(token)[: cut - at].decode("utf-8", "strict")) if cut > at else out
        out.append(token)
        at = end
    return out


def build(sample: Sample, request: ChannelBRequest) -> Target:
    """One sample's target: the kept rollout, the missed objects, the closure, `<|im_end|>` and a newline."""
    order = request.order
    kept = keep(sample.rollout, order)
    before = layout(kept.prefix, order)
    usable = [(i, r.box) for i, r in enumerate(before.records) if r.box is not None]
    found = match([b for _, b in usable], [t.bbox for t in sample.gt], GATE)
    pairs = [(usable[i][0], j) for i, j in found]
    missed = [j for j in range(len(sample.gt)) if j not in {j for _, j in pairs}]
    comma = ", " if before.records and missed else ""
    tail = comma + write([sample.gt[j] for j in missed], order) + "]}"
    # The last kept token is written anew together with what follows, so that the seam is tokenized as one text.
    ids = kept.prefix[:-1] + encode(piece(kept.prefix[-1]).decode() + tail + END)
    view = layout(ids, order)
    fates = {**dict.fromkeys(range(len(before.records)), "neutral"), **{i: "matched" for i, _ in pairs}}
    seam = len(text_of(kept.prefix))
    factor = request.multiplier if kept.reasons else 1.0
    leading = {p for i, fate in fates.items() if fate == "neutral" for p in view.between(i)}
    weights = [
        0.0 if p in leading else _weight(view, p, fates, seam=seam, desc_weight=request.desc_ce_weight, factor=factor)
        for p in range(len(ids))
    ]
    groups = [Group(view.slots(i), sample.gt[j].bbox) for i, j in pairs]
    appended = [Group(view.slots(len(before.records) + n), sample.gt[j].bbox) for n, j in enumerate(missed)]
    return Target(ids, len(kept.prefix) - 1, kept, pairs, missed, weights, groups, appended, view)


def _weight(view: Layout, p: int, fates: dict[int, str], *, seam: int, desc_weight: float, factor: float) -> float:
    """One rule: neutral wins over everything, then coordinate, then structure or closure; what is left is desc."""
    token = view.tokens[p]
    fate = {fates.get(i, "missed") for i in token.objects}
    if "neutral" in fate or is_coordinate(token.id):
        return 0.0
    appended = token.span[1] > seam
    if token.roles == (DESC,):
        return 0.0 if "matched" in fate else desc_weight
    if not fate and not appended:
        return 0.0
    return factor if appended and CLOSURE not in token.roles and "matched" not in fate else 1.0
