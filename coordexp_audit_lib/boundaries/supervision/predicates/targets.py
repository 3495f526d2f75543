"""What a Channel-B target's masks and gradients must be, token by token.

Each predicate takes one training segment with its reading, counts what it judges, and yields what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from coordexp_audit_lib.boundaries.supervision.predicates.reading import APPENDED, DROPPED, FALSE, MATCHED, Reading
from coordexp_audit_lib.boundaries.supervision.predicates.roles import (
    DESC,
    STRUCTURE,
    VOCABULARY,
    is_coordinate,
    piece,
    shown,
    text_of,
)
from coordexp_audit_lib.boundaries.supervision.surfaces import SegmentB, Thing
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.coordjson import Order, is_strict

IGNORED = VOCABULARY.ignore_index


class Supervised(msgspec.Struct, frozen=True):
    """One training segment as it is judged.

    slopes: the gradient tells the target bin, for SmoothL1 is the only geometry term. gated: a term besides
    cross-entropy reaches ordinary columns at coordinate slots. desc_weight: of an appended object's desc. extras: what
    of an object that no ground truth matches may be supervised, `nothing` or its `structure`. sorted_corners: the loss
    sorts a box's corners, so that a slot may be moved to the opposite corner's bin.
    """

    segment: SegmentB
    reading: Reading
    gt: list[Thing]
    order: Order = "desc_first"
    slopes: bool = True
    gated: bool = False
    desc_weight: float = 1.0
    extras: str = "nothing"
    sorted_corners: bool = False

    def aims(self, index: int) -> list[tuple[int, int]]:
        """The slots of a record that stands for a ground truth, each with the bin that its gradient must point to; of
        the two that sorted corners allow, the nearer one to where it points."""
        gt = self.reading.gts[index]
        box, made = self.gt[gt].bbox if gt >= 0 else [], []
        for i, p in enumerate(self.reading.view.slots(index)[: len(box)]):
            allowed = (box[i], box[(i + 2) % 4]) if self.sorted_corners else (box[i],)
            made.append((p, min(allowed, key=lambda k, p=p: abs(k - self.segment.targets[p]))))
        return made

    def place(self, p: int) -> str:
        """A token by its position and text."""
        return f"token {p} {shown(self.segment.ids[p])!r}"


def size(value: float | None, tolerance: float = 0.0) -> str:
    """A measured number as one word: what is left of rounding differs from processor to processor."""
    return "unknown" if value is None else "zero" if abs(value) <= tolerance else "not zero"


SHARED_STRUCTURE = (
    "Give the weight of the whole prefix to structure alone: leave out the tokens of every object's desc."
)


def neutral(one: Supervised, ledger: Ledger) -> Iterator[Problem]:
    """Tokens of false positives (and of records that were dropped) carry no label, no weight and no gradient.

    Where structure may be supervised, those that are of the desc or a coordinate alone still carry none.
    """
    segment = one.segment
    for index in one.reading.with_fate(FALSE, DROPPED):
        for p in one.reading.view.of(index):
            if one.extras == "structure" and STRUCTURE in one.reading.view.tokens[p].roles:
                continue
            ledger.judged()
            total = segment.text_grad[p] + segment.coord_grad[p]
            labelled = bool(segment.labels) and segment.labels[p] != IGNORED
            if total > 0 or labelled:
                text = f"a token of an object that no ground truth matches is supervised ({one.reading.fates[index]})"
                actual = f"{'a' if labelled else 'no'} label, gradient {size(total)}"
                remedy = SHARED_STRUCTURE if one.extras == "structure" else ""
                yield Problem(text, one.place(p), "no label, gradient zero", actual, remedy=remedy)


def matched(one: Supervised, ledger: Ledger) -> Iterator[Problem]:
    """Matched records: structure is supervised, desc is not, each coordinate's gradient points to the ground truth."""
    segment, view = one.segment, one.reading.view
    for index in one.reading.with_fate(MATCHED):
        for p in view.of(index):
            ledger.judged()
            token = view.tokens[p]
            if token.inside(index) and token.roles == (STRUCTURE,) and not segment.text_grad[p] > 0:
                yield Problem("a matched object's structure gets no gradient", one.place(p), "not zero", "zero")
            if token.roles == (DESC,) and segment.text_grad[p] + segment.coord_grad[p] > 0:
                yield Problem("a matched object's desc is supervised", one.place(p), "zero", "not zero")
        yield from _aimed(one, index)


def fused(one: Supervised, ledger: Ledger) -> Iterator[Problem]:
    """Structure of a matched record keeps its loss where one token covers it and the end of the desc."""
    segment, view = one.segment, one.reading.view
    for index in one.reading.with_fate(MATCHED):
        for p in view.of(index):
            token = view.tokens[p]
            if not (token.inside(index) and {DESC, STRUCTURE} <= set(token.roles)):
                continue
            ledger.judged()
            if not segment.text_grad[p] > 0:
                message = (
                    "a matched object's structure gets no gradient where one token covers it and the end of a desc"
                )
                yield Problem(message, one.place(p), "not zero", "zero", authority="practice")


def leading(one: Supervised, ledger: Ledger) -> Iterator[Problem]:
    """What leads from one record to a false positive (or a dropped one) is not supervised, unless structure may be."""
    if one.extras == "structure":
        return
    for index in one.reading.with_fate(FALSE, DROPPED):
        for p in one.reading.view.between(index):
            ledger.judged()
            if one.segment.text_grad[p] > 0 and index not in one.reading.view.tokens[p].objects:
                message = "a token that leads into an object that no ground truth matches is supervised"
                yield Problem(message, one.place(p), "zero", "not zero", authority="practice")


def appended(one: Supervised, ledger: Ledger) -> Iterator[Problem]:
    """Appended records: structure, desc and coordinates are all supervised."""
    view = one.reading.view
    for index in one.reading.with_fate(APPENDED):
        for p in view.of(index):
            ledger.judged()
            token = view.tokens[p]
            wanted = STRUCTURE in token.roles or (DESC in token.roles and one.desc_weight > 0)
            if token.inside(index) and wanted and not one.segment.text_grad[p] > 0:
                yield Problem(f"an appended object's {token.role} gets no gradient", one.place(p), "not zero", "zero")
        yield from _aimed(one, index)


def _aimed(one: Supervised, index: int) -> Iterator[Problem]:
    segment = one.segment
    for p, k in one.aims(index):
        if not segment.coord_grad[p] > 0:
            yield Problem("a supervised coordinate gets no gradient", one.place(p), "not zero", "zero")
        elif one.slopes and abs(segment.targets[p] - k) > 1:
            message = "a coordinate's gradient points to another bin than the ground truth's"
            yield Problem(message, one.place(p), k, segment.targets[p])


def complete(one: Supervised, ledger: Ledger) -> Iterator[Problem]:
    """Every ground truth stands in the target exactly once, matched or appended, and nothing else was appended."""
    reading, everyone = one.reading, list(range(len(one.gt)))
    ledger.judged(len(everyone))
    held = sorted(j for j in reading.gts if j >= 0)
    if held != everyone:
        yield Problem("not every ground truth is in the target exactly once", "ground truth", everyone, held)
    strangers = [reading.view.records[i].desc for i in reading.with_fate(APPENDED) if reading.gts[i] < 0]
    if strangers:
        yield Problem("a record was appended that is no missing ground truth", "appended record", [], strangers)
    if reading.unclaimed:
        yield Problem("a reported match fits no record and ground truth", "match", [], reading.unclaimed)


def parses(one: Supervised, ledger: Ledger) -> Iterator[Problem]:
    """The whole target, up to its closing brace, is what a strict reader accepts."""
    ledger.judged()
    view = one.reading.view
    end = view.container.end if view.container else None
    text = view.text.partition(b"<|im_end|>")[0] if end is None else view.text[:end]
    if not is_strict(text, one.order):
        said = text.decode("utf-8", "replace")
        # What a model said stays as it is, token for token, so a target can be demanded to parse by our measure only.
        what = "the whole target does not parse in strict mode"
        yield Problem(what, "target", "strict CoordJSON", said, authority="practice")


def sound(one: Supervised, ledger: Ledger) -> Iterator[Problem]:
    """What can be said of a target without its gradients."""
    yield from complete(one, ledger)
    yield from parses(one, ledger)


def injected(one: Supervised, ledger: Ledger) -> Iterator[Problem]:
    """The target is sound, and what was appended is supervised."""
    yield from sound(one, ledger)
    yield from appended(one, ledger)


def coordinates_out(one: Supervised, ledger: Ledger) -> Iterator[Problem]:
    """Coordinate tokens have no label, and without a gate term no gradient on ordinary columns."""
    segment = one.segment
    if one.gated and not segment.labels:
        ledger.left_out("coordinate tokens beside a gate term", "their labels can't be observed")
        return
    for p, t in enumerate(segment.ids):
        if not is_coordinate(t):
            continue
        ledger.judged()
        if segment.labels and segment.labels[p] != IGNORED:
            yield Problem("a coordinate token has a cross-entropy label", one.place(p), IGNORED, segment.labels[p])
        if segment.text_grad[p] > 0 and not one.gated:
            yield Problem("cross-entropy reaches a coordinate token", one.place(p), "zero", "not zero")


def masks_agree(one: Supervised, ledger: Ledger) -> Iterator[Problem]:
    """Where there is a label and a weight there is the label's gradient, and nowhere else."""
    segment = one.segment
    if not segment.labels:
        ledger.left_out("masks", "the labels of the cross-entropy can't be observed")
        return
    for p, t in enumerate(segment.ids):
        if is_coordinate(t) and one.gated:
            continue
        ledger.judged()
        supervised = segment.labels[p] != IGNORED and segment.share[p] > 0
        if supervised != (segment.text_grad[p] > 0):
            yield Problem("the mask and the gradient disagree", one.place(p), supervised, size(segment.text_grad[p]))
        elif supervised and not segment.labels[p] == segment.raised[p] == t:
            yield Problem("the gradient raises another token", one.place(p), t, segment.raised[p])


def closed(one: Supervised, ledger: Ledger) -> Iterator[Problem]:
    """The outermost closing brace and `<|im_end|>` are supervised."""
    segment, closing = one.segment, one.reading.view.closing()
    ledger.judged(2)
    if len(closing) != 2:
        message = "the target has no outermost brace with <|im_end|> after it"
        yield Problem(message, "closure", 2, len(closing))
    for p in closing:
        if not segment.text_grad[p] > 0:
            yield Problem("a closing token gets no gradient", one.place(p), "not zero", "zero")
        if segment.closure_pos and p not in segment.closure_pos:
            message = "the pipeline takes another token for the closure"
            yield Problem(message, one.place(p), p, segment.closure_pos)


def overlapped(one: Supervised, ledger: Ledger, plain: SegmentB, fate: str) -> Iterator[Problem]:
    """The overlap loss reaches each slot of these records: without its weight (`plain`) the gradient is another."""
    for index in one.reading.with_fate(fate):
        for p in one.reading.view.slots(index):
            ledger.judged()
            if abs(one.segment.coord_grad[p] - plain.coord_grad[p]) <= 1e-3 * plain.coord_grad[p]:
                message = f"CIoU does not reach a coordinate ({fate})"
                yield Problem(message, one.place(p), "another gradient with its weight on", "the same")


def kept(prefix: Sequence[int], rollout: Sequence[int]) -> Iterator[Problem]:
    """Equal tokens, but for an end that spells a proper part of the rollout's next token."""
    shared = min(len(prefix), len(rollout))
    same = next((i for i, (a, b) in enumerate(zip(prefix, rollout, strict=False)) if a != b), shared)
    rest = text_of(list(prefix[same:]))
    if rest and not (same < len(rollout) and piece(rollout[same]).startswith(rest)):
        wanted = shown(rollout[same]) if same < len(rollout) else "the end of the rollout"
        yield Problem("the kept tokens are not the rollout's own", f"token {same}", wanted, shown(prefix[same]))


class Kept(msgspec.Struct, frozen=True):
    """What a target keeps of a rollout, and the rollout: token ids."""

    prefix: Sequence[int]
    rollout: Sequence[int]


def kept_live(one: Kept, ledger: Ledger) -> Iterator[Problem]:
    """What is kept is the rollout's own; counts rollouts."""
    ledger.judged(len(one.rollout) > 0)
    yield from kept(one.prefix, one.rollout)


def treatment(one: Supervised, p: int) -> str:
    """What became of a token that covers desc and structure: `masked`, `as desc`, `as structure`, or its odd weight."""
    segment = one.segment
    if not segment.text_grad[p] > 0:
        return "masked"
    if not segment.share:
        return "supervised"
    closing = one.reading.view.closing()
    # The closure is the unit of weight; where it is masked, the heaviest token is.
    unit = (segment.share[closing[-1]] if closing else 0.0) or max(segment.share)
    ratio = segment.share[p] / unit if unit else 0.0
    for weight, name in ((one.desc_weight, "as desc"), (1.0, "as structure")):
        if abs(ratio - weight) < 1e-3:
            return name
    return f"weight {ratio:.2g}"
