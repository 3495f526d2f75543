"""The rollout figures, data and drawing: a request and its response, a chunk plan, misdeeds, timelines; and the data of
two tables, seeds and collectives."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.rollout import cases, predicates
from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.core.claim import Context, exhibit
from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.text import visible
from coordexp_audit_lib.source.collectives import ScanRequest

SHOWN = s.Topology(9, [1, 2, 1], 3, 2)
STEP = s.DispatchRequest([s.Topology(8, [1, 1], 1, 2)], 42, 100, "train")
MISDEEDS = {
    "none": "none: a sound answer",
    "status_500": "status 500",
    "hang": "no answer in time",
    "no_reply": "closes without an answer",
    "cut_body": "body is cut",
    "not_json": "body is not JSON",
    "not_a_list": "JSON, but no list",
    "error_object": "an error object as item",
    "too_few": "one output too few",
    "too_many": "one output too many",
    "swapped": "outputs in reverse order",
    "no_prompt_token_ids": "prompt_token_ids missing",
    "no_token_ids": "token_ids missing",
    "no_choices": "choices missing",
}
Line = tuple[str, str]  # one line of JSON, and the note that stands beside it


@exhibit("rollout.exchange")
def exchange(ctx: Context) -> dict[str, Any]:
    """What is posted for one sample with an image, and how an item of the answer is read."""
    (talk,) = [t for t in cases.talks() if t.label == "two paths"]
    payload = ctx.value(s.PAYLOAD, s.PayloadRequest(talk.sample))
    item = cases.good_item()
    every = [c.item for c in cases.items()]
    read = ctx.value(s.PARSE, s.ParseRequest(every)).outcomes[0]
    config, messages = payload.config, [{"role": r, "content": c} for r, c in payload.turns]
    return {
        "request": [
            *_list("infer_requests[0].messages", messages, "ends with the user's turn"),
            *_list("infer_requests[0].images", payload.images[0], "paths or data URLs, never pixels"),
            *[(f"request_config.{k} = {_short(config[k])}", note) for k, note in CONFIG_NOTES.items() if k in config],
        ],
        "response": [
            (f"[0].prompt_token_ids = {_short(item['prompt_token_ids'])}", "must equal the prompt of the training row"),
            (f"[0].choices[0].token_ids = {_short(item['choices'][0]['token_ids'])}", "what is parsed and trained on"),
            (f"[0].choices[0].message.content = {_short(item['choices'][0]['message']['content'])}", "not trusted"),
            (f"[0].choices[0].finish_reason = {_short(item['choices'][0]['finish_reason'])}", ""),
        ],
        "read": {"prompt_token_ids": read.prompt_token_ids, "token_ids": read.token_ids, "error": read.error},
    }


CONFIG_NOTES = {
    "return_details": "else the answer has no token ids",
    "seed": "of the call's first request; the server counts on",
    "n": "one rollout a request",
    "temperature": "0 is greedy",
    "max_tokens": "the rollout ends here at the latest",
    "stop": "",
}


def _list(name: str, values: list[Any], note: str) -> list[Line]:
    """One line per element; the note stands at the last."""
    return [(f"{name}[{i}] = {_short(v)}", note if i == len(values) - 1 else "") for i, v in enumerate(values)]


def _short(value: Any, limit: int = 58) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


@exhibit("rollout.chunks")
def chunks(ctx: Context) -> dict[str, Any]:
    """Which requests of three ranks go to which of three servers, round by round."""
    (runs,) = ctx.value(s.DISPATCH, s.DispatchRequest([SHOWN])).runs
    calls = [
        {"rank": rank, "round": c.round, "server": c.server, "first": c.requests[0], "last": c.requests[-1]}
        for rank, run in enumerate(runs)
        for c in run.calls
    ]
    return {
        "requests": SHOWN.requests,
        "ranks": SHOWN.ranks,
        "servers": SHOWN.servers,
        "decode_batch_size": SHOWN.decode_batch_size,
        "caps": [SHOWN.decode_batch_size * size for size in SHOWN.servers],
        "rounds": 1 + max((c["round"] for c in calls), default=0),
        "calls": calls,
        "in_order": [run.outputs == list(range(SHOWN.requests)) for run in runs],
    }


@exhibit("rollout.seeds")
def seeds(ctx: Context) -> dict[str, Any]:
    """The calls of one Channel-B step of eight samples, with each request's seed."""
    ((run,),) = ctx.value(s.DISPATCH, STEP).runs
    each = predicates.request_seeds(run.calls)
    return {
        "calls": [[c.round, c.server, c.seed, c.requests] for c in run.calls],
        "seeds": each,
        "distinct": len(set(each)),
        "error": run.error,
    }


@exhibit("rollout.misdeeds")
def misdeeds(ctx: Context) -> dict[str, Any]:
    """How a rollout on each misbehaving server ends. `said`: the error says what happened."""
    rows = []
    for request in cases.server_requests():
        served = ctx.value(s.SERVER, request)
        problems = {p.message for p in predicates.server_problems(request, served)}
        sent = [n for post in served.posts for n in post]
        told = bool(served.error) and not any("does not say" in p for p in problems)
        kept = {"error": served.error, "message": served.message, "raised": bool(served.error), "said": told}
        once = len(set(sent)) == len(sent) or request.misdeed == "swapped"
        seen = {"in_time": served.bounded, "once": once, "posts": len(served.posts), "outputs": served.outputs}
        name = MISDEEDS[request.misdeed] + (", prompts alike" if request.alike else "")
        rows.append({"misdeed": name, **kept, **seen, "sound": request.misdeed == "none"})
    return {"rows": rows}


@exhibit("rollout.timeline")
def timeline(ctx: Context) -> dict[str, Any]:
    """What two ranks do in each failure, in each rank's own order, and when, where the target measured it."""
    found = []
    for name, request in cases.failures(ctx.contract["rollout.reducers"]):
        ended = ctx.value(s.TWO_RANKS, request)
        first = min((r.seconds[0] for r in ended.ranks if r.seconds), default=0.0)
        ranks = [
            {
                "events": r.events,
                "seconds": [round(at - first, 4) for at in r.seconds],
                "error": r.error,
                "message": r.message,
            }
            for r in ended.ranks
        ]
        found.append({"name": name, "ranks": ranks, "bounded": ended.bounded})
    return {"scenarios": found}


@exhibit("rollout.collectives")
def collectives(ctx: Context) -> dict[str, Any]:
    """Every collective that was judged."""
    found = ctx.value(s.COLLECTIVES, ScanRequest(ctx.contract["rollout.source_roots"]))
    return {"files": found.files, "collectives": [msgspec.to_builtins(c) for c in found.collectives]}


CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}
RANKS = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.SKY, style.VERMILION)


@figure(
    "rollout.exchange",
    "What is posted for one sample, and what of the answer is read. The marked lines are those that the contract "
    "is about.",
    "Lines of JSON in two blocks, request above and answer below, with notes at those that matter.",
)
def draw_exchange(data: dict[str, Any]) -> Any:
    """The request above, the answer below: one field a line, with a note to those that the contract is about."""
    import matplotlib.pyplot as plt

    parts = (
        ("POST /infer/: the request", data["request"], style.BLUE),
        ("the answer's first item", data["response"], style.GREEN),
    )
    heights = [len(lines) + 1.2 for _, lines, _ in parts]
    figure, axes = plt.subplots(2, 1, figsize=(7.0, 0.235 * sum(heights)), height_ratios=heights, layout="constrained")
    for axis, (title, lines, colour) in zip(axes, parts, strict=True):
        _ = axis.set(xlim=(0, 1), ylim=(len(lines) - 0.3, -0.9))
        axis.axis("off")
        _ = axis.set_title(title, loc="left", fontsize=8, color=colour, fontweight="bold")
        for y, (text, note) in enumerate(lines):
            if note:
                _ = axis.axhspan(y - 0.45, y + 0.45, color=colour, alpha=0.10, linewidth=0)
                _ = axis.plot([0, 0], [y - 0.45, y + 0.45], color=colour, linewidth=2.5, solid_capstyle="butt")
                small = {"fontsize": 6.3, "color": style.DARK, "style": "italic"}
                _ = axis.text(0.995, y, visible(note), ha="right", va="center", parse_math=False, **small)
            _ = axis.text(0.01, y, visible(text), fontsize=6.0, family="monospace", va="center", parse_math=False)
    return figure


@figure(
    "rollout.chunks",
    lambda data: (
        f"{data['requests']} requests from {data['ranks']} ranks over {len(data['servers'])} servers, round by "
        "round. A bar over the red line asks more of a "
        "server than its processors decode at once."
    ),
    "A panel for each server with stacked bars of the ranks' requests by round, and a line at what is decoded at once.",
)
def draw_chunks(data: dict[str, Any]) -> Any:
    """One panel a server: stacked bars of the ranks' requests by round, against what its GPUs decode at once."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    servers = data["servers"]
    figure, axes = plt.subplots(1, len(servers), figsize=(7.0, 2.6), sharey=True, layout="constrained", squeeze=False)
    for server, axis in enumerate(axes[0]):
        filled = [0] * data["rounds"]
        for call in (c for c in data["calls"] if c["server"] == server):
            count, at = call["last"] - call["first"] + 1, call["round"]
            look: dict[str, Any] = {"color": RANKS[call["rank"] % len(RANKS)], "edgecolor": style.WHITE}
            _ = axis.bar(at, count, bottom=filled[at], width=0.8, **look)
            label = str(call["first"]) if count == 1 else f"{call['first']}–{call['last']}"
            _ = axis.text(at, filled[at] + count / 2, label, **CENTRED, fontsize=7, color=style.WHITE)
            filled[at] += count
        _ = axis.axhline(data["caps"][server], color=style.VERMILION, linewidth=1.2)
        size = servers[server]
        _ = axis.set_title(f"server {server}: {size} GPU{'s' * (size > 1)}", fontsize=8)
        axis.tick_params(labelsize=7)
        _ = axis.set_xlabel("round", fontsize=8)
        _ = axis.set(ylim=(0, max(data["caps"]) * 1.15), xlim=(-0.6, data["rounds"] - 0.4))
        _ = axis.set_xticks(range(data["rounds"]))
        style.spare(axis)
    _ = axes[0][0].set_ylabel("requests under way", fontsize=8)
    patches = [Patch(facecolor=RANKS[r % len(RANKS)], label=f"rank {r}") for r in range(data["ranks"])]
    patches.append(Patch(facecolor=style.VERMILION, label="most that may be decoded at once"))
    _ = figure.legend(handles=patches, loc="outside upper center", ncols=len(patches), fontsize=7, frameon=False)
    return figure


COLUMNS = (
    ("raised", "error\nraised"),
    ("said", "it says\nwhat"),
    ("in_time", "ends\nin time"),
    ("once", "each request\nsent once"),
)


@figure(
    "rollout.misdeeds",
    "How a rollout ends on servers that misbehave in one way each. Every row should end in an error that says "
    "what happened, in time, "
    "with nothing asked twice.",
    "A table of misdeeds by what was demanded, with yes and no as words, and the error at the end of each line.",
    main=True,
)
def draw_misdeeds(data: dict[str, Any]) -> Any:
    """Misdeeds down, demands across; blue where met, vermilion with a cross where not. Error types stand beside."""
    import matplotlib.pyplot as plt

    rows = data["rows"]
    figure, axis = plt.subplots(figsize=(7.0, 0.24 * len(rows) + 0.7), layout="constrained")
    for y, row in enumerate(rows):
        for x, (key, _name) in enumerate(COLUMNS):
            moot = row["sound"] and key in ("raised", "said")
            good = row[key] != moot if key in ("raised", "said") and moot else row[key]
            face = style.PALE if moot and good else style.BLUE if good else style.VERMILION
            _ = axis.barh(y, 0.94, left=x + 0.03, height=0.86, color=face)
            sign = "none due" if moot and good else "yes" if good else "no"
            ink, weight = style.DARK if moot else style.WHITE, "normal" if good else "bold"
            _ = axis.text(x + 0.5, y, sign, fontsize=6.5, color=ink, fontweight=weight, **CENTRED)
        shown = row["error"] or "outputs returned"
        at = len(COLUMNS) + 0.12
        _ = axis.text(at, y, visible(shown), va="center", fontsize=6.5, family="monospace", parse_math=False)
    _ = axis.set_yticks(range(len(rows)), [visible(r["misdeed"]) for r in rows], fontsize=7)
    _ = axis.set_xticks([x + 0.5 for x in range(len(COLUMNS))], [name for _, name in COLUMNS], fontsize=7)
    _ = axis.set(xlim=(0, len(COLUMNS) + 1.7), ylim=(len(rows) - 0.5, -0.5))
    axis.xaxis.tick_top()
    style.bare(axis)
    return figure


@figure(
    "rollout.timeline",
    lambda data: (
        "What two ranks do when one of them fails, each in its own order. If one goes on while the other waits in a "
        "collective, the job hangs. "
        + (
            "On the right the same events on a clock, from the first of them on, on a scale that is linear up to 10 ms "
            f"and logarithmic from there; the longest took {_longest(data):.3g} s from its first event to its last."
            if _longest(data)
            else "When they happened was not measured."
        )
    ),
    "A panel for each failure with two lanes of events, one for each rank, and beside it the events as dots in time.",
)
def draw_timeline(data: dict[str, Any]) -> Any:
    """One panel a failure, one lane a rank: its events in order, and in time. Vermilion where it fails or raises."""
    import matplotlib.pyplot as plt

    scenarios, last = data["scenarios"], _longest(data)
    longest = max(len(r["events"]) for s in scenarios for r in s["ranks"])
    size = (7.0, 0.82 * len(scenarios) + 0.3 * bool(last))
    columns: dict[str, Any] = {"ncols": 2, "width_ratios": (2.6, 1)} if last else {}
    figure, axes = plt.subplots(len(scenarios), **columns, figsize=size, layout="constrained", squeeze=False)
    for row, scenario in zip(axes, scenarios, strict=True):
        axis = row[0]
        for lane, rank in enumerate(scenario["ranks"]):
            _ = axis.plot([0, longest], [lane, lane], color=style.RULE, linewidth=0.8, zorder=0)
            for x, event in enumerate(rank["events"]):
                _ = axis.barh(lane, 0.92, left=x + 0.04, height=0.74, color=_face(event))
                ink = style.WHITE if _face(event) == style.VERMILION else style.INK
                words = visible(event).replace(" in ", " in\n", 1)
                _ = axis.text(
                    x + 0.5, lane, words, fontsize=5.6, linespacing=0.9, color=ink, parse_math=False, **CENTRED
                )
        _ = axis.set_title(visible(scenario["name"]), loc="left", fontsize=7.5, pad=2)
        _ = axis.set_yticks([0, 1], ["rank 0", "rank 1"], fontsize=7)
        _ = axis.set(xlim=(0, longest), ylim=(1.55, -0.55))
        _ = axis.set_xticks([])
        style.bare(axis)
        if last:
            _clock(row[1], scenario, last)
    if last:
        _ = axes[-1][1].set_xlabel("seconds", fontsize=7)
    return figure


def _longest(data: dict[str, Any]) -> float:
    """Seconds from the first event of a failure to its last, of the failure that took longest; 0 for not measured."""
    return max((at for s in data["scenarios"] for r in s["ranks"] for at in r["seconds"]), default=0.0)


def _face(event: str) -> str:
    if event.startswith(("fails", "raises", "does not", "has nothing")):
        return style.VERMILION
    return style.ORANGE if event == "goes on" else style.SKY


def _clock(axis: Any, scenario: dict[str, Any], last: float) -> None:
    """Both ranks' events as dots at their time, from their first on."""
    for lane, rank in enumerate(scenario["ranks"]):
        ends = rank["seconds"][:1] + rank["seconds"][-1:]
        _ = axis.plot(ends, [lane] * len(ends), color=style.EDGE, linewidth=1.0, zorder=0)
        for at, event in zip(rank["seconds"], rank["events"], strict=False):
            _ = axis.plot(at, lane, marker="o", markersize=4.5, color=_face(event), markeredgecolor=style.INK, mew=0.4)
    _ = axis.set_xscale("symlog", linthresh=0.01, linscale=0.6)
    _ = axis.set(xlim=(-0.002, max(last * 1.6, 0.02)), ylim=(1.55, -0.55), yticks=[])
    _ = axis.set_xticks([t for t in (0, 0.01, 0.1, 1, 10) if t <= max(last, 0.01)], minor=False)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_minor_locator(_none())
    axis.tick_params(labelsize=6.5)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _none() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()
