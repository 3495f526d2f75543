"""The map as data, tables and a figure: for each entrypoint its stages, their owners and the keys that drive them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordexp_audit_lib.boundaries.pipeline_map import cases
from coordexp_audit_lib.boundaries.pipeline_map.cases import Entrypoint, Key
from coordexp_audit_lib.boundaries.pipeline_map.figures.drawing import draw_entrypoint, draw_side_by_side
from coordexp_audit_lib.boundaries.pipeline_map.surfaces import entrypoints, keys
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.key_reads import KEY_READS, KeyReads, PathReads
from coordexp_audit_lib.core.claim import Context, exhibit
from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.tables import table

if TYPE_CHECKING:
    import pandas as pd

NO_CONFIG = "not loaded"


@exhibit("pipeline_map.map")
def pipeline_map(ctx: Context) -> dict[str, Any]:
    """Both entrypoints: what starts them, and by stage the owners with their places and the keys with their sources."""
    known = cases.the_map(ctx.contract)
    started = ctx.value(entrypoints.ENTRYPOINTS, cases.entrypoints_request(ctx, known)).entrypoints
    launched = {e.id: e for e in started}
    found = cases.resolved_owners(ctx, known)
    reads = ctx.value(KEY_READS, cases.key_reads_request(known))
    told = [_entrypoint(ctx, e, launched[e.id], found, reads) for e in known.entrypoints]
    return {"entrypoint": known.entrypoint_of(ctx.config).id, "entrypoints": told}


def _entrypoint(ctx: Context, e: Entrypoint, launched: Any, found: dict[str, Any], reads: KeyReads) -> dict[str, Any]:
    known = cases.the_map(ctx.contract)
    config = ctx.config if known.entrypoint_of(ctx.config).id == e.id else e.config
    told = _keys(ctx, config)
    stages = []
    for stage in known.stages_of(e.id):
        by_path = {r.path: r for s in reads.stages if (s.entrypoint, s.stage) == (e.id, stage.id) for r in s.reads}
        owners = [_owner(o.role, found.get(o.names[0]), o.names[0]) for o in known.owners_of(stage.id, e.id)]
        listed = [_key(k, told, by_path.get(k.path), reads) for k in known.keys_of(stage.id, e.id)]
        stages.append({"id": stage.id, "title": stage.title, "owners": owners, "keys": listed})
    starts = [{"what": s.what, "kind": s.kind, "at": f"{s.path}:{s.line}"} for s in launched.starts]
    return {
        "id": e.id,
        "title": e.title,
        "launcher": e.launcher,
        "config": cases.config_in(ctx, config),
        "chain": list(told.chain) if told else [],
        "starts": starts,
        "stages": stages,
    }


def _keys(ctx: Context, config: str) -> keys.Keys | None:
    """The materialised config; None where the target has no such config or refuses it."""
    try:
        return ctx.ask(keys.KEYS, keys.KeysRequest(ctx.target.config_path(config))).content
    except AuditError:
        return None


def _owner(role: str, at: Any, asked: str) -> dict[str, Any]:
    if at is None or at.status == "missing":
        return {"role": role, "status": "missing", "path": "", "line": 0, "symbol": asked, "digest": ""}
    return {"role": role, **{n: getattr(at, n) for n in ("status", "path", "line", "symbol", "digest")}}


def _key(key: Key, told: keys.Keys | None, seen: PathReads | None, reads: KeyReads) -> dict[str, Any]:
    leaves = [v for v in told.keys if key.covers(v.path) or v.path.startswith(f"{key.path}.")] if told else []
    sources = sorted({v.source for v in leaves}) or [NO_CONFIG if told is None else "absent"]
    return {
        "path": f"{key.path}.*" if key.whole else key.path,
        "via": key.via,
        "sources": sources,
        "value": leaves[0].value if len(leaves) == 1 else "",
        "read": _read_at(key, seen, reads),
        "replaced": seen.replaced if seen and key.via == "read" else "",
    }


def _read_at(key: Key, seen: PathReads | None, reads: KeyReads) -> str:
    """Where a key is read, where its section is handed over, or that neither is so."""
    if key.via == "upstream":
        at = next((f.place for f in reads.forwards if f.section == key.path.split(".")[0]), None)
        return f"passed through at {at.path}:{at.line}" if at else "not handed over"
    if seen is None or not seen.places:
        at = seen.elsewhere[0] if seen and seen.elsewhere else None
        return f"not read in this stage (only at {at.path}:{at.line})" if at else "not read"
    first = seen.places[0]
    more = f" and {seen.count - 1} more" if seen.count > 1 else ""
    return f"{first.path}:{first.line} {first.symbol}{more}"


def starts_table(data: dict[str, Any]) -> pd.DataFrame:
    """What each launcher starts, and where."""
    rows = [
        (e["title"], e["launcher"], s["what"], s["kind"], s["at"]) for e in data["entrypoints"] for s in e["starts"]
    ]
    return table(("entrypoint", "launcher", "starts", "kind", "started at"), rows)


def chain_table(data: dict[str, Any]) -> pd.DataFrame:
    """The YAML files of each entrypoint's config, the most basic first."""
    rows: list[tuple[Any, ...]] = [
        (e["title"], i + 1, f) for e in data["entrypoints"] for i, f in enumerate(e["chain"])
    ]
    return table(("entrypoint", "order", "file"), rows or [("-", "-", NO_CONFIG)])


def counts_table(data: dict[str, Any]) -> pd.DataFrame:
    """The numbers behind the figure."""
    rows = []
    for entry, stage in [(e, s) for e in data["entrypoints"] for s in e["stages"]]:
        status, via = [o["status"] for o in stage["owners"]], [k["via"] for k in stage["keys"]]
        in_yaml = sum(any(x.endswith(".yaml") for x in k["sources"]) for k in stage["keys"])
        counts = (len(status), status.count("moved"), status.count("missing"), len(via), via.count("read"))
        rows.append((entry["id"], stage["title"], *counts, via.count("upstream"), in_yaml))
    header = ("entrypoint", "stage", "owners", "moved", "missing", "keys", "read", "passed through", "set in YAML")
    return table(header, rows)


def owners_table(data: dict[str, Any], entrypoint: str) -> pd.DataFrame:
    """Every owner of an entrypoint's stages."""
    rows = []
    for s in _of(data, entrypoint)["stages"]:
        for o in s["owners"]:
            place = f"{o['path']}:{o['line']}" if o["path"] else "-"
            rows.append((s["title"], o["role"], place, o["symbol"], o["status"], o["digest"] or "-"))
    return table(("stage", "owner", "file:line", "symbol", "status", "digest"), rows)


def keys_table(data: dict[str, Any], entrypoint: str) -> pd.DataFrame:
    """Every key of an entrypoint's stages: what set its value, and where it is read."""
    rows = []
    for s in _of(data, entrypoint)["stages"]:
        for k in s["keys"]:
            note = f" (a method that {k['replaced']} replaces)" if k["replaced"] else ""
            rows.append((s["title"], k["path"], ", ".join(k["sources"]), k["read"] + note))
    return table(("stage", "key path", "value set by", "read at"), rows)


def idle_table(data: dict[str, Any]) -> pd.DataFrame:
    """Keys that are read only in methods which the entrypoint's trainer replaces: they drive nothing there."""
    rows = [
        (e["id"], k["path"], k["value"], ", ".join(k["sources"]), k["read"], k["replaced"])
        for e in data["entrypoints"]
        for s in e["stages"]
        for k in s["keys"]
        if k["replaced"]
    ]
    header = ("entrypoint", "key path", "value", "set by", "read only at", "replaced by")
    return table(header, rows)


@figure(
    "pipeline_map.stages",
    lambda data, entry: (
        f"The stages of {_of(data, entry)['title']}, from the launcher down. Each box names a stage, who owns it "
        "(file, line, symbol) "
        "and the configuration keys that drive it, those first that the configuration itself sets; ^ is handed "
        "on to the library below."
    ),
    "A column of boxes joined by arrows, one for each stage, with its owners in the middle and its keys on the right.",
)
def draw(data: dict[str, Any], entrypoint: str) -> Any:
    """The entrypoint's stages as a graph; returns a matplotlib figure."""
    return draw_entrypoint(_of(data, entrypoint))


@figure(
    "pipeline_map.overview",
    lambda data: (
        "The audited entrypoints side by side: each stage with the number of its owners and of the keys that "
        "drive it, and where the "
        "one of its owners stands. "
        + "; ".join(
            f"{e['title']} has {len(e['stages'])} stages, {sum(len(s['owners']) for s in e['stages'])} owners"
            for e in data["entrypoints"]
        )
        + "."
    ),
    "A column of boxes for each entrypoint, from the launcher down, joined by arrows.",
    main=True,
)
def draw_overview(data: dict[str, Any]) -> Any:
    """Both entrypoints as columns of stages."""
    return draw_side_by_side(data["entrypoints"])


def _of(data: dict[str, Any], entrypoint: str) -> dict[str, Any]:
    found: dict[str, Any] = next(e for e in data["entrypoints"] if e["id"] == entrypoint)
    return found
