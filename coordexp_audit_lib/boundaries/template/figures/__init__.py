"""What the notebook shows: a conversation as tokens, prompts beside teacher-forced ones, ids, images, the limit.

Exhibits ask the target and give numbers; what draws them adds nothing. Texts shown are our own; of the target's prompts
there are lengths and traces.
"""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.boundaries.template import cases
from coordexp_audit_lib.boundaries.template import surfaces as s
from coordexp_audit_lib.boundaries.template.predicates import image_runs
from coordexp_audit_lib.core.claim import Context, exhibit
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.kit import chat, tokenizer
from coordexp_audit_lib.kit.profile import QWEN3_VL, Profile
from coordexp_audit_lib.kit.prompt_trace import first_difference
from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.text import cut, visible

ROLES = ("markup", "prompt text", "image pad", "answer text", "coordinate token")
SHOWN = s.Record([("t-shirt.", [12, 34, 256, 480])])
WIDTHS = (64, 96, 64, 160, 192, 256, 320, 416, 512, 640, 768, 768)
HEIGHTS = (64, 64, 128, 96, 192, 160, 256, 320, 384, 480, 512, 1024)
SIZES = tuple(zip(WIDTHS, HEIGHTS, strict=True))
OBJECTS = (60, 180, 300, 420, 470, 490, 520, 560, 600)


@exhibit("template.conversation")
def conversation(ctx: Context) -> dict[str, Any]:
    """Our own record under prompts of our own, token by token: id, text, role, and whether it is supervised."""
    made, profile = ctx.value(s.ENCODE, _shown(ctx, [SHOWN])).unpacked[0], cases.profile(ctx)
    return {
        "ids": made.input_ids,
        "pieces": pieces(made.input_ids),
        "roles": roles(made, profile),
        "supervised": [int(y != profile.ignore_index) for y in made.labels],
        "grid": made.grid,
    }


def _shown(ctx: Context, records: list[s.Record]) -> s.EncodeRequest:
    order = ctx.contract.get("template.field_orders", cases.ORDERS)[0]
    return s.EncodeRequest(records, "Locate.", "List every object.", order)


def pieces(ids: list[int]) -> list[str]:
    """The text of each token by itself; part of a character shows as U+FFFD."""
    decode = tokenizer.qwen().decode
    return [decode([t], skip_special_tokens=False) for t in ids]


def roles(sample: s.Encoded, profile: Profile) -> list[int]:
    """Indices into `ROLES` for each token [n]. A turn's header, its end and the newline after it are markup."""
    ids, first, pad = sample.input_ids, profile.first_coordinate or 0, profile.pad or 0
    newline = tokenizer.encode("\n")[0]
    header = {newline, *(t for role in chat.ROLES for t in tokenizer.encode(role))}
    found = []
    for i, (token, label) in enumerate(zip(ids, sample.labels, strict=True)):
        opens = ids[i - 1 : i] == [profile.turn_start] or ids[max(0, i - 2) : i - 1] == [profile.turn_start]
        ends = ids[i - 1 : i] == [profile.turn_end] and token == newline
        if token == profile.image_pad:
            found.append(2)
        elif pad <= token < first or ends or (opens and token in header):
            found.append(0)
        elif label == profile.ignore_index:
            found.append(1)
        else:
            found.append(4 if token >= first else 3)
    return found


@exhibit("template.masks")
def masks(ctx: Context) -> dict[str, Any]:
    """Every record of the cases under the short prompt: runs of role and supervision along the sample."""
    (_, request), profile = next(cases.encode_requests(ctx.contract)), cases.profile(ctx)
    rows = []
    for record, made in zip(request.records, ctx.value(s.ENCODE, request).unpacked, strict=True):
        supervised = [i for i, y in enumerate(made.labels) if y != profile.ignore_index]
        rows.append(
            {
                "objects": len(record.objects),
                "pictures": len(record.pictures),
                "tokens": len(made.input_ids),
                "image pads": made.input_ids.count(profile.image_pad or 0),
                "supervised": len(supervised),
                "from": supervised[0],
                "to": supervised[-1],
                "roles": roles(made, profile),
                "flags": [int(y != profile.ignore_index) for y in made.labels],
            }
        )
    return {"records": rows}


@exhibit("template.prompts")
def shown_prompts(ctx: Context) -> dict[str, Any]:
    """For every prompt setting and backend: tokens generated from, teacher-forced ones, and shared ones."""
    rows = []
    for setting, request in cases.rollout_requests(ctx.contract):
        made = ctx.value(s.ROLLOUT, request)
        at = first_difference(made.generated, made.teacher_forced)
        rows.append(
            {
                "setting": setting,
                "backend": request.backend,
                "generated": made.generated.length,
                "teacher-forced": made.answer_at,
                "shared": made.generated.length if at is None else at,
                "digest": made.generated.digest,
            }
        )
    return {"rows": rows}


@exhibit("template.ids")
def ids(ctx: Context) -> dict[str, Any]:
    """The coordinate tokens' ids, the tokenizer's length, and the embedding's rows after the expansion."""
    base = ctx.contract["template.base_rows"]
    made = ctx.value(s.VOCABULARY, s.VocabularyRequest(base, []))
    offsets = sorted({token - k for k, token in enumerate(made.coord_ids)})
    sizes = {"length": made.length, "rows": made.rows, "base_rows": base, "ranks": tokenizer.RANKS}
    return {"coord_ids": made.coord_ids, "offsets": offsets, **sizes}


@exhibit("template.images")
def images(ctx: Context) -> dict[str, Any]:
    """Placeholders counted in the ids, and the grid, for pictures of many sizes; then three in one sample."""
    records = [s.Record(list(SHOWN.objects), (size,)) for size in SIZES]
    made, pad = ctx.value(s.ENCODE, _shown(ctx, records)).unpacked, cases.profile(ctx).image_pad
    rows = []
    for (width, height), sample in zip(SIZES, made, strict=True):
        (run,), (grid,) = image_runs(sample.input_ids, pad), sample.grid
        rows.append({"width": width, "height": height, "grid": grid, "pads": run[1], "tokens": len(sample.input_ids)})
    return {"rows": rows}


@exhibit("template.limit")
def limit(ctx: Context) -> dict[str, Any]:
    """What the config's limit does to samples of growing length: tokens encoded, answer tokens kept, or an error."""
    settings = ctx.value(s.SETTINGS, s.SettingsRequest(ctx.target.config_path(ctx.config)))
    if settings.max_length is None:
        raise SurfaceUnbound("the config sets no limit", where=s.SETTINGS.name)
    rows = []
    for objects in OBJECTS:
        whole = ctx.value(s.LIMIT, s.LimitRequest(objects, 1_000_000, "raise"))
        answer = ctx.ask(s.LIMIT, s.LimitRequest(objects, settings.max_length, settings.strategy))
        kept = answer.content
        rows.append(
            {
                "objects": objects,
                "tokens": whole.whole_length,
                "answer": whole.whole_answer,
                "encoded": kept.length if kept else 0,
                "kept": kept.answer if kept else 0,
                "error": answer.refused,
            }
        )
    return {"max_length": settings.max_length, "strategy": settings.strategy, "rows": rows}


FILLS = (style.LIGHT, style.WHITE, style.TINTS[style.BLUE], style.TINTS[style.GREEN], style.TINTS[style.ORANGE])
LINE, GAP, CHARACTER = 96.0, 0.6, 1.05


@figure(
    "template.conversation",
    "One training sample token by token, each with its id. The bar under a token says that it is supervised: the "
    "answer, its end of turn "
    "and the newline after it, and nothing before.",
    "Tokens in reading order, each a box coloured by role with its text and id; supervised ones are underlined.",
)
def draw_conversation(data: dict[str, Any]) -> Any:
    """Tokens in reading order, each a box with its text and id; a bar under those that are supervised."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    boxes = laid_out(data["pieces"], data["ids"])
    lines = 1 + max(b[2] for b in boxes)
    figure, axes = plt.subplots(figsize=(7.0, 0.42 * lines + 0.6), layout="constrained")
    for (left, width, line), piece, number, role, supervised in zip(
        boxes, shown(data["pieces"]), data["ids"], data["roles"], data["supervised"], strict=True
    ):
        _ = axes.add_patch(
            Rectangle((left, line + 0.08), width, 0.72, facecolor=FILLS[role], edgecolor=style.EDGE, linewidth=0.5)
        )
        if supervised:
            _ = axes.add_patch(Rectangle((left, line + 0.84), width, 0.08, facecolor=style.VERMILION, edgecolor="none"))
        middle = left + width / 2
        text: dict[str, Any] = {"ha": "center", "va": "center", "parse_math": False}
        _ = axes.text(middle, line + 0.32, piece, fontsize=5.8, family="DejaVu Sans Mono", **text)
        _ = axes.text(middle, line + 0.63, str(number), fontsize=4.6, color=style.DARK, **text)
    _ = axes.set(xlim=(0, LINE), ylim=(lines, 0))
    axes.set_axis_off()
    _legend(figure, {**dict(zip(ROLES, FILLS, strict=True)), "supervised": style.VERMILION}, edgecolor=style.EDGE)
    return figure


def shown(pieces: list[str]) -> list[str]:
    """Token texts that can be seen: blanks and newlines as signs, nothing that is not printable."""
    return [cut(visible(p.replace(" ", "␣").replace("\n", "↵")), 18) for p in pieces]


def laid_out(pieces: list[str], ids: list[int]) -> list[tuple[float, float, int]]:
    """Left edge, width and line of each token's box; lines are broken between tokens."""
    left, line, found = 0.0, 0, []
    for piece, number in zip(shown(pieces), ids, strict=True):
        width = CHARACTER * max(len(piece), 0.8 * len(str(number))) + 1.0
        if left and left + width > LINE:
            left, line = 0.0, line + 1
        found.append((left, width, line))
        left += width + GAP
    return found


@figure(
    "template.masks",
    "Every record of the cases from end to end: roles above, supervised labels below. The supervised stretch "
    "begins where the answer "
    "does and reaches the end of the turn.",
    "One strip a record, coloured by role, with a second strip under its supervised tokens.",
)
def draw_masks(data: dict[str, Any]) -> Any:
    """One strip of roles for each record, with the supervised stretch under it."""
    import matplotlib.pyplot as plt

    records = data["records"]
    colours = (style.EDGE, style.LIGHT, style.SKY, style.GREEN, style.ORANGE)
    figure, axes = plt.subplots(figsize=(7.0, 0.42 * len(records) + 1.0), layout="constrained")
    for y, record in enumerate(records):
        for start, end, role in runs(record["roles"]):
            _ = axes.barh(y - 0.08, end - start, left=start, height=0.5, color=colours[role], linewidth=0)
        for start, end, supervised in runs(record["flags"]):
            if supervised:
                _ = axes.barh(y + 0.28, end - start, left=start, height=0.14, color=style.VERMILION, linewidth=0)
    names = [f"{r['objects']} obj., {r['pictures']} img." for r in records]
    _ = axes.set_yticks(range(len(records)), names, fontsize=7)
    _ = axes.set(xlabel="token index", ylim=(len(records) - 0.4, -0.6), xlim=(0, max(r["tokens"] for r in records)))
    _tidy(axes, strips=True)
    _legend(figure, {**dict(zip(ROLES, colours, strict=True)), "supervised": style.VERMILION})
    return figure


def runs(values: list[int]) -> list[tuple[int, int, int]]:
    """Start, end (exclusive) and value of each unbroken run."""
    found: list[tuple[int, int, int]] = []
    for i, value in enumerate(values):
        if found and found[-1][2] == value:
            found[-1] = (found[-1][0], i + 1, value)
        else:
            found.append((i, i + 1, value))
    return found


@figure(
    "template.prompts",
    "What a rollout is generated from beside what the training row has in front of the answer. Where both are "
    "one colour to the end, "
    "the sampled tokens continue the very prompt that is trained on; where the colours part, they continue another.",
    "Pairs of bars for each prompt setting and backend: tokens that are shared from the start, and those of one "
    "side only.",
    main=True,
)
def draw_prompts(data: dict[str, Any]) -> Any:
    """What is generated from (upper bar) beside the teacher-forced prompt (lower bar), shared tokens in one colour."""
    import matplotlib.pyplot as plt

    rows = data["rows"]
    inks = (style.BLUE, style.VERMILION, style.ORANGE)
    figure, axes = plt.subplots(figsize=(7.0, 0.27 * len(rows) + 0.9), layout="constrained")
    for y, row in enumerate(rows):
        for offset, name, colour in ((-0.19, "generated", inks[1]), (0.19, "teacher-forced", inks[2])):
            _ = axes.barh(y + offset, row["shared"], height=0.3, color=inks[0], linewidth=0)
            rest = max(0, row[name] - row["shared"])
            _ = axes.barh(y + offset, rest, left=row["shared"], height=0.3, color=colour, linewidth=0)
        end = max(row["generated"], row["teacher-forced"])
        told = f"part at token {row['shared']}" if end > row["shared"] else "the same to the end"
        _ = axes.text(end + 4, y, told, va="center", fontsize=6.5, color=style.DARK)
    names = [f"{r['setting'].replace('/', ', ')}: {r['backend']}" for r in rows]
    _ = axes.set_yticks(range(len(rows)), names, fontsize=6.5)
    longest = max(max(r["generated"], r["teacher-forced"]) for r in rows)
    _ = axes.set(xlabel="prompt tokens", ylim=(len(rows) - 0.4, -0.6), xlim=(0, longest * 1.22))
    _tidy(axes, strips=True)
    names = ["shared from the start", "generated from only", "teacher-forced only"]
    _legend(figure, dict(zip(names, inks, strict=True)))
    return figure


@figure(
    "template.ids",
    lambda data: (
        f"The end of the vocabulary, and the ids of the {len(data['coord_ids'])} coordinate tokens over their "
        "bins. A straight line of slope one "
        "means that bin k is token k."
    ),
    "Above, a bar of byte pairs, control tokens and coordinate tokens with the rows of the embedding; below, id "
    "against bin.",
)
def draw_ids(data: dict[str, Any]) -> Any:
    """The end of the vocabulary as one bar, and the coordinate tokens' ids over their bins."""
    import matplotlib.pyplot as plt

    figure, (bar, plot) = plt.subplots(2, 1, figsize=(7.0, 2.9), height_ratios=(0.5, 1.6), layout="constrained")
    first, last, ranks = min(data["coord_ids"]), max(data["coord_ids"]), data["ranks"]
    start, stop = ranks - 120, max(data["rows"], data["length"], data["base_rows"]) + 40
    parts = (
        (start, ranks, style.SKY, "byte pairs"),
        (ranks, first, style.GREY, "control"),
        (first, last + 1, style.ORANGE, "coordinates"),
    )
    for left, right, colour, name in parts:
        _ = bar.barh(0, right - left, left=left, height=0.8, color=colour, linewidth=0)
        if name != "control":
            _ = bar.text((left + right) / 2, 0, name, ha="center", va="center", fontsize=7)
    for x, name, dashes in ((data["base_rows"], "rows before", ":"), (data["rows"], "rows after", "--")):
        _ = bar.axvline(x, color=style.VERMILION, linestyle=dashes, linewidth=1.2)
        _ = bar.text(x, 0.62, name, ha="right", va="bottom", fontsize=7, color=style.VERMILION)
    _ = bar.set(xlim=(start, stop), ylim=(-0.45, 1.1), yticks=[])
    bar.ticklabel_format(axis="x", style="plain", useOffset=False)
    _ = plot.plot(range(len(data["coord_ids"])), data["coord_ids"], color=style.BLUE, linewidth=1.4)
    _ = plot.set(xlabel="bin", ylabel="token id", xlim=(0, 999))
    plot.ticklabel_format(axis="y", style="plain", useOffset=False)
    _tidy(bar, strips=True)
    _tidy(plot)
    return figure


@figure(
    "template.images",
    "Image placeholders in the ids against cells of the merged grid. Off the line, vision features would be "
    "scattered over other tokens.",
    "Points along a diagonal, both axes logarithmic.",
)
def draw_images(data: dict[str, Any]) -> Any:
    """Placeholders counted in the ids against the cells of the merged grid, both axes logarithmic."""
    import matplotlib.pyplot as plt

    cells = [QWEN3_VL.merged(r["grid"]) for r in data["rows"]]
    pads = [r["pads"] for r in data["rows"]]
    figure, axes = plt.subplots(figsize=(3.6, 3.2), layout="constrained")
    ends = [min(cells) * 0.7, max(cells) * 1.5]
    _ = axes.plot(ends, ends, color=style.GREY, linewidth=1.0, label="t·h·w / 4")
    _ = axes.plot(cells, pads, linestyle="none", marker="o", markersize=4, color=style.BLUE, label="counted in the ids")
    _ = axes.set(xscale="log", yscale="log", xlabel="cells of the merged grid", ylabel="image placeholders")
    _ = axes.legend(fontsize=7, frameon=False, loc="upper left")
    _tidy(axes)
    return figure


@figure(
    "template.limit",
    lambda data: (
        f"What the limit of {data['max_length']} tokens does to samples that grow past it: encoded whole, cut, or "
        "refused. A cut answer trains "
        "the model to stop early."
    ),
    "Tokens encoded against tokens of the sample, with the limit as a dotted line.",
)
def draw_limit(data: dict[str, Any]) -> Any:
    """Encoded tokens over the sample's own length; where they part, the answer is cut."""
    import matplotlib.pyplot as plt

    rows, limit = data["rows"], data["max_length"]
    figure, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained")
    ends = [0, max(r["tokens"] for r in rows) * 1.03]
    _ = axes.plot(ends, ends, color=style.GREY, linewidth=1.0, label="whole sample")
    _ = axes.axhline(limit, color=style.INK, linestyle=":", linewidth=1.0)
    _ = axes.text(ends[1] * 0.02, limit, f"limit {limit}", va="bottom", fontsize=7)
    cut_short = [r for r in rows if 0 < r["kept"] < r["answer"]]
    groups = (
        ("encoded whole", style.BLUE, "o", [(r["tokens"], r["encoded"]) for r in rows if r["kept"] == r["answer"]]),
        ("answer cut", style.VERMILION, "X", [(r["tokens"], r["encoded"]) for r in cut_short]),
        ("error", style.GREEN, "s", [(r["tokens"], 0) for r in rows if r["error"]]),
    )
    for name, colour, marker, points in groups:
        if points:
            _ = axes.plot(*zip(*points, strict=True), linestyle="none", marker=marker, color=colour, label=name)
    _ = axes.set(xlabel="tokens of the sample", ylabel="tokens encoded", xlim=(0, ends[1]), ylim=(-400, ends[1]))
    _ = axes.legend(fontsize=7, frameon=False, loc="center left")
    _tidy(axes)
    return figure


def _legend(figure: Any, colours: dict[str, str], **edges: Any) -> None:
    """What each colour means, in one or two lines above the figure."""
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=colour, label=name, linewidth=0.5, **edges) for name, colour in colours.items()]
    _ = figure.legend(handles=patches, loc="outside upper center", ncols=6, fontsize=6.5, frameon=False)


def _tidy(axes: Any, strips: bool = False) -> None:
    """Small type, no box; no left edge either where the rows are strips."""
    axes.spines[["top", "right", "left"] if strips else ["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", **({"length": 0} if strips else {"labelsize": 7}))
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_fontsize(8)
