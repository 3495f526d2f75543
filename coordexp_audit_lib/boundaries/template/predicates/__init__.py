"""What must be true of a vocabulary and of one encoded sample. Pure functions of what was answered or is at hand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec

from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.kit import tokenizer
from coordexp_audit_lib.kit.profile import Profile
from coordexp_audit_lib.kit.prompt_trace import Trace, first_difference


class Rendered(msgspec.Struct, frozen=True):
    """A prompt as it is rendered, and as it was pinned. name: of the prompt."""

    made: Trace
    pinned: Trace
    name: str


def pinned_problems(one: Rendered, ledger: Ledger) -> Iterator[Problem]:
    """The rendered prompt is the pinned one, token for token. Counts prompts that say something."""
    ledger.judged(one.made.length > 0)
    at = first_difference(one.made, one.pinned)
    if at is not None:
        text = f"the prompt {one.name} differs from the pinned one from token {at} on"
        expected, actual = ({"tokens": t.length, "digest": t.digest} for t in (one.pinned, one.made))
        yield Problem(text, token=at, expected=expected, actual=actual)


class Continued(msgspec.Struct, frozen=True):
    """A prompt on both sides: as it is generated from, and as teacher forcing has it.

    teacher_forced: of the whole sequence, as many ids as generated. answer_at: where its answer begins (0-based). name:
    of the prompt.
    """

    generated: Trace
    teacher_forced: Trace
    answer_at: int
    name: str


def prefix_problems(one: Continued, ledger: Ledger) -> Iterator[Problem]:
    """What is generated from is what teacher forcing puts before the answer. Counts prompts that say something."""
    generated, answer_at = one.generated, one.answer_at
    ledger.judged(generated.length > 0)
    at = first_difference(generated, one.teacher_forced)
    if at is None and answer_at != generated.length:
        at = min(answer_at, generated.length)
    if at is not None:
        text = f"under the prompt {one.name} the ids generated from are no prefix of the teacher-forced ones"
        expected, actual = ({"prompt tokens": n} for n in (answer_at, generated.length))
        yield Problem(f"{text}: they part at token {at}", token=at, expected=expected, actual=actual)


class Tokens(msgspec.Struct, frozen=True):
    """A tokenizer at hand.

    coordinates: ids of the bins from 0 on. texts: the ids of a text, and the bins that stand in it, in order.
    fingerprint: of its whole vocabulary. pinned: the fingerprint that it is pinned to. last: the largest id. rows: of
    the model's embedding.
    """

    coordinates: Sequence[int]
    texts: Sequence[tuple[Sequence[int], Sequence[int]]]
    fingerprint: str
    last: int
    pinned: str | None = None
    rows: int | None = None


def atomic(one: Tokens, ledger: Ledger) -> Iterator[Problem]:
    """Each coordinate token is one id, listed and in every text. Counts the vocabulary and the texts."""
    ledger.judged(1 + len(one.texts))
    yield from coordinate_problems(one.coordinates, one.texts)


def fits(one: Tokens, ledger: Ledger) -> Iterator[Problem]:
    """The vocabulary is the pinned one, and no id is beyond the model's rows; counts which of the two are known."""
    if one.pinned is None:
        ledger.left_out("the vocabulary", "needs the fingerprint that it is pinned to")
    else:
        ledger.judged()
        yield from vocabulary_problems(one.fingerprint, one.pinned, "the pinned")
    if one.rows is None:
        ledger.left_out("the model's rows", "needs how many there are")
    else:
        ledger.judged()
        yield from rows_problems(one.last, one.rows)


def vocabulary_fingerprint(tokens: Sequence[str]) -> str:
    """One digest of a whole vocabulary. tokens: in the order of their ids."""
    return hashlib.sha256("\n".join(tokens).encode("utf-8", "surrogatepass")).hexdigest()


def vocabulary_problems(ours: str, theirs: str, whose: str) -> Iterator[Problem]:
    """Two vocabularies, told by their fingerprints, agree on every id."""
    if ours != theirs:
        text = f"{whose} vocabulary has fingerprint {theirs[:8]}, the learner's {ours[:8]}"
        yield Problem(text, "", theirs, ours)


def rows_problems(last_id: int, rows: int) -> Iterator[Problem]:
    """The embedding has a row for every id."""
    if last_id >= rows:
        text = f"the tokenizer has ids up to {last_id}, the model {rows} rows"
        yield Problem(text, token=last_id, expected=f"> {last_id}", actual=rows)


def coordinate_problems(ids: Sequence[int], texts: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Iterator[Problem]:
    """Each coordinate token has an id of its own and is encoded as that one id.

    Args:
        ids: of the bins from 0 on. texts: the ids of a text, and the bins that stand in it, in order.
    """
    if len(ids) != tokenizer.COORD_BINS or len(set(ids)) != len(ids) or min(ids) < 0:
        yield Problem("the coordinate tokens do not have 1000 distinct ids", "", 1000, len({i for i in ids if i >= 0}))
        return
    bin_of = {token: k for k, token in enumerate(ids)}
    for number, (encoded, bins) in enumerate(texts):
        found = [bin_of[t] for t in encoded if t in bin_of]
        if found != list(bins):
            pairs = enumerate(zip(found, bins, strict=False))
            at = next((i for i, (a, b) in pairs if a != b), min(len(found), len(bins)))
            text = f"coordinate token {bins[at] if at < len(bins) else None} is not one id in text {number}"
            yield Problem(text, token=at, expected=list(bins)[:20], actual=found[:20])


def label_problems(
    ids: Sequence[int], labels: Sequence[int], profile: Profile, header: Sequence[int]
) -> Iterator[Problem]:
    """Exactly the assistant turns are supervised, each up to its one end and perhaps the newline after it.

    Args:
        ids, labels: of one sample [n], labels not shifted. header: the ids that open an assistant's turn.
    """
    if len(ids) != len(labels):
        yield Problem("labels and ids differ in length", "", len(ids), len(labels))
        return
    turns = assistant_turns(ids, profile, header)
    yield from _turn_problems(ids, turns, profile)
    last, ignored = len(ids) - 1, profile.ignore_index
    wanted = {i for start, end in turns for i in range(start, (last if end is None else end) + 1)}
    # The newline after a turn's end may be supervised or not.
    free = {end + 1 for _, end in turns if end is not None and end < last and ids[end + 1] != profile.turn_start}
    for i, (token, label) in enumerate(zip(ids, labels, strict=True)):
        if label not in (ignored, token):
            yield Problem("a label is not its own token", token=i, expected=token, actual=label)
        elif label != ignored and i not in wanted and i not in free:
            yield Problem("a token outside the assistant turn is supervised", token=i, expected=ignored, actual=label)
        elif label == ignored and i in wanted:
            yield Problem("a token of the assistant turn is not supervised", token=i, expected=token, actual=label)
        else:
            continue
        return


def _turn_problems(ids: Sequence[int], turns: Sequence[tuple[int, int | None]], profile: Profile) -> Iterator[Problem]:
    if not turns:
        yield Problem("there is no assistant turn")
    for _, end in turns:
        if end is None:
            yield Problem("the assistant turn does not end with <|im_end|>", token=len(ids) - 1)
        elif end + 1 < len(ids) and ids[end + 1] == profile.turn_end:
            yield Problem("the assistant turn ends with more than one <|im_end|>", token=end + 1)


def assistant_turns(ids: Sequence[int], profile: Profile, header: Sequence[int]) -> list[tuple[int, int | None]]:
    """Where each assistant turn's text begins, and its end token; null where the ids stop before it.

    Raises:
        Undecided: the profile knows no end token.
    """
    if profile.turn_end is None:
        raise Undecided(f"the profile {profile.name} knows no token that ends a turn")
    found: list[tuple[int, int | None]] = []
    for i in range(len(ids) - len(header) + 1):
        if list(ids[i : i + len(header)]) == list(header):
            start = i + len(header)
            found.append((start, next((j for j in range(start, len(ids)) if ids[j] == profile.turn_end), None)))
    return found


def rest_problems(ids: Sequence[int], ends: int | None, profile: Profile, header: Sequence[int]) -> Iterator[Problem]:
    """Nothing of an answer stands behind the end of its turn. ends: of turns, as many as the ids should have."""
    if ends is None or ids.count(profile.turn_end) <= ends:
        return
    turns = assistant_turns(ids, profile, header)
    end = turns[-1][1] if turns else None
    if end is not None:
        rest = len(ids) - 1 - end
        text = f"the turn ends there, and the {rest} tokens behind it are of no turn and not supervised"
        yield Problem(text, token=end, expected=ends, actual=ids.count(profile.turn_end))


def pad_problems(
    ids: Sequence[int], labels: Sequence[int], sample: Sequence[int], pad: int, ignored: int
) -> Iterator[Problem]:
    """A row of a padded batch: the sample's ids at one end, pads at the other, no pad supervised.

    Args:
        ids, labels: of the row [longest]. sample: the sample's ids [n]. pad: the id that fills up. ignored: the label
            that is not supervised.
    """
    rest = len(ids) - len(sample)
    before = rest if rest > 0 and list(ids[:rest]) == [pad] * rest else 0
    if list(ids[before : before + len(sample)]) != list(sample):
        yield Problem("a padded row does not hold its sample's ids")
        return
    for i in (*range(before), *range(before + len(sample), len(ids))):
        if ids[i] != pad or labels[i] != ignored:
            yield Problem("a pad is supervised", token=i, expected=ignored, actual=labels[i])
            return


def grid_problems(
    ids: Sequence[int], grid: Sequence[Sequence[int]], profile: Profile, sizes: Sequence[tuple[int, int]] | None = None
) -> Iterator[Problem]:
    """Each run of image pads, between start and end token, is as long as its grid; grids in the order of `sizes`.

    Args:
        ids: of one sample [n]. grid: (t, h, w) in patches for each image. sizes: (width, height) in pixels.

    Raises:
        Undecided: the profile does not know the image token or, with `sizes`, the size of a patch.
    """
    patch = profile.patch_size
    if profile.image_pad is None or (sizes is not None and not patch):
        raise Undecided(f"the profile {profile.name} does not know the image token and the size of a patch")
    if sizes is not None and patch:
        wanted = [[1, h // patch, w // patch] for w, h in sizes]
        if [list(g) for g in grid] != wanted:
            yield Problem("the grids are not those of the pictures, in order", "", wanted, [list(g) for g in grid])
            return
    runs = image_runs(ids, profile.image_pad)
    if len(runs) != len(grid):
        yield Problem("there are not as many runs of image pads as grids", "", len(grid), len(runs))
        return
    for (start, length), one in zip(runs, grid, strict=True):
        cells = profile.merged(one)
        if length != cells:
            text = "an image has another number of pads than its grid"
            yield Problem(text, token=start, expected=cells, actual=length)
        elif [*ids[start - 1 : start], *ids[start + length :][:1]] != [profile.vision_start, profile.vision_end]:
            yield Problem("an image's pads do not stand between <|vision_start|> and <|vision_end|>", token=start)


def image_runs(ids: Sequence[int], image_pad: int | None) -> list[tuple[int, int]]:
    """Start and length of each unbroken run of image pads."""
    found, at = [], 0
    for pad, run in groupby(ids, key=lambda t: t == image_pad):
        length = len(list(run))
        if pad:
            found.append((at, length))
        at += length
    return found
