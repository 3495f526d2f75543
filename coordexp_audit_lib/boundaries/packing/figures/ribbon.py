"""The token ribbon of a batch: role, supervision, segment and positions of each token, as a figure and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.artifact.rows import Part
from coordexp_audit_lib.kit.mrope import runs
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.style import (
    BLUE,
    DIM,
    EDGE,
    GREEN,
    GREY,
    LIGHT,
    ORANGE,
    PALE,
    SKY,
    VERMILION,
    WHITE,
    legend,
    spare,
)

ROLES = ("prompt and markup", "image pads", "assistant text", "coordinate tokens", "padding")
ROLE_COLOURS = (LIGHT, SKY, BLUE, ORANGE, WHITE)
SIGNS = ".#oc "  # on a terminal, by role
MOST_ROWS, MOST_NUMBERED = 12, 60
Data = dict[str, Any]


def of_row(row: PackedRow) -> Data:
    """One row of a batch, token by token; positions that are not there are None. Empty where it has no tokens."""
    ids, labels, text, mrope = row.flat("input_ids"), row.labels, row.text_positions, row.mrope
    if ids is None:
        return {}
    supervised = np.zeros(ids.size, bool) if labels is None else labels != row.profile.ignore_index
    starts = [int(s) for s in row.segments] or [0]
    return {
        "roles": _roles(row, supervised).tolist(),
        "supervised": supervised.astype(int).tolist(),
        "starts": starts,
        "ends": [*starts[1:], row.length or 0],
        "text_positions": None if text is None else text.tolist(),
        "mrope": None if mrope is None else mrope.tolist(),
    }


def _roles(row: PackedRow, supervised: Any) -> Any:
    """Index into `ROLES` of each token."""
    ids, p = row.tensors["input_ids"].reshape(-1), row.profile
    first = p.first_coordinate
    coordinate = np.zeros(ids.size, bool) if first is None else (ids >= first) & (ids < first + p.coordinates)
    made = np.where(supervised, np.where(coordinate, 3, 2), 0)
    made[(ids == p.image_pad) | (ids == p.video_pad)] = 1
    made[(ids == p.pad) | (np.arange(ids.size) >= row.padding)] = 4
    return made


def segments(data: Data, row: PackedRow) -> list[dict[str, int]]:
    """What each segment holds."""
    supervised, pads = np.array(data["supervised"]), row.tensors["input_ids"].reshape(-1) == row.profile.image_pad
    return [
        {
            "segment": i,
            "start": a,
            "tokens": b - a,
            "supervised": int(supervised[a:b].sum()),
            "runs": len(runs(supervised[a:b] != 0)[0]),
            "image pads": int(pads[a:b].sum()),
        }
        for i, (a, b) in enumerate(zip(data["starts"], data["ends"], strict=True))
    ]


def lines(parts: Sequence[Part], marks: Mapping[int, Sequence[int]], width: int) -> list[str]:
    """The ribbon as text: three lines for each row, each column some tokens, with the sign that most of them have.

    Args:
        marks: by row, tokens at which something is wrong. width: columns.
    """
    made = []
    for part in parts[:MOST_ROWS]:
        data = of_row(part.row)
        if not data:
            continue
        count = len(data["roles"])
        columns = min(width, count)
        at = np.arange(count) * columns // count
        wrong = [t - part.first for t in marks.get(part.number or 0, ()) if 0 <= t - part.first < count]
        name = "" if part.number is None else f"row {part.number}: "
        told = f"{count} tokens, {len(data['starts'])} segments, {sum(data['supervised'])} supervised"
        made.append(f"{name}{told}{f', wrong at {wrong[0] + part.first}' if wrong else ''}")
        made.append(_most(at, columns, np.array(data["roles"])))
        made.append(_places(at, columns, data["starts"], wrong))
    if len(parts) > MOST_ROWS:
        made.append(f"and {len(parts) - MOST_ROWS} more rows")
    signs = "  ".join(f"{s} {r}" for s, r in zip(SIGNS, ROLES, strict=True) if s.strip())
    return [*made, f"{signs}  | a segment begins  ! something is wrong"] if made else []


def _most(at: Any, columns: int, roles: Any) -> str:
    """For each column the sign of the role that most of its tokens have. at: the column of each token."""
    counts = np.zeros((columns, len(ROLES)), int)
    np.add.at(counts, (at, roles), 1)
    return "".join(SIGNS[role] for role in counts.argmax(axis=1))


def _places(at: Any, columns: int, starts: Sequence[int], wrong: Sequence[int]) -> str:
    """Where segments begin, and where something is wrong."""
    made = [" "] * columns
    for sign, tokens in (("|", starts), ("!", wrong)):
        for token in tokens:
            made[int(at[min(token, len(at) - 1)])] = sign
    return "".join(made).rstrip()


@figure(
    "packing.ribbon",
    lambda data, wrong=(): (
        f"A packed batch of {len(data['roles'])} tokens and {len(data['starts'])} segments, as the collator gives "
        "it: roles, supervised labels and segments, "
        "and the positions under them. Positions start again with each segment, and no label stands across a border."
    ),
    "Three strips along the token index (role, label, segment), and under them curves of the text and mRoPE positions.",
    main=True,
)
def draw_ribbon(data: Data, wrong: Sequence[int] = ()) -> Any:
    """Strips of role, supervision and segment over the positions, along the token index. wrong: tokens to mark."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    heights = (0.55, 0.3, 0.3, 1.6)
    figure, axes = plt.subplots(4, 1, figsize=(7.0, 3.6), height_ratios=heights, sharex=True, layout="constrained")
    _strips(axes[:3], data)
    few = len(data["starts"]) <= MOST_NUMBERED  # lines of more would hide what they part
    if few:
        for k, (a, b) in enumerate(zip(data["starts"], data["ends"], strict=True)):
            _ = axes[2].text((a + b) / 2, 0.5, str(k), ha="center", va="center", fontsize=7, color="white")
    _positions(axes[3], data)
    for axis in axes:
        for start in data["starts"][1:] if few else ():
            _ = axis.axvline(start, color="black", linewidth=0.8)
        for token in wrong:
            _ = axis.axvline(token + 0.5, color=VERMILION, linewidth=1.2, linestyle=":")
    present = sorted(set(data["roles"]))
    patches = [Patch(facecolor=ROLE_COLOURS[r], edgecolor=EDGE, label=ROLES[r], linewidth=0.4) for r in present]
    patches.append(Patch(facecolor=VERMILION, label="supervised label"))
    legend(figure, handles=patches, loc="outside upper center", ncols=len(patches), fontsize=7)
    spare(axes[3])
    return figure


def _strips(axes: Any, data: Data) -> None:
    """Strips as stretches of one colour: vectors, however many tokens there are."""
    numbers = [k % 2 for k, (a, b) in enumerate(zip(data["starts"], data["ends"], strict=True)) for _ in range(b - a)]
    strips = (
        ("role", data["roles"], ROLE_COLOURS),
        ("label", data["supervised"], (PALE, VERMILION)),
        ("segment", numbers, (GREY, DIM)),
    )
    for axis, (name, values, colours) in zip(axes, strips, strict=True):
        _stretches(axis, values, colours)
        _ = axis.set(xlim=(0, len(values)), ylim=(0, 1))
        _ = axis.set_yticks([0.5], [name])
        axis.tick_params(axis="both", length=0)


def _stretches(axis: Any, values: Sequence[int], colours: Sequence[str], top: float = 1.0, bottom: float = 0.0) -> None:
    """Draw each unbroken run of a value in the value's colour, token 0 at 0."""
    places = np.flatnonzero(np.diff(np.array(values, int), prepend=-2)).tolist()
    for value, colour in enumerate(colours):
        spans = [(a, b - a) for a, b in zip(places, [*places[1:], len(values)], strict=True) if values[a] == value]
        if spans:
            axis.broken_barh(spans, (bottom, top - bottom), facecolor=colour, linewidth=0)


def _positions(axis: Any, data: Data) -> None:
    """The rows of positions that are there."""
    n = len(data["roles"])
    centres = [i + 0.5 for i in range(n)]
    for name, row, colour, dashes in (("width", 2, GREEN, ":"), ("height", 1, ORANGE, "--"), ("temporal", 0, SKY, "-")):
        if data["mrope"] is not None:
            look = {"color": colour, "linestyle": dashes, "linewidth": 1.1}
            _ = axis.plot(centres, data["mrope"][row], label=f"mRoPE {name}", **look)
    if data["text_positions"] is not None:
        _ = axis.plot(centres, data["text_positions"], color=BLUE, linewidth=1.1, label="text position")
    _ = axis.set(xlabel="token index", ylabel="position", xlim=(0, n), ylim=(0, None))
    if data["mrope"] is not None or data["text_positions"] is not None:
        _ = axis.legend(loc="upper right", ncols=2, fontsize=7, framealpha=1, edgecolor="white")


def draw_rows(parts: Sequence[Part], marks: Mapping[int, Sequence[int]]) -> Any:
    """The ribbon of a batch: of one row in full, of several the roles and labels of each."""
    import matplotlib.pyplot as plt

    shown = [(p, data) for p in parts[:MOST_ROWS] if (data := of_row(p.row))]
    if len(shown) == 1:
        part, data = shown[0]
        return draw_ribbon(data, [t - part.first for t in marks.get(part.number or 0, ())])
    figure, axes = plt.subplots(
        len(shown), 1, figsize=(7.0, 0.5 + 0.35 * len(shown)), layout="constrained", squeeze=False
    )
    longest = max(p.first + len(data["roles"]) for p, data in shown)
    for axis, (part, data) in zip(axes[:, 0], shown, strict=True):
        before = [-1] * part.first
        _stretches(axis, [*before, *data["roles"]], ROLE_COLOURS, 1.0, 0.5)
        _stretches(axis, [*before, *data["supervised"]], (PALE, VERMILION), 0.5, 0.0)
        _ = axis.set_ylim(0, 1)
        _ = axis.set_yticks([0.5], [f"row {part.number}"])
        _ = axis.set_xlim(0, longest)
        for token in marks.get(part.number or 0, ()):
            _ = axis.axvline(token + 0.5, color="black", linewidth=1.2, linestyle=":")
    return figure
