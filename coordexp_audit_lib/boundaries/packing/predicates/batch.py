"""What a packed batch must be: one predicate per claim, `(row, ledger) -> problems`.

The audit, the guards and `coordexp-audit batch` judge with these. A predicate yields a `Problem` for each way in which
its claim fails, with the first token at which it shows; what the tensors can't decide is said, not passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing.artifact import Array, PackedRow
from coordexp_audit_lib.boundaries.packing.artifact.row import reading
from coordexp_audit_lib.boundaries.packing.artifact.rows import marked
from coordexp_audit_lib.boundaries.packing.predicates.rows import by_row
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem, Undecided


def need(row: PackedRow, *names: str) -> None:
    """Raise `Undecided` unless the batch is one row and has these tensors."""
    if row.rows != 1:
        raise Undecided(f"the batch has {row.rows} rows: it is not packed into one")
    if missing := row.missing(*names):
        raise lacking(row, f"needs {', '.join(missing)}")


def lacking(row: PackedRow, what: str) -> Undecided:
    """What is missing, and what is there but cannot be judged."""
    return Undecided(f"{what}; not usable: {', '.join(row.flaws)}" if row.flaws else what)


def flawed(row: PackedRow, ledger: Ledger, *names: str) -> Iterator[Problem]:
    """The problems of the tensors that cannot be judged; of all by default."""
    for name, problem in row.flaws.items():
        if not names or name in names:
            ledger.judged()
            yield problem


def tokens_of(row: PackedRow) -> Array:
    """`input_ids` [L] of a batch that is one row."""
    need(row, "input_ids")
    ids = row.flat("input_ids")
    if ids is None:
        raise lacking(row, "needs input_ids of the pack's length")
    return ids


def at_first(wrong: Array, text: str, expected: Any, actual: Any) -> Iterator[Problem]:
    """The first token at which `wrong` is true, with what is expected and found there: of arrays their entry."""
    if wrong.any():
        token = int(wrong.argmax())
        shown = [int(v[token]) if isinstance(v, np.ndarray) else v for v in (expected, actual)]
        yield Problem(text, expected=shown[0], actual=shown[1], token=token)


@by_row
def capacity(row: PackedRow, ledger: Ledger) -> Iterator[Problem]:
    """L ≤ `packing_length`; a single sample that is longer than that may stand by itself."""
    most = row.packing_length
    if most is None:
        raise lacking(row, "needs packing_length")
    if row.length is None:
        raise lacking(row, "needs input_ids")
    ledger.judged()
    if row.length > most and len(row.segments) != 1:
        yield Problem("the pack is longer than packing_length", expected=most, actual=row.length, token=most)


@by_row
def fields_aligned(row: PackedRow, ledger: Ledger) -> Iterator[Problem]:
    """Every token field has L entries, and every tensor that tells segment boundaries tells the same. Counts fields."""
    yield from flawed(row, ledger)
    need(row)
    if row.length is None or len(row.tensors) < 2:
        raise lacking(row, "needs input_ids and one field to align with it")
    one_row = row.text_positions is not None and not row.profile.mrope_rows
    for name in row.missing("input_ids", "labels", *(() if one_row else ("position_ids",))):
        ledger.left_out(name, "not in the batch")
    yield from _lengths_agree(row, ledger)
    told = _compared(row)
    names = list(told)
    if not names:
        ledger.left_out("segment boundaries", "needs one of cu_seq_lens_q, lengths or text positions")
    elif len(names) == 1:
        ledger.left_out("segment boundaries", f"{names[0]} alone tells them: nothing to compare")
    for name in names[1:]:
        token = _first_difference(told[names[0]], told[name])
        if token is not None:
            text = f"{name} and {names[0]} tell different segment boundaries{row.read_by}"
            yield Problem(text, expected=told[names[0]].tolist(), actual=told[name].tolist(), token=token)
    yield from _mask_parts_segments(row, ledger)
    inner = row.segments[row.segments > 0]
    told_to_model = "position_ids" in row.tensors or (row.whole and "seq_idx" not in row.tensors)
    if inner.size and not row.kept_apart_by and told_to_model:
        text = (
            f"samples see each other: {' and '.join(names)} alone tell them apart, and no attention kernel reads that"
        )
        wanted = "cu_seq_lens, a mask that numbers the samples, or a text row of positions"
        yield Problem(text, expected=wanted, actual=names, token=int(inner[0]))


def _compared(row: PackedRow) -> dict[str, Array]:
    """First tokens of the segments as each tensor tells them that is to agree with the others."""
    told = {name: starts[starts < row.padding] for name, starts in row.starts.items()}
    if row.kept_apart_by:  # what each sample's mRoPE rows are is asked by a claim of its own
        told.pop("mRoPE rows", None)
    if row.runs_on is not None:  # harmless, and told of the positions
        told.pop("text positions", None)
    masked = told.get("attention_mask")
    if masked is not None and any((marked(row.padding, t) & ~marked(row.padding, masked)).any() for t in told.values()):
        del told["attention_mask"]  # it lets samples see each other, which is told of the mask itself
    return told


FIELDS = ("input_ids", "labels", "text_position_ids", "position_ids", "attention_mask")


def _lengths_agree(row: PackedRow, ledger: Ledger) -> Iterator[Problem]:
    for name in (*FIELDS, *(n for n in ("mm_token_type_ids", "document_ids") if n in row.tensors)):
        a = row.get(name)
        other = a is not None and (a.ndim == 0 or a.shape[-1] != row.length)
        ledger.judged(a is not None and (other or name != "attention_mask" or bool(_mask_kind(row))))
        if a is not None and other:
            text = f"{name} has another length than the pack"
            yield Problem(text, expected=row.length, actual=list(a.shape))
    a, meant = row.get("position_ids"), sorted({1, row.profile.mrope_rows, row.profile.position_rows} - {0})
    if a is not None and a.ndim > 1 and a.shape[0] not in meant:
        text = "position_ids has a number of rows that means nothing"
        yield Problem(text, expected=meant, actual=int(a.shape[0]))


def _first_difference(a: Array, b: Array) -> int | None:
    if a.size == b.size and (a == b).all():
        return None
    low, high = min(a.min(initial=0), b.min(initial=0)), max(a.max(initial=0), b.max(initial=0))
    differs = np.flatnonzero(marked(int(high - low) + 1, a - low) != marked(int(high - low) + 1, b - low))
    return int(differs[0] + low) if differs.size else None


def _mask_kind(row: PackedRow) -> str:
    """How a mask of the pack's length is read: `flat`, a value for each token; `square`, token by token, of one or more
    heads. Empty where it is neither, so that nothing can be said of it."""
    mask = row.get("attention_mask")
    if mask is None or row.length is None:
        return ""
    if row.flat_mask is not None:
        return "flat"
    return "square" if mask.shape[-2:] == (row.length, row.length) else ""


def _mask_parts_segments(row: PackedRow, ledger: Ledger) -> Iterator[Problem]:
    """A mask must separate the segments: by zeros between them (square), by their numbers, or by not being there. A
    token of which the loss reads must see itself."""
    mask, kind = row.get("attention_mask"), _mask_kind(row)
    inner = row.segments[row.segments > 0]
    if mask is None or row.length is None or mask.shape[-1:] != (row.length,):
        return  # not there, or of another length, which is a problem of its own
    if not kind:
        ledger.left_out("attention_mask", f"a shape of {list(mask.shape)} is not judged")
    elif kind == "flat":
        flat = mask.reshape(-1)
        joined = inner[(flat[inner] == flat[inner - 1]) & (flat[inner] != 0)]
        if joined.size:
            text = "attention_mask lets a segment's first token see the segment before it"
            yield Problem(text, expected="masked", actual="visible", token=int(joined[0]))
        yield from _sees_itself(row, flat != 0)
    else:
        squares = mask.reshape(-1, row.length, row.length)
        visible = reading(mask)
        seeing = [t for square in squares if (t := _first_leak(row, square, inner, visible)) is not None]
        if seeing:
            text = "attention_mask lets a token see a segment before its own"
            yield Problem(text, expected="masked", actual="visible", token=min(seeing))
        diagonals = visible(np.diagonal(squares, axis1=1, axis2=2))
        yield from _sees_itself(row, np.asarray(diagonals.all(axis=0)))


def _first_leak(row: PackedRow, square: Array, inner: Array, visible: Callable[[Array], Array]) -> int | None:
    """The first token that sees one of an earlier segment."""
    for start, end in pairwise([*map(int, inner), row.padding]):
        seeing = visible(square[start:end, :start]).any(axis=1)
        if seeing.any():
            return start + int(seeing.argmax())
    return None


def _sees_itself(row: PackedRow, seen: Array) -> Iterator[Problem]:
    """seen: which tokens see themselves [L]. Those that nobody supervises or predicts from may be padding, unless all
    are hidden."""
    labels, read = row.labels, np.zeros(seen.size, bool)
    if labels is not None:
        read = labels != row.profile.ignore_index
        read[:-1] |= read[1:]
    hidden = ~seen & (read | (not seen.any()))
    if hidden.any():
        text = "attention_mask hides a token from itself"
        yield Problem(text, expected="visible", actual="masked", token=int(hidden.argmax()))


BOUNDS = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k")


def cu_seqlens(row: PackedRow, ledger: Ledger) -> Iterator[Problem]:
    """int32, from 0 to L, strictly increasing, the running sum of the lengths; `max_length` is the longest segment.
    Counts the segments that are bounded."""
    yield from flawed(row, ledger, *BOUNDS, "lengths")
    need(row, "cu_seq_lens_q")
    if row.length is None:
        raise lacking(row, "needs input_ids")
    for name in row.missing(*BOUNDS):
        ledger.left_out(name, "not in the batch")
    if "lengths" not in row.tensors and row.text_positions is None:
        ledger.left_out("the running sum of lengths", "needs lengths or text positions")
    q, k = row.tensors["cu_seq_lens_q"], row.get("cu_seq_lens_k")
    if "cu_seq_lens_padded" in row.tensors:
        yield from _padded(row, q, row.tensors["cu_seq_lens_padded"], ledger)
        return
    ledger.judged(int((q[:-1] < row.padding).sum()))
    yield from _one_cu("cu_seq_lens_q", q, row)
    if k is not None:
        yield from _one_cu("cu_seq_lens_k", k, row)
    if k is not None and not np.array_equal(q, k):
        yield Problem("cu_seq_lens_q and cu_seq_lens_k differ", expected=q.tolist(), actual=k.tolist())


def _padded(row: PackedRow, real: Array, places: Array, ledger: Ledger) -> Iterator[Problem]:
    """Padded THD: `cu_seq_lens_padded` places the sequences from 0 to L, `cu_seq_lens_q` counts their real tokens."""
    yield from _one_cu("cu_seq_lens_padded", places, row)
    for name, cu in (("cu_seq_lens_q", real), ("cu_seq_lens_k", row.get("cu_seq_lens_k"))):
        if cu is None:
            continue
        sizes, room = np.diff(cu.astype(np.int64)), np.diff(places.astype(np.int64))
        ledger.judged(len(room))
        if cu.dtype != np.int32:
            text = f"{name} is {cu.dtype}: attention kernels read int32"
            yield Problem(text, expected="int32", actual=str(cu.dtype))
        if sizes.size != room.size:
            text = f"{name} bounds {sizes.size} sequences, cu_seq_lens_padded {room.size}: it ends at {int(cu[-1])}"
            yield Problem(
                f"{text} of {row.length} tokens", expected=room.size, actual=int(sizes.size), token=int(cu[-1])
            )
        elif int(cu[0]) != 0 or (sizes <= 0).any() or (sizes > room).any():
            bad = int(((sizes <= 0) | (sizes > room)).argmax())
            text = f"{name} gives sequence {bad} {int(sizes[bad])} real tokens, and its place has {int(room[bad])}"
            yield Problem(text, expected=f"1 to {int(room[bad])}", actual=int(sizes[bad]), token=int(places[bad]))
        else:
            yield from _longest(row, name, int(sizes.max()))
            if name == "cu_seq_lens_q":
                yield from _behind(row, places.astype(np.int64), sizes)


def _longest(row: PackedRow, name: str, most: int) -> Iterator[Problem]:
    """Kernels read no further than `max_length`; a larger one costs time only."""
    longest = row.get("max_length_q" if name.endswith("q") else "max_length_k")
    if longest is not None and longest.size == 1 and int(longest.reshape(-1)[0]) < most:
        text = f"max_length is less than the longest sequence of {name}"
        yield Problem(text, expected=most, actual=int(longest.reshape(-1)[0]))


def _behind(row: PackedRow, places: Array, sizes: Array) -> Iterator[Problem]:
    """Behind the real tokens of a sequence stand pads, of one kind, and nothing that is supervised."""
    offset = np.arange(int(places[-1])) - np.repeat(places[:-1], np.diff(places))
    behind = offset >= np.repeat(sizes, np.diff(places))
    ids, labels = row.flat("input_ids"), row.labels
    if labels is not None and labels.size == behind.size:
        lost = behind & (labels != row.profile.ignore_index)
        if lost.any():
            text = "a supervised token stands behind the real tokens that cu_seq_lens_q counts of its sequence"
            yield Problem(text, "labels", expected="within", actual="behind", token=int(lost.argmax()))
    if ids is not None and ids.size == behind.size and behind.any():
        kinds, counts = np.unique(ids[behind], return_counts=True)
        other = behind & (ids != kinds[counts.argmax()])
        if other.any():
            text = "a token that is no pad stands behind the real tokens that cu_seq_lens_q counts of its sequence"
            pad, actual = int(kinds[counts.argmax()]), int(ids[int(other.argmax())])
            yield Problem(text, "input_ids", expected=pad, actual=actual, token=int(other.argmax()))


def _one_cu(name: str, cu: Array, row: PackedRow) -> Iterator[Problem]:
    if cu.dtype != np.int32:
        text = f"{name} is {cu.dtype}: attention kernels read int32"
        yield Problem(text, expected="int32", actual=str(cu.dtype))
    if cu.ndim != 1 or cu.size < 2:
        yield Problem(f"{name} bounds no segment", expected="[segments + 1]", actual=list(cu.shape))
        return
    first, last = int(cu[0]), int(cu[-1])
    if first != 0:
        yield Problem(f"{name} does not begin at 0", expected=0, actual=first, token=0)
    if last != row.length:
        text = f"{name} does not end at the number of tokens"
        yield Problem(text, expected=row.length, actual=last, token=last)
    sizes = np.diff(cu.astype(np.int64))
    if (sizes <= 0).any():
        token = int(cu[int((sizes <= 0).argmax())])
        yield Problem(f"{name} does not increase strictly", actual=cu.tolist(), token=token)
        return
    lengths = row.get("lengths")
    if lengths is not None and not np.array_equal(np.cumsum(lengths), cu[1 : lengths.size + 1]):
        ends = np.concatenate([[0], np.cumsum(lengths)])
        text = f"{name} is not the running sum of lengths"
        yield Problem(text, expected=ends.tolist(), actual=cu.tolist(), token=_first_difference(ends, cu))
    longest = row.get("max_length_q" if name.endswith("q") else "max_length_k")
    real = sizes[cu[:-1] < row.padding]
    if longest is not None and int(longest) not in (int(sizes.max()), int(real.max(initial=0))):
        text = f"max_length is not the longest segment of {name}"
        yield Problem(text, expected=int(sizes.max()), actual=int(longest))


@by_row
def no_cross_boundary_label(row: PackedRow, ledger: Ledger) -> Iterator[Problem]:
    """No label is predicted from another sample's context; labels are the samples' own, one after the other. Counts the
    labels that are supervised.

    The logits at token i−1 predict the (unshifted) label i, so a segment's first token must be ignored. Labels that are
    shifted already may end a segment with a token that its input no longer has, but not with the next one's first.
    """
    yield from flawed(row, ledger, "labels")
    need(row, "labels")
    labels, ignored, shift = row.labels, row.profile.ignore_index, row.profile.label_shift
    if labels is None or not (row.starts or "input_ids" in row.tensors):
        raise lacking(row, "needs labels of the pack's length, and one of cu_seq_lens_q, lengths or text positions")
    if not row.starts:
        ledger.left_out("labels at a sample's first token", "needs one of cu_seq_lens_q, lengths or text positions")
    ids, supervised = row.flat("input_ids"), labels != ignored
    ledger.judged(int(supervised.sum()))
    first = marked(len(labels), row.segments[row.segments > 0])
    crossed = first & supervised & (labels == ids if shift and ids is not None else True)
    text = "the first token of a segment is supervised: it would be predicted from the sample before it"
    yield from at_first(crossed, text, ignored, labels)
    if ids is None:
        ledger.left_out("whether labels are the tokens", "needs input_ids")
    else:
        how = "shifted by one, as the profile has it" if shift else "unshifted"
        text = f"a supervised label is not the token at its place (labels are {how})"
        yield from at_first(supervised & (labels != ids) & ~(first & bool(shift)), text, ids, labels)
    packed = row.flat("labels")
    if row.places and all(s.labels is not None for s in row.samples):
        yield from _own_labels(row, labels)
    elif row.samples and packed is not None and all(s.labels is not None for s in row.samples):
        yield from _concatenated("labels", packed, [s.labels for s in row.samples], row.padding, ignored)
    else:
        ledger.left_out("which tokens each sample supervises", "needs the samples")


def _own_labels(row: PackedRow, labels: Array) -> Iterator[Problem]:
    """Each sample has its own labels where it stands; its first token, which nothing of its own predicts, may be left
    out. labels: of the batch [L], unshifted."""
    for sample, (_, at) in zip(row.samples, row.places, strict=True):
        own = np.asarray(sample.labels)
        differs = labels[at : at + own.size] != own
        if differs.size and (labels[at] == row.profile.ignore_index or row.profile.label_shift):
            differs[0] = False
        if differs.any():
            token = at + int(differs.argmax())
            text = f"labels of sample {sample.number} are not its own"
            yield Problem(text, expected=int(own[token - at]), actual=int(labels[token]), token=token)


def tokens_concatenated(row: PackedRow) -> Iterator[Problem]:
    """`input_ids` are the samples' own, one after the other."""
    ids = row.flat("input_ids")
    if ids is None:
        raise lacking(row, "needs input_ids")
    yield from _concatenated("input_ids", ids, [s.input_ids for s in row.samples], row.padding, None)


def _concatenated(name: str, packed: Array, parts: Sequence[Any], end: int, rest: int | None) -> Iterator[Problem]:
    joined = np.concatenate([np.asarray(p) for p in parts])
    kept = packed[: max(end, joined.size)]
    if joined.size != kept.size and not (joined.size < kept.size and end <= joined.size):
        text = f"{name} is not as long as the samples together"
        yield Problem(text, expected=int(joined.size), actual=int(kept.size))
    shared = min(joined.size, kept.size)
    text = f"{name} is not the concatenation of the samples' own"
    yield from at_first(joined[:shared] != kept[:shared], text, joined, kept)
    tail = packed[joined.size :]
    if rest is not None and tail.size and (tail != rest).any():
        token = int(joined.size + (tail != rest).argmax())
        yield Problem(f"{name} of padding is not ignored", expected=rest, token=token)
