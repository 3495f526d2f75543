"""What the samples of a batch must be, by their tokens and labels alone: turns that are whole, each with one opening,
and nothing supervised that no model should write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from coordexp_audit_lib.boundaries.template.artifact import BatchSamples, Span
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.finding import Severity
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.kit.profile import ASSISTANT, FIRST_TOKENS, NEWLINE, SYSTEM

Flags = npt.NDArray[np.bool_]
LEAST_TURN = 5  # tokens of an assistant's turn: its header, an answer, its end
LEAST_SYSTEM = 5  # tokens of a system turn, so that its return is no chance


def supervised_rightly(batch: BatchSamples, ledger: Ledger) -> Iterator[Problem]:
    """Pads, vision tokens and turn openers are not supervised; of the ends of the answers some are. Counts supervised
    tokens.

    A batch that supervises the prompts as well supervises openers with them.
    """
    profile = batch.profile
    if all(s.labels is None for s in batch.samples):
        raise Undecided("needs labels")
    fills = _fills(batch)
    if profile.turn_start is None and not profile.has_vision and not fills:
        raise Undecided(f"the profile {profile.name} knows no token of turns or pictures")
    for filler in batch.fillers:
        yield from _at_first(filler, _supervised(filler, batch), "a pad is supervised")
    for sample in batch.samples:
        ledger.judged(int(_supervised(sample, batch).sum()))
        yield from _of_sample(sample, batch)
    if not any(_supervised(s, batch).any() for s in (*batch.samples, *batch.fillers)):
        ledger.judged()
        yield Problem("nothing in the batch is supervised: it has no loss", severity="P1")
    yield from _ends(batch, fills)
    yield from _headers(batch)
    ledger.left_out("which tokens are the answer", "needs the samples")


def _supervised(span: Span, batch: BatchSamples) -> Flags:
    if span.labels is None:
        return np.zeros(len(span.ids), bool)
    return np.asarray(span.labels != batch.profile.ignore_index)


def _of_sample(sample: Span, batch: BatchSamples) -> Iterator[Problem]:
    p, supervised = batch.profile, _supervised(sample, batch)
    vision = _are(sample, *_vision(batch))
    prompt = ~supervised & ~vision
    everything = not prompt[1:].any()
    mild: Severity = "P2" if everything else "P1"
    for what, pad in (("an image", p.image_pad), ("a video", p.video_pad)):
        text = f"a pad of {what} is supervised: the model would have to write it"
        yield from _at_first(sample, supervised & (sample.ids == pad), text, mild)
    pads = np.asarray(sample.ids == p.pad)
    for first in _ends_of(pads):
        yield from _at_first(sample, supervised & first, "a pad is supervised")
    if everything:
        return
    starts = supervised & _are(sample, p.vision_start, p.vision_end)
    yield from _at_first(sample, starts, "a vision token is supervised: the model would have to write it", mild)
    if p.turn_start is not None:
        opening = supervised & (sample.ids == p.turn_start)
        yield from _at_first(sample, opening, "the token that opens a turn is supervised, and the prompt is not", mild)


def _are(sample: Span, *tokens: int | None) -> Flags:
    """Which of the sample's tokens are one of these."""
    found = np.zeros(len(sample.ids), bool)
    for token in tokens:
        found |= False if token is None else sample.ids == token
    return found


def _ends_of(pads: Flags) -> Iterator[Flags]:
    """The pads at either end of a sample, where there are two and more."""
    for flags in (np.logical_and.accumulate(pads), np.logical_and.accumulate(pads[::-1])[::-1]):
        if 1 < flags.sum() < flags.size:
            yield flags


def _vision(batch: BatchSamples) -> tuple[int | None, ...]:
    p = batch.profile
    return p.image_pad, p.video_pad, p.vision_start, p.vision_end


def _fills(batch: BatchSamples) -> int | None:
    """The one token that fills the batch up, where samples end with it too: it is their end, and their pad."""
    fills = {int(t) for f in batch.fillers for t in f.ids[:1].tolist() + f.ids[-1:].tolist()}
    last = {int(s.ids[-1]) for s in batch.samples if len(s.ids)}
    return fills.pop() if batch.told and len(fills) == 1 and fills <= last else None


def _ends(batch: BatchSamples, fills: int | None) -> Iterator[Problem]:
    """Of the tokens that end a supervised answer at least one is supervised. fills: the pad, where samples end with
    it."""
    first, count = None, 0
    for sample in batch.samples:
        supervised = _supervised(sample, batch)
        is_end = sample.ids == batch.profile.turn_end
        is_end[-1:] |= sample.ids[-1:] == fills
        ending = np.flatnonzero(is_end[1:] & supervised[:-1]) + 1
        if supervised[ending].any():
            return
        count += ending.size
        if ending.size and first is None:
            first = (sample, int(ending[0]))
    if first is not None:
        text = f"no token that ends an answer is supervised, of {count}: the model does not learn to stop"
        yield _placed(first[0], first[1], text, "P1")


def _headers(batch: BatchSamples) -> Iterator[Problem]:
    """Supervision begins where an answer does: not within the header of its turn, and not a token late in every one."""
    start, late, first = batch.profile.turn_start, 0, None
    for sample in batch.samples:
        supervised, ids = _supervised(sample, batch), sample.ids
        if start is None or len(ids) < LEAST_TURN or supervised[ids == start].any():
            continue
        heads = (ids[:-4] == start) & (ids[1:-3] == ASSISTANT) & (ids[2:-2] == NEWLINE)
        for at in np.flatnonzero(heads).tolist():
            if supervised[at + 1 : at + 3].any():
                text = "the header of an assistant's turn is supervised: supervision begins before the answer"
                yield _placed(sample, at + 1 + int(supervised[at + 1 : at + 3].argmax()), text, "P1")
                return
            begins = ids[at + 3] < start and supervised[at + 4] and ids[at + 4] != batch.profile.turn_end
            if begins and supervised[at + 3]:
                return
            late += int(begins)
            first = first or ((sample, at + 3) if begins else None)
    if first is not None and late > 1:
        text = f"the first token of no answer is supervised, of {late}: supervision begins a token late"
        yield _placed(first[0], first[1], text, "P1")


def opened_once(batch: BatchSamples, ledger: Ledger) -> Iterator[Problem]:
    """A sample's opening token stands once, and so does its system turn: generation sends one of each. Counts
    samples."""
    samples, seen = [s for s in batch.samples if len(s.ids) > 1], Counter[int]()
    if not samples:
        raise Undecided("needs the samples")
    ledger.judged(len(samples))
    ledger.left_out("the ids that generation uses", "needs them")
    for s in samples:
        seen.update(s.ids[2:].tolist() if batch.profile.turn_start is None else ())
    shared = len(samples) > 1 and len({(int(s.ids[0]), int(s.ids[1])) for s in samples}) == 1
    for sample in samples:
        token = int(sample.ids[0])
        known = token == batch.profile.turn_start
        if batch.profile.turn_start is None and not seen[token]:
            known = shared or token in FIRST_TOKENS
        if known and sample.ids[1] == token and token not in (batch.profile.pad, *_vision(batch)):
            yield _placed(sample, 1, f"the opening token {token} is doubled", "P1")
        yield from _system_again(sample, batch)


def _system_again(sample: Span, batch: BatchSamples) -> Iterator[Problem]:
    """A system turn behind others, above all the same a second time: another sample begins there, and nothing says
    so."""
    start, end, ids = batch.profile.turn_start, batch.profile.turn_end, sample.ids
    if start is None or end is None:
        return
    inner = [at for at in np.flatnonzero(ids[:-1] == start).tolist() if at and ids[at + 1] == SYSTEM]
    ends = np.flatnonzero(ids == end)
    size = int(ends[0]) + 1 if ends.size and ids[0] == start and ids[1] == SYSTEM else 0
    for at in inner:
        if size >= LEAST_SYSTEM and np.array_equal(ids[at : at + size], ids[:size]):
            text = "the system turn stands a second time in one segment: it holds two samples, and one sees the other"
            yield _placed(sample, at, text, "P1")
            return
    if inner:
        text = "a system turn stands behind others in one segment: if two samples meet there, one sees the other"
        yield _placed(sample, inner[0], text, "P2")


def begun_at_a_turn(batch: BatchSamples, ledger: Ledger) -> Iterator[Problem]:
    """No sample begins behind the opening of its turn. Counts samples that have turns."""
    start, end = batch.profile.turn_start, batch.profile.turn_end
    if start is None or end is None:
        raise Undecided(f"the profile {batch.profile.name} knows no tokens of turns")
    usual = any(len(s.ids) and s.ids[0] == start for s in batch.samples)
    for sample in batch.samples:
        starts, ends = np.flatnonzero(sample.ids == start), np.flatnonzero(sample.ids == end)
        if not ends.size or not (starts.size or usual):
            continue
        ledger.judged()
        if not starts.size or ends[0] < starts[0]:
            text = "a sample begins in the middle of a turn: it ends one that it does not open"
            supervised = _supervised(sample, batch)[1 : int(ends[0])]
            if supervised.size and supervised.all():
                text = "a sample begins in the middle of an answer: it ends a turn that it does not open"
            yield _placed(sample, 0, text, "P1")
    ledger.left_out("samples that are cut at their end", "needs the samples")


def _at_first(span: Span, wrong: Any, text: str, severity: Severity | None = None) -> Iterator[Problem]:
    if wrong.any():
        yield _placed(span, int(wrong.argmax()), text, severity)


def _placed(span: Span, token: int, text: str, severity: Severity | None = None) -> Problem:
    at = span.first + token
    place = "" if span.row is None else f"row {span.row}, "
    return Problem(f"{text} ({place}token {at})", token=at, severity=severity)
