"""Positions of a packed batch: the text row restarts with each segment, and the mRoPE rows are each sample's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from msgspec import structs

from coordexp_audit_lib.boundaries.packing.artifact import Array, PackedRow
from coordexp_audit_lib.boundaries.packing.artifact.row import OWN
from coordexp_audit_lib.boundaries.packing.artifact.rows import marked
from coordexp_audit_lib.boundaries.packing.predicates.batch import at_first, flawed, lacking, need, tokens_of
from coordexp_audit_lib.boundaries.packing.predicates.rows import by_row
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.kit import mrope
from coordexp_audit_lib.kit.profile import BUILT_IN, SECONDS

OF_POSITIONS = ("text positions", "mRoPE rows")
ROW_DIFFERS = "a row of position_ids is not that of the unpacked sample"
HARMLESS = (
    "By the rule that positions restart this is broken; by effect it is harmless, for rotary attention reads "
    "differences only, and no sample sees another"
)


@by_row
def positions_restart(row: PackedRow, ledger: Ledger) -> Iterator[Problem]:
    """Both halves of the claim; counts segments. Where the text row is wrong already, the mRoPE rows are not judged;
    where there is none, they can still break the claim, and count."""
    yield from flawed(row, ledger, "position_ids", "text_position_ids")
    missing = None
    try:
        found = list(text_row(row))
    except Undecided as error:
        found, missing = [], error
    else:
        ledger.judged(len(row.segments))
    yield from found or mrope_rows(row, ledger)
    alone = len(row.segments) == 1 and row.mrope is not None  # nothing in it restarts
    if missing is not None and not (found or row.kept_apart_by or alone):
        raise missing


def text_row(row: PackedRow) -> Iterator[Problem]:
    """Text positions count 0, 1, 2, … within each segment and restart at 0 in the next."""
    need(row)
    positions = row.text_positions
    if positions is None:
        raise lacking(row, "needs text_position_ids, or position_ids with a text row")
    given = positions[: row.padding]
    if row.copied_temporal:
        running = marked(positions.size, row.segments) & (positions != 0)
        yield from at_first(running, "text positions run on into the next segment", 0, positions)
        return
    if row.runs_on is not None:
        yield Problem(
            f"text positions run on over samples. {HARMLESS}",
            expected=0,
            actual=int(given[row.runs_on]),
            token=row.runs_on,
            severity="P2",
        )
        return
    going_on = np.concatenate([[0], given[:-1] + 1])
    text = "a text position neither continues its segment nor restarts at 0"
    yield from at_first((given != going_on) & (given != 0), text, going_on, given)
    running = marked(positions.size, row.segments) & (positions != 0)
    yield from at_first(running, "text positions run on into the next segment", 0, positions)
    told = [s for name, s in row.starts.items() if name in ("lengths", "cu_seq_lens_q")]
    if told:
        own, others = (marked(positions.size, a) for a in (row.starts["text positions"], np.concatenate(told)))
        extra = (own & ~others)[: row.padding]
        yield from at_first(extra, "text positions restart within a segment", going_on, 0)


def mrope_rows(row: PackedRow, ledger: Ledger) -> Iterator[Problem]:
    """The temporal, height and width rows equal those computed for each sample by itself from its tokens and grids."""
    profile, given, count = row.profile, row.position_rows, row.profile.mrope_rows
    ids = tokens_of(row)
    if profile.image_pad is None and "image_grid_thw" in row.tensors:
        raise lacking(row, "needs the profile: image_grid_thw is there and no image token that is known")
    pads = (ids == profile.image_pad) | (ids == profile.video_pad)
    pictured, end = bool(pads.any()), row.padding
    if given is None or len(given) not in {1, count, profile.position_rows}:
        if pictured:
            raise lacking(row, "needs position_ids with the mRoPE rows")
        if count:
            ledger.left_out("mRoPE rows", "needs position_ids")
        return
    if not count:
        return  # the family has a text row only
    ends = bounds(row, end)
    rows = given[-count:] if len(given) > 1 else np.repeat(given, count, axis=0)
    expected = _expected(row, ids[:end], ends, rows[:, :end])
    if row.text_positions is None:
        ledger.judged(len(ends) - 1)
    if len(given) == 1 and pictured:
        text = "position_ids has one row, so image tokens have no height and width"
        yield Problem(text, expected=count, actual=1, token=int(pads.argmax()))
        return
    yield from _rows_differ(row, rows, expected, ends)


def _expected(row: PackedRow, ids: Array, ends: list[int], given: Array) -> Array:
    """The rows of the samples by themselves [3, n]. Of several ways in which libraries count a video's frames the one
    that is given, if any is; where the family is not known, only then."""
    made: list[Array] = []
    known = bool(row.profile.videos) or "video_grid_thw" not in row.tensors
    families = (
        [row.profile] if known else [replace(BUILT_IN[n], name=row.profile.name) for n in ("qwen2_vl", "qwen2_5_vl")]
    )
    for family in families:
        for exact in (False, True) if family.videos == SECONDS else (False,):
            try:
                made.append(
                    mrope.positions(
                        ids,
                        family,
                        ends,
                        images=row.get("image_grid_thw"),
                        videos=row.get("video_grid_thw"),
                        seconds=row.get("second_per_grid_ts"),
                        exact=exact,
                    )
                )
            except mrope.Unfit as error:
                raise lacking(row, str(error)) from error
    fitting = next((m for m in made if np.array_equal(m, given)), None)
    if fitting is None and not known:
        return _as_it_counts(row, ids, ends, given)
    return made[0] if fitting is None else fitting


def _as_it_counts(row: PackedRow, ids: Array, ends: list[int], given: Array) -> Array:
    """The rows as a family has them that counts frames as the given rows do: by whole numbers, each video alike."""
    profile, grid = row.profile, row.tensors["video_grid_thw"]
    first, sizes = mrope.runs(ids == profile.video_pad)
    frames = np.minimum(grid[: first.size, 0], sizes)
    last = first + sizes - sizes // np.maximum(frames, 1)
    steps = (given[0, last] - given[0, first]) / np.maximum(frames - 1, 1)
    if steps.size != len(grid) or (steps != steps.astype(np.int64)).any() or (steps < 0).any():
        raise lacking(row, "needs the profile: families number a video's frames differently")
    counted = replace(BUILT_IN["qwen2_5_vl"], name=profile.name, tokens_per_second=1)
    made: Array = mrope.positions(ids, counted, ends, images=row.get("image_grid_thw"), videos=grid, seconds=steps)
    if np.array_equal(made, given):
        raise lacking(row, "needs the profile: families number a video's frames differently")
    return made


def _rows_differ(row: PackedRow, rows: Array, expected: Array, ends: list[int]) -> Iterator[Problem]:
    """Where mRoPE rows [3, L] are not those of the unpacked samples."""
    end = ends[-1]
    shifted = _run_on(row, rows[:, :end].astype(np.int64) - expected, ends)
    if shifted is not None:
        text = f"mRoPE rows run on over samples. {HARMLESS}"
        yield Problem(text, expected=0, actual=int(rows[0, shifted]), token=shifted, severity="P2")
        return
    for name, ours, theirs in zip(mrope.ROWS, expected, rows[:, :end], strict=True):
        text = f"the {name} row of position_ids is not that of the unpacked sample"
        yield from (structs.replace(p, kind=ROW_DIFFERS) for p in at_first(ours != theirs, text, ours, theirs))


def _run_on(row: PackedRow, offsets: Array, ends: list[int]) -> int | None:
    """The first token from which rows differ from the samples' own by one number for each sample, the same in all rows,
    where something that attention reads keeps the samples apart; None where they do not, or differ otherwise."""
    # A text row of its own tells the samples apart where the mRoPE rows run on; the one row of a text model does not.
    own_row = "text_position_ids" in row.tensors or len(row.tensors["position_ids"]) == row.profile.position_rows
    told = [n for n in row.kept_apart_by if n != "text positions" or (own_row and not row.copied_temporal)]
    if not told or not offsets.any():
        return None
    each = [offsets[:, a:b] for a, b in pairwise(ends)]
    if any((part != part[0, 0]).any() for part in each if part.size):
        return None
    return next((a for (a, _), part in zip(pairwise(ends), each, strict=True) if part.any()), None)


def bounds(row: PackedRow, end: int) -> list[int]:
    """First tokens of the samples, then the end, by the first of these that is there."""
    for name in (
        OWN,
        "lengths",
        "cu_seq_lens_padded",
        "cu_seq_lens_q",
        "attention_mask",
        "seq_idx",
        "document_ids",
        *OF_POSITIONS,
    ):
        if name in row.starts:
            return [*(int(s) for s in row.starts[name] if 0 <= s < end), end]
    return [0, end]
