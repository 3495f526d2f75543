"""What a notebook shows of a log: channels and ratio, drops by reason, rollout seconds, broken claims by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coordexp_audit_lib.boundaries.metrics import cases, names
from coordexp_audit_lib.boundaries.metrics.contract import PREDICATES, SEED_RANGE, SEED_STRIDE, Problem, Undecided
from coordexp_audit_lib.boundaries.metrics.log import Log, Row
from coordexp_audit_lib.boundaries.metrics.readers import read_jsonl
from coordexp_audit_lib.boundaries.metrics.schedule import Interval, shares
from coordexp_audit_lib.boundaries.metrics.surfaces import LOG, log_of
from coordexp_audit_lib.core.claim import Context, exhibit
from coordexp_audit_lib.core.errors import SurfaceUnbound

REAL = Path(__file__).resolve().parents[2] / "resources" / "stage2_logging.jsonl"
RUNNING = "time/rollout_total_time"
MAX_REASONS = 8


@exhibit("metrics.run")
def run(ctx: Context) -> dict[str, Any]:
    """What the target's own trainer logs in a short run on two ranks; empty where it can't be run."""
    try:
        return series(log_of(ctx.value(LOG, cases.runs()[0][1])))
    except SurfaceUnbound as error:
        return {"unbound": str(error)}


def real_log() -> Log:
    """The log of a real run that is packaged with the library."""
    return read_jsonl(REAL)


def series(log: Log) -> dict[str, Any]:
    """The numbers behind the figures: one entry for each training row."""
    rows = log.train
    channels = [r.channel for r in rows]
    possible = Interval()
    follows = all(possible.narrow(n, channels[:n].count("B")) for n in range(1, len(channels) + 1))
    return {
        "source": log.source,
        "steps": [r.step or r.line for r in rows],
        "channels": channels,
        "realized": [_value(r, names.RATIO_REALIZED) for r in rows],
        "share": [round(s, 6) for s in shares(channels)],
        "schedule": [round(float(possible.low), 6), round(min(1.0, float(possible.high)), 6)] if follows else None,
        "reasons": _reasons(rows),
        "dropped": [_value(r, names.DROPPED) for r in rows],
        "generate_s": [_value(r, names.GENERATE) for r in rows],
        "running_s": [_value(r, RUNNING) for r in rows],
        "broken": broken(log),
    }


def _value(row: Row, key: str) -> float | None:
    found = row.values.get(key)
    return None if found is None else round(found, 6)


def _reasons(rows: list[Row]) -> dict[str, list[float]]:
    """Dropped records by reason, the most frequent first; the rest in one, if there are more than eight."""
    found = sorted({k for r in rows for k in r.values if k.startswith(names.REASON)})
    counts = {k.removeprefix(names.REASON): [r.values.get(k, 0.0) for r in rows] for k in found}
    ordered = sorted((k for k in counts if any(counts[k])), key=lambda k: (-sum(counts[k]), k))
    shown = {k: counts[k] for k in ordered[:MAX_REASONS]}
    if rest := ordered[MAX_REASONS:]:
        shown[f"{len(rest)} more"] = [sum(column) for column in zip(*(counts[k] for k in rest), strict=True)]
    return shown


def broken(log: Log) -> dict[str, list[int]]:
    """For each claim, how many metrics break it at each training row; no entry where the log can't tell."""
    rows = log.train
    found = {}
    for name, predicate in PREDICATES.items():
        try:
            problems: list[Problem] = list(predicate(log, lambda cases: None))
        except Undecided:
            continue
        found[name] = [sum(row in p.rows for p in problems) for row in rows]
    return found


def subjects(log: Log) -> list[tuple[str, str, str, str]]:
    """Table rows: claim, metric, the steps at fault, and the first message."""
    made = []
    for name, predicate in PREDICATES.items():
        try:
            problems = list(predicate(log, lambda cases: None))
        except Undecided as error:
            made.append((name, "-", "-", f"can't tell: {error}"))
            continue
        for subject in dict.fromkeys(p.subject for p in problems):
            mine = [p for p in problems if p.subject == subject]
            steps = sorted({row.step or row.line for p in mine for row in p.rows})
            made.append((name, subject, ", ".join(map(str, steps)), mine[0].message))
    return made


def numbers(data: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """The table behind `drawing.draw_log`: a row for each step."""
    names_ = ("step", "channel", "b_ratio_realized", "share of B so far", "N_drop_invalid", "sum of reasons")
    rows = []
    for n, step in enumerate(data["steps"]):
        reasons = sum(counts[n] for counts in data["reasons"].values())
        shown = [data[k][n] for k in ("realized", "share", "dropped")]
        seconds = [data[k][n] for k in ("generate_s", "running_s")]
        cells = ["-" if v is None else f"{v:.6g}" for v in (*shown, reasons, *seconds)]
        rows.append((step, data["channels"][n], *cells))
    return (*names_, "rollout_generate_s", "rollout_total_time"), rows


def averaged(log: Log, seed: int) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """For each Channel-B step: the rollout seed as it must be and as logged, and the matches likewise."""
    rows = []
    for row in log.train:
        keys = ("rollout/seed_base", "rollout/matched_for_supervision", "rollout/matched_for_supervision_count")
        if row.channel != "B" or row.step is None or not all(k in row.values for k in (*keys, "train/micro_steps")):
            continue
        logged, matches, counted = (row.values[k] for k in keys)
        exact = (seed + (row.step - 1) * SEED_STRIDE) % SEED_RANGE
        samples, micro = row.values.get("train/samples_total", 1.0), row.values["train/micro_steps"]
        share = f"{logged / exact * samples:.3f}/{samples:.0f}"
        factor = f"{counted / matches:.3f}" if matches else "-"
        rows.append((row.step, exact, f"{logged:.6f}", share, int(matches), int(counted), factor, int(micro)))
    return ("step", "seed", "logged seed", "share", "matches", "logged count", "factor", "micro-steps"), rows
