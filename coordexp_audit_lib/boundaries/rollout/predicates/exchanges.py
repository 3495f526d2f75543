"""What a training batch must be when it was made of rollouts: the tokens that were sampled, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.finding import Severity
from coordexp_audit_lib.core.problem import Problem, Undecided

Array = npt.NDArray[Any]
TOLD: Severity = "P2"
ROUNDED, RELATIVE = 0.02, 0.01  # a log-probability may have gone through bfloat16
NEAR, TIMES, FEW = 0.1, 4, 8  # of another forward: how near its log-probabilities come, and how many tell a shift
CUT, ENDED = "length", "stop"


class Sampled(msgspec.Struct, frozen=True):
    """One sampled answer, as the server told it. ids: the sampled tokens. Of what it did not tell: None or "".

    finish: `length` where it was cut, `stop` where it ended. most: tokens that it might have had.
    """

    name: str
    ids: Array
    prompt: Array | None = None
    logprobs: Array | None = None
    finish: str = ""
    most: int | None = None
    temperature: float | None = None


class TrainedRow(msgspec.Struct, frozen=True):
    """One sequence of a batch. ids [n]. start: where its response begins, if the batch tells. supervised: [n] or None.
    logprobs: [n], NaN where there is none; own: they are of the trainer's model, not the server's. cut: the batch says
    that the answer was cut."""

    name: str
    ids: Array
    start: int | None = None
    supervised: Array | None = None
    logprobs: Array | None = None
    own: bool = False
    cut: bool | None = None


class Pair(msgspec.Struct, frozen=True):
    """A row and the answer that it was made of. at: where the answer begins in the row. sampled: [n], the tokens of the
    row that some answer of the exchange has there (a row may hold several turns)."""

    row: TrainedRow
    answer: Sampled
    at: int
    sampled: Array


class Exchanged(msgspec.Struct, frozen=True):
    """A batch and the exchange that it was made of. strangers: rows that no answer fits. temperature: at which the
    trainer takes log-probabilities, if that is known."""

    pairs: Sequence[Pair]
    answers: int = 0
    strangers: Sequence[str] = ()
    temperature: float | None = None


def prompts_agree(one: Exchanged, ledger: Ledger) -> Iterator[Problem]:
    """The row begins with the ids that the server generated from. Counts rows."""
    _some(one)
    for pair in one.pairs:
        prompt, ids = pair.answer.prompt, pair.row.ids
        if prompt is None:
            ledger.left_out(pair.row.name, "the exchange does not tell the prompt's ids")
            continue
        ledger.judged()
        told = pair.row.start
        own = ids[: pair.at]
        if np.array_equal(ids[: prompt.size], prompt) and (told is None or told <= prompt.size or pair.at != told):
            continue
        at = first_other(own, prompt)
        if np.array_equal(_collapsed(own), _collapsed(prompt)):
            text = f"{pair.row.name}: the prompts differ in how often a token repeats: one side expands its pictures"
            yield _problem(text, pair, prompt.size, own.size, severity=TOLD)
        else:
            text = f"{pair.row.name}: the prompt is not the one that the server generated from, at token {at}"
            yield _problem(text, pair, _token(prompt, at), _token(own, at), token=at)


def sampled_supervised(one: Exchanged, ledger: Ledger) -> Iterator[Problem]:
    """The response is the sampled ids, as far as the row holds it. Counts rows."""
    _some(one)
    for name in one.strangers[:1]:
        text = f"{len(one.strangers)} rows of the batch hold no answer of the exchange, {name} among them"
        yield Problem(text, name, "a sampled answer", "none", severity=TOLD)
    for pair in one.pairs:
        ledger.judged()
        ids = pair.answer.ids
        got = pair.row.ids[pair.at : pair.at + ids.size]
        at = first_other(got, ids[: got.size])
        if at < got.size:
            text = f"{pair.row.name}: the response is not the sampled ids, from its token {at} on"
            yield _problem(text, pair, _token(ids, at), _token(got, at), token=pair.at + at)
        elif not got.size and ids.size:
            yield _problem(f"{pair.row.name}: none of the sampled ids is there", pair, int(ids.size), 0)


def only_sampled(one: Exchanged, ledger: Ledger) -> Iterator[Problem]:
    """Nothing is supervised that nobody sampled. Counts rows."""
    _some(one)
    for pair in one.pairs:
        marks = pair.row.supervised
        if marks is None:
            ledger.left_out(pair.row.name, "the batch does not tell what is supervised")
            continue
        ledger.judged()
        strange = np.flatnonzero(marks & ~pair.sampled)
        before, behind = strange[strange < pair.at], strange[strange >= pair.at]
        if before.size:
            text = f"{pair.row.name}: {before.size} tokens before the first sampled one are supervised"
            yield _problem(text, pair, 0, int(before.size), token=int(before[0]))
        if behind.size and pair.answer.finish != CUT:
            text = f"{pair.row.name}: {behind.size} tokens behind the sampled ones are supervised"
            yield _problem(text, pair, 0, int(behind.size), token=int(behind[0]), severity=TOLD)


def logprobs_aligned(one: Exchanged, ledger: Ledger) -> Iterator[Problem]:
    """The mask is on where the sampled tokens are, and there stand their log-probabilities. Counts rows."""
    _some(one)
    for pair in one.pairs:
        given, marks, wanted = pair.row.logprobs, pair.row.supervised, pair.answer.logprobs
        by = _mask_shift(pair)
        if by:
            ledger.judged()
            text = f"{pair.row.name}: the mask stands one token {'late' if by > 0 else 'early'}"
            yield _problem(text, pair, pair.at, pair.at + by, token=pair.at)
            continue
        if given is None or marks is None or wanted is None:
            ledger.left_out(pair.row.name, "log-probabilities of both sides and a mask are needed")
            continue
        rest = marks[pair.at :]
        values = given[pair.at :][rest]
        if not values.size:
            ledger.left_out(pair.row.name, "its mask is off everywhere")
            continue
        chosen = wanted[np.flatnonzero(rest)[np.flatnonzero(rest) < wanted.size]]
        problem = _shifted(pair, values, chosen, ledger)
        if problem is not None:
            yield problem


def _mask_shift(pair: Pair) -> int:
    """+1 or -1 where the mask is on over the sampled tokens as if these began one later or one earlier."""
    marks, start, end = pair.row.supervised, pair.at, pair.at + pair.answer.ids.size
    if marks is None or end - start < 2 or not marks[start + 1 : end - 1].all():
        return 0
    outside = np.append(marks & ~pair.sampled, False)
    first, last = bool(marks[start]), bool(marks[end - 1 : end].all())
    if not first and last and outside[min(end, marks.size)]:
        return 1
    return -1 if first and not last and start > 0 and outside[start - 1] else 0


def _shifted(pair: Pair, values: Array, wanted: Array, ledger: Ledger) -> Problem | None:
    """What is wrong with the log-probabilities under a mask. values: the batch's; wanted: the server's."""
    size = min(values.size, wanted.size)
    away = {by: _away(values, wanted, by) for by in (0, 1, -1)}
    close = np.abs(values[:size] - wanted[:size]) <= ROUNDED + RELATIVE * np.abs(wanted[:size])
    near = bool(size) and bool(close.all())
    best = min((1, -1), key=lambda by: away[by])
    clearly = size >= FEW and away[best] < NEAR and away[0] > TIMES * max(away[best], ROUNDED)
    if near and values.size <= wanted.size:
        ledger.judged()
        return None
    if clearly:
        ledger.judged()
        text = f"{pair.row.name}: the log-probabilities stand one token {'late' if best > 0 else 'early'}"
        return _problem(text, pair, round(away[best], 4), round(away[0], 4))
    if pair.row.own or (near and values.size > wanted.size):
        if away[0] < NEAR:
            ledger.judged()
        else:
            ledger.left_out(pair.row.name, "the trainer's log-probabilities are its own")
        return None
    ledger.judged()
    at = int(np.argmax(~close)) if size else 0
    text = f"{pair.row.name}: the log-probabilities are not those of the sampled tokens, at token {at} of the response"
    return _problem(text, pair, round(float(wanted[at]), 4) if size else None, round(float(values[at]), 4))


def _away(values: Array, wanted: Array, by: int) -> float:
    """How far values are from what is wanted, on average, if they stood `by` tokens earlier."""
    a, b = (values[by:], wanted) if by >= 0 else (values, wanted[-by:])
    size = min(a.size, b.size)
    return float(np.abs(a[:size] - b[:size]).mean()) if size else float("inf")


def sampling_agrees(one: Exchanged, ledger: Ledger) -> Iterator[Problem]:
    """Temperature and cuts are the same on both sides. Counts rows of which one can be compared."""
    _some(one)
    for pair in one.pairs:
        answer, row = pair.answer, pair.row
        told = one.temperature is not None and answer.temperature is not None
        if not (told or answer.finish or answer.most is not None):
            ledger.left_out(row.name, "the exchange tells neither temperature nor why the answer ended")
            continue
        ledger.judged()
        if told and one.temperature != answer.temperature:
            text = f"{row.name}: sampled at another temperature than the trainer's"
            yield _problem(text, pair, one.temperature, answer.temperature)
        yield from _cut(pair)


def _cut(pair: Pair) -> Iterator[Problem]:
    answer, row = pair.answer, pair.row
    if answer.most is not None and answer.ids.size > answer.most:
        yield _problem(f"{row.name}: more tokens than were asked for", pair, answer.most, int(answer.ids.size))
    held = row.ids.size - pair.at
    if held < answer.ids.size:
        text = f"{row.name}: the batch cuts the answer where the server did not"
        yield _problem(text, pair, int(answer.ids.size), int(held))
    if row.cut is not None and answer.finish in (CUT, ENDED) and row.cut != (answer.finish == CUT):
        said = "was cut" if row.cut else "ended"
        text = f"{row.name}: the batch says that the answer {said}, the server says otherwise"
        yield _problem(text, pair, answer.finish, said)
    if answer.finish == CUT and row.supervised is not None:
        behind = np.flatnonzero(row.supervised[pair.at + answer.ids.size :])
        if behind.size:
            text = f"{row.name}: {behind.size} tokens are supervised behind an answer that was cut"
            yield _problem(text, pair, 0, int(behind.size), token=pair.at + answer.ids.size + int(behind[0]))


def first_other(a: Array, b: Array) -> int:
    """The first place at which two rows differ; the shorter one's length if there is none."""
    size = min(a.size, b.size)
    other = np.flatnonzero(a[:size] != b[:size])
    return int(other[0]) if other.size else size


def _some(one: Exchanged) -> None:
    if not one.pairs:
        why = "no row of the batch holds an answer of the exchange"
        raise Undecided(why if one.answers else "the exchange is empty")


def _collapsed(ids: Array) -> Array:
    """Runs of one token as one."""
    return ids[np.append(True, ids[1:] != ids[:-1])] if ids.size else ids


def _token(ids: Array, at: int) -> int | str:
    return int(ids[at]) if at < ids.size else "the end"


def _problem(
    text: str, pair: Pair, expected: Any, actual: Any, *, token: int | None = None, severity: Severity | None = None
) -> Problem:
    shown = {"row": pair.row.name, "answer": pair.answer.name}
    return Problem(text, pair.row.name, expected, actual, shown, token, severity=severity)
