"""What must be true of a vocabulary and of one encoded sample. Pure functions of what was answered or is at hand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.template.trace import Trace, first_difference
from coordexp_audit_lib.kit import picture, tokenizer
from coordexp_audit_lib.kit.chat import IGNORE_INDEX


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong, at a token (0-based; null for the whole)."""

    message: str
    token: int | None = None
    expected: Any = None
    actual: Any = None


def pinned_problems(made: Trace, pinned: Trace, name: str) -> Iterator[Problem]:
    """The rendered prompt is the pinned one, token for token."""
    at = first_difference(made, pinned)
    if at is not None:
        yield Problem(
            f"the prompt {name} differs from the pinned one from token {at} on",
            at,
            {"tokens": pinned.length, "digest": pinned.digest},
            {"tokens": made.length, "digest": made.digest},
        )


def prefix_problems(generated: Trace, taught: Trace, answer_at: int, name: str) -> Iterator[Problem]:
    """What is generated from is what is taught, up to the answer. taught: as many ids of what is taught as generated.

    answer_at: where the answer begins in what is taught.
    """
    at = first_difference(generated, taught)
    if at is None and answer_at != generated.length:
        at = min(answer_at, generated.length)
    if at is not None:
        text = f"under the prompt {name} the ids generated from are no prefix of the teacher-forced ones: they part at "
        yield Problem(f"{text}token {at}", at, {"prompt tokens": answer_at}, {"prompt tokens": generated.length})


def vocabulary_fingerprint(tokens: Sequence[str]) -> str:
    """One digest of a whole vocabulary. tokens: in the order of their ids."""
    return hashlib.sha256("\n".join(tokens).encode("utf-8", "surrogatepass")).hexdigest()


def vocabulary_problems(ours: str, theirs: str, whose: str) -> Iterator[Problem]:
    """Two vocabularies, told by their fingerprints, agree on every id."""
    if ours != theirs:
        text = f"{whose} vocabulary has fingerprint {theirs[:8]}, the learner's {ours[:8]}"
        yield Problem(text, None, theirs, ours)


def rows_problems(last_id: int, rows: int) -> Iterator[Problem]:
    """The embedding has a row for every id."""
    if last_id >= rows:
        yield Problem(f"the tokenizer has ids up to {last_id}, the model {rows} rows", last_id, f"> {last_id}", rows)


@lru_cache(maxsize=1)
def assistant_header() -> tuple[int, ...]:
    return tuple(tokenizer.encode("<|im_start|>assistant\n"))


def coordinate_problems(ids: Sequence[int], texts: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Iterator[Problem]:
    """`ids` of bins 0 to 999; `texts`: the ids of a text, and the bins that stand in it."""
    if len(ids) != tokenizer.COORD_BINS or len(set(ids)) != len(ids) or min(ids) < 0:
        yield Problem(
            "the coordinate tokens do not have 1000 distinct ids", None, 1000, len({i for i in ids if i >= 0})
        )
        return
    bin_of = {token: k for k, token in enumerate(ids)}
    for number, (encoded, bins) in enumerate(texts):
        found = [bin_of[t] for t in encoded if t in bin_of]
        if found != list(bins):
            at = next(
                (i for i, (a, b) in enumerate(zip(found, bins, strict=False)) if a != b), min(len(found), len(bins))
            )
            lost = bins[at] if at < len(bins) else None
            yield Problem(f"coordinate token {lost} is not one id in text {number}", at, list(bins)[:20], found[:20])


def label_problems(ids: Sequence[int], labels: Sequence[int]) -> Iterator[Problem]:
    """Exactly the assistant turns are supervised, each up to its one `<|im_end|>` and perhaps the newline after it."""
    if len(ids) != len(labels):
        yield Problem("labels and ids differ in length", None, len(ids), len(labels))
        return
    turns = assistant_turns(ids)
    yield from _turn_problems(ids, turns)
    last = len(ids) - 1
    wanted = {i for start, end in turns for i in range(start, (last if end is None else end) + 1)}
    # The newline after a turn's end may be supervised or not.
    free = {end + 1 for _, end in turns if end is not None and end < last and ids[end + 1] != tokenizer.IM_START}
    for i, (token, label) in enumerate(zip(ids, labels, strict=True)):
        if label not in (IGNORE_INDEX, token):
            yield Problem("a label is not its own token", i, token, label)
        elif label != IGNORE_INDEX and i not in wanted and i not in free:
            yield Problem("a token outside the assistant turn is supervised", i, IGNORE_INDEX, label)
        elif label == IGNORE_INDEX and i in wanted:
            yield Problem("a token of the assistant turn is not supervised", i, token, label)
        else:
            continue
        return


def _turn_problems(ids: Sequence[int], turns: Sequence[tuple[int, int | None]]) -> Iterator[Problem]:
    if not turns:
        yield Problem("there is no assistant turn")
    for _, end in turns:
        if end is None:
            yield Problem("the assistant turn does not end with <|im_end|>", len(ids) - 1)
        elif end + 1 < len(ids) and ids[end + 1] == tokenizer.IM_END:
            yield Problem("the assistant turn ends with more than one <|im_end|>", end + 1)


def assistant_turns(ids: Sequence[int]) -> list[tuple[int, int | None]]:
    """Where each assistant turn's text begins, and its `<|im_end|>`; null where the ids stop before it."""
    header = assistant_header()
    found: list[tuple[int, int | None]] = []
    for i in range(len(ids) - len(header) + 1):
        if tuple(ids[i : i + len(header)]) == header:
            start = i + len(header)
            found.append((start, next((j for j in range(start, len(ids)) if ids[j] == tokenizer.IM_END), None)))
    return found


def pad_problems(ids: Sequence[int], labels: Sequence[int], alone: Sequence[int], pad: int) -> Iterator[Problem]:
    """A row of a padded batch: the sample's ids at one end, pads at the other, −100 on each pad."""
    rest = len(ids) - len(alone)
    before = rest if rest > 0 and list(ids[:rest]) == [pad] * rest else 0
    if list(ids[before : before + len(alone)]) != list(alone):
        yield Problem("a padded row does not hold its sample's ids")
        return
    for i in (*range(before), *range(before + len(alone), len(ids))):
        if ids[i] != pad or labels[i] != IGNORE_INDEX:
            yield Problem("a pad is supervised", i, IGNORE_INDEX, labels[i])
            return


def grid_problems(
    ids: Sequence[int], grid: Sequence[Sequence[int]], sizes: Sequence[tuple[int, int]] | None = None
) -> Iterator[Problem]:
    """Each run of image pads, between start and end token, is as long as its grid; grids in the order of `sizes`."""
    if sizes is not None:
        wanted = [[1, h // picture.PATCH, w // picture.PATCH] for w, h in sizes]
        if [list(g) for g in grid] != wanted:
            yield Problem("the grids are not those of the pictures, in order", None, wanted, [list(g) for g in grid])
            return
    runs = image_runs(ids)
    if len(runs) != len(grid):
        yield Problem("there are not as many runs of image pads as grids", None, len(grid), len(runs))
        return
    for (start, length), (t, h, w) in zip(runs, grid, strict=True):
        if length != t * h * w // picture.MERGE**2:
            yield Problem("an image has another number of pads than its grid", start, t * h * w // 4, length)
        elif ids[start - 1] != tokenizer.VISION_START or ids[start + length : start + length + 1] != [
            tokenizer.VISION_END
        ]:
            yield Problem("an image's pads do not stand between <|vision_start|> and <|vision_end|>", start)


def image_runs(ids: Sequence[int]) -> list[tuple[int, int]]:
    """Start and length of each unbroken run of image pads."""
    found, at = [], 0
    for pad, run in groupby(ids, key=lambda t: t == tokenizer.IMAGE_PAD):
        length = len(list(run))
        if pad:
            found.append((at, length))
        at += length
    return found
