"""The predicates on a Channel-B target: what its masks and its gradients must be, token by token.

Each takes the segment and its reading and yields `(message, subject, expected, actual)` for every way in which it
fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from coordexp_audit_lib.boundaries.supervision.contract import Order, SegmentB, Thing
from coordexp_audit_lib.boundaries.supervision.reading import APPENDED, DROPPED, FALSE, MATCHED, Reading
from coordexp_audit_lib.boundaries.supervision.roles import DESC, STRUCTURE, Token, is_coordinate, piece, shown, text_of
from coordexp_audit_lib.boundaries.supervision.scan import strict
from coordexp_audit_lib.kit.tokenizer import encode

Problem = tuple[str, str, object, object]


def place(segment: SegmentB, p: int) -> str:
    return f"token {p} {shown(segment.ids[p])!r}"


def neutral(segment: SegmentB, reading: Reading) -> Iterator[Problem]:
    """Tokens of false positives (and of records that were dropped) carry no label, no weight and no gradient."""
    for index in reading.with_fate(FALSE, DROPPED):
        for p in reading.view.of(index):
            total = segment.text_grad[p] + segment.coord_grad[p]
            labelled = bool(segment.labels) and segment.labels[p] != -100
            if total > 0 or labelled:
                yield (
                    f"a token of an object that no ground truth matches is taught ({reading.fates[index]})",
                    place(segment, p),
                    "no label, gradient 0",
                    f"label {labelled}, gradient {total:.4g}",
                )


def matched(segment: SegmentB, reading: Reading, gt: list[Thing], slopes: bool) -> Iterator[Problem]:
    """Matched records: structure is taught, desc is not, each coordinate is pulled to the ground truth's bin."""
    for index in reading.with_fate(MATCHED):
        for p in reading.view.of(index):
            token = reading.view.tokens[p]
            if token.inside(index) and token.roles == (STRUCTURE,) and not segment.text_grad[p] > 0:
                yield "a matched object's structure gets no gradient", place(segment, p), "> 0", segment.text_grad[p]
            if token.roles == (DESC,) and segment.text_grad[p] + segment.coord_grad[p] > 0:
                yield "a matched object's desc is taught", place(segment, p), 0, segment.text_grad[p]
        yield from _pulled(segment, reading, index, gt, slopes)


def appended(
    segment: SegmentB, reading: Reading, gt: list[Thing], slopes: bool, desc_weight: float
) -> Iterator[Problem]:
    """Appended records: structure, desc and coordinates are all taught."""
    for index in reading.with_fate(APPENDED):
        for p in reading.view.of(index):
            token = reading.view.tokens[p]
            wanted = STRUCTURE in token.roles or (DESC in token.roles and desc_weight > 0)
            if token.inside(index) and wanted and not segment.text_grad[p] > 0:
                yield (
                    f"an appended object's {token.role} gets no gradient",
                    place(segment, p),
                    "> 0",
                    segment.text_grad[p],
                )
        yield from _pulled(segment, reading, index, gt, slopes)


def _pulled(segment: SegmentB, reading: Reading, index: int, gt: list[Thing], slopes: bool) -> Iterator[Problem]:
    if reading.gts[index] < 0:
        return
    for p, k in zip(reading.slots(index), gt[reading.gts[index]].bbox, strict=False):
        if not segment.coord_grad[p] > 0:
            yield "a supervised coordinate gets no gradient", place(segment, p), "> 0", segment.coord_grad[p]
        elif slopes and abs(segment.targets[p] - k) > 1:
            yield (
                "a coordinate is pulled to another bin than the ground truth's",
                place(segment, p),
                k,
                segment.targets[p],
            )


def overlapped(plain: SegmentB, segment: SegmentB, reading: Reading, fate: str) -> Iterator[Problem]:
    """The overlap loss reaches each slot of these records: with its weight on, the slot's gradient is another."""
    for index in reading.with_fate(fate):
        for p in reading.slots(index):
            if abs(segment.coord_grad[p] - plain.coord_grad[p]) <= 1e-3 * plain.coord_grad[p]:
                what = f"CIoU does not reach a coordinate ({fate})"
                yield what, place(segment, p), "another gradient with its weight on", segment.coord_grad[p]


def complete(segment: SegmentB, reading: Reading, gt: list[Thing]) -> Iterator[Problem]:
    """Every ground truth stands in the target exactly once, matched or appended, and nothing else was appended."""
    held = [j for j in reading.gts if j >= 0]
    if sorted(held) != list(range(len(gt))):
        yield "not every ground truth is in the target exactly once", "ground truth", list(range(len(gt))), sorted(held)
    strangers = [i for i in reading.with_fate(APPENDED) if reading.gts[i] < 0]
    if strangers:
        texts = [reading.view.records[i].text for i in strangers]
        yield "a record was appended that is no missing ground truth", "appended record", [], texts
    if reading.unclaimed:
        yield "a reported match fits no record and ground truth", "match", [], reading.unclaimed


def coordinates_out(segment: SegmentB, reading: Reading, gate: bool) -> Iterator[Problem]:
    """Coordinate tokens have no label, and without a gate term no gradient on ordinary columns."""
    for p, t in enumerate(segment.ids):
        if not is_coordinate(t):
            continue
        if segment.labels and segment.labels[p] != -100:
            yield "a coordinate token has a cross-entropy label", place(segment, p), -100, segment.labels[p]
        if segment.text_grad[p] > 0 and not gate:
            yield "cross-entropy reaches a coordinate token", place(segment, p), 0, segment.text_grad[p]


def masks_agree(segment: SegmentB, gate: bool) -> Iterator[Problem]:
    """Where there is a label and a weight there is the label's gradient, and nowhere else."""
    if not segment.labels:
        return
    for p, t in enumerate(segment.ids):
        if is_coordinate(t) and gate:
            continue
        taught = segment.labels[p] != -100 and segment.share[p] > 0
        if taught != (segment.text_grad[p] > 0):
            yield "the mask and the gradient disagree", place(segment, p), taught, segment.text_grad[p]
        elif taught and not segment.labels[p] == segment.pulls[p] == t:
            yield "the gradient raises another token", place(segment, p), t, segment.pulls[p]


def closed(segment: SegmentB, reading: Reading) -> Iterator[Problem]:
    """The outermost closing brace and `<|im_end|>` are taught."""
    closing = reading.view.closing()
    if len(closing) != 2:
        yield "the target has no outermost brace with <|im_end|> after it", "closure", 2, len(closing)
    for p in closing:
        if not segment.text_grad[p] > 0:
            yield "a closing token gets no gradient", place(segment, p), "> 0", segment.text_grad[p]
        if segment.closure_pos and p not in segment.closure_pos:
            yield "the pipeline takes another token for the closure", place(segment, p), p, segment.closure_pos


def treatment(segment: SegmentB, reading: Reading, p: int, desc_weight: float) -> str:
    """What became of a token that covers desc and structure: `masked`, `as desc`, `as structure`, or its odd weight."""
    if not segment.text_grad[p] > 0:
        return "masked"
    if not segment.share:
        return "taught"
    closing = reading.view.closing()
    # The closure is the unit of weight; where it is masked, the heaviest token is.
    unit = (segment.share[closing[-1]] if closing else 0.0) or max(segment.share)
    ratio = segment.share[p] / unit if unit else 0.0
    for weight, name in ((desc_weight, "as desc"), (1.0, "as structure")):
        if abs(ratio - weight) < 1e-3:
            return name
    return f"weight {ratio:.4g}"


def rule_of(token: Token, fate: str, treated: str) -> str | None:
    """Which rule a treatment follows: a masked token of a matched object is held for desc, as in an appended one."""
    if fate == MATCHED:
        return {"masked": "desc", "as structure": "structure"}.get(treated, treated)
    if fate == APPENDED:
        return {"as desc": "desc", "as structure": "structure"}.get(treated, treated)
    return None


def factors(plain: SegmentB, raised: SegmentB, reading: Reading) -> Iterator[tuple[int, float]]:
    """By what a multiplier raised each taught text token's weight, as (position, factor).

    Gradients scale with a token's weight over the sum of weights, so that raising some lowers the others: the unit is
    the token that gained least. What the template puts behind `<|im_end|>` has no role and is left out.
    """
    end = reading.view.closing()[-1] if reading.view.closing() else len(plain.ids) - 1
    taught = [p for p in range(end + 1) if plain.text_grad[p] > 0 and not is_coordinate(plain.ids[p])]
    ratios = {p: raised.text_grad[p] / plain.text_grad[p] for p in taught}
    unit = min((r for r in ratios.values() if r > 0), default=1.0)
    yield from ((p, r / unit) for p, r in ratios.items())


def untouched(role_of: Token) -> bool:
    """Tokens that a structure multiplier must leave alone: whole desc, coordinate or closure tokens."""
    return STRUCTURE not in role_of.roles


def kept(prefix: Sequence[int], rollout: Sequence[int]) -> Iterator[Problem]:
    """Equal tokens, but for an end that spells a proper part of the rollout's next token."""
    shared = min(len(prefix), len(rollout))
    same = next((i for i, (a, b) in enumerate(zip(prefix, rollout, strict=False)) if a != b), shared)
    rest = text_of(list(prefix[same:]))
    if rest and not (same < len(rollout) and piece(rollout[same]).startswith(rest)):
        wanted = shown(rollout[same]) if same < len(rollout) else "the end of the rollout"
        yield "the kept tokens are not the rollout's own", f"token {same}", wanted, shown(prefix[same])


def parses(text: bytes, order: Order) -> Iterator[Problem]:
    """The whole target is what a strict reader accepts."""
    if strict(text, order) is None:
        yield (
            "the whole target does not parse in strict mode",
            "target",
            "strict CoordJSON",
            text.decode("utf-8", "replace"),
        )


def canonical(ids: list[int]) -> list[int]:
    """The tokens that the same text has when it is tokenized as one; a text that is no UTF-8 stays as it is."""
    try:
        return encode(text_of(ids).decode("utf-8"))
    except UnicodeDecodeError:
        return ids


def around(ids: list[int], seam: int) -> list[int]:
    """The tokens that touch the byte before and the byte behind the seam."""
    at, found = 0, []
    for t in ids:
        end = at + len(piece(t))
        if at <= seam <= end and end > seam - 1 and at < seam + 1:
            found.append(t)
        at = end
    return found
