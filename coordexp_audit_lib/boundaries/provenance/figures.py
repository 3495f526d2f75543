"""What the notebook shows: what a manifest holds, how the differences of two runs rank, and where secrets come out.

Exhibits ask the target and give builtins; the drawing functions take that data and nothing else.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from coordexp_audit_lib.boundaries.provenance import cases
from coordexp_audit_lib.boundaries.provenance.artifact.run import audit_run
from coordexp_audit_lib.boundaries.provenance.predicates.drift import RANKS, counts, differences, flat
from coordexp_audit_lib.boundaries.provenance.reference.capture import Found
from coordexp_audit_lib.boundaries.provenance.reference.writer import write_manifest
from coordexp_audit_lib.boundaries.provenance.surfaces import Module
from coordexp_audit_lib.core.claim import Context, exhibit
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.kit.nested import merge, nest
from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.text import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = "transformers|torch|vllm|swift"
# Purpose, what serves it, and the fields (`document:dotted.path`) or files that hold it.
PURPOSES: tuple[tuple[str, str, str], ...] = (
    ("the code", "commit", r"^run_metadata.json:(git_sha|code\.sha)$"),
    ("the code", "modified or not", r"^run_metadata.json:(git_dirty|code\.dirty)$"),
    ("the config", "resolved values", r"^resolved_config.json:resolved\."),
    ("the config", "source of the leaf", r"^config_source.yaml$"),
    ("the config", "sources of its parents", r"^(config_parents/|base_config_source.yaml$)"),
    ("the data", "dataset digests", r"^run_metadata.json:datasets\b|^train_data_provenance.json:.*(sha|digest|finger)"),
    ("the data", "tokenizer fingerprint", r"^run_metadata.json:tokenizer\b"),
    ("the data", "chat template fingerprint", r"^run_metadata.json:template\b"),
    ("the data", "seeds", r"(dataset_seed|:seeds\b)"),
    ("the packages", "python", r"upstream\.python$"),
    ("the packages", "transformers, torch, vllm, swift", rf"upstream\.({NAMES})\.(version|error)$"),
    ("the packages", "ms-swift's commit", r"upstream\.ms_swift\.sha$"),
    ("the machine", "processor and memory", r"hardware\.(cpu|memory)$"),
    ("the machine", "graphics processors and driver", r"hardware\.gpu\b"),
    ("the machine", "chosen variables", r"^runtime_env.json:env\."),
    ("the rollout server", "six flags as launched", r"^run_metadata.json:launcher\.(?!server_mode)"),
    ("the manifest", "schema version", r":schema_version$"),
    ("the manifest", "time", r":created_at$"),
    ("the manifest", "digests of its own files", r"^run_metadata.json:files\b"),
)
HELD, LOST = style.GREEN, style.VERMILION


@exhibit("provenance.contents")
def contents(ctx: Context) -> dict[str, Any]:
    """What serves each purpose, and how many fields or files of the target's manifest hold it."""
    written = cases.write(ctx, cases.baseline())
    told = {name for name, value in flat(written.documents).items() if value not in ({}, [], None, "", "not given")}
    names = [*sorted(told), *(f for f in written.files if not f.endswith(".json"))]
    rows = [[purpose, what, sum(bool(re.search(p, n)) for n in names)] for purpose, what, p in PURPOSES]
    return {"rows": rows, "fields": len(names), "files": written.files}


@exhibit("provenance.drift")
def drift(ctx: Context) -> dict[str, Any]:
    """For each change of a run, the number of fields that differ by rank, the rank expected, and the first field."""
    before, rules = cases.write(ctx, cases.baseline()).documents, ctx.contract["provenance.ranks"]
    changes, expected, table, first = [], [], [], []
    for name, (request, rank) in cases.changes().items():
        found = differences(before, cases.write(ctx, request).documents, rules)
        changes.append(name)
        expected.append(rank)
        table.append([counts(found)[r] for r in RANKS])
        first.append(found[0].field if found else "-")
    return {"changes": changes, "ranks": list(RANKS), "expected": expected, "counts": table, "first": first}


@exhibit("provenance.two_runs")
def two_runs(ctx: Context) -> dict[str, Any]:
    """The difference report of two runs that differ in a handful of things at once."""
    base = cases.baseline()
    request = msgspec.structs.replace(
        base,
        seed=18,
        run_name="again",
        values={ctx.contract["provenance.keys"]["rate"]: 3e-6},
        env={**base.env, "OMP_NUM_THREADS": "4"},
        server={**cases.FLAGS, "dtype": "bfloat16"},
        modules={**base.modules, "torch": Module(version="2.93.2")},
    )
    before, after = (cases.write(ctx, run).documents for run in (base, request))
    found = differences(before, after, ctx.contract["provenance.ranks"])
    return {"rows": [[d.rank, d.field, shown(d.before), shown(d.after)] for d in found]}


@exhibit("provenance.secrets")
def secrets(ctx: Context) -> dict[str, Any]:
    """For each place where secrets are planted: how many were looked for, how many were found, and in which files."""
    rows: list[list[Any]] = []
    for name, request in cases.leaking().items():
        answer = cases.ask(ctx, request)
        if answer.refusal is not None:
            rows.append([name, len(request.search), 0, "the run is refused"])
            continue
        leaks = answer.value.leaks
        files = ", ".join(sorted({file for _, file in leaks}))
        rows.append([name, len(request.search), len({label for label, _ in leaks}), files or "-"])
    return {"rows": rows}


def own_run() -> tuple[list[tuple[str, str, str]], int]:
    """A run's folder by this library's writer, audited: (claim, verdict, note) rows, and how many planted secrets any
    byte of it holds."""
    resolved: dict[str, Any] = {"training": {"seed": 17, "learning_rate": 1e-6, "save_only_model": True}}
    for key, value, _ in pipeline().contract()["provenance.server"]["mode"]:
        resolved = merge(resolved, nest(key, value))
    with tempfile.TemporaryDirectory() as place:
        config = Path(place) / "leaf.yaml"
        config.write_text(json.dumps(resolved))
        environ = {**cases.SECRETS, **cases.UNLISTED, "OMP_NUM_THREADS": "8"}
        command = ["train", "--hub_token", cases.HUB_TOKEN, f"--url=http://u:{cases.URL_PASSWORD}@host.invalid"]
        out = Path(place) / "run"
        write_manifest(
            out,
            config=resolved,
            config_path=config,
            seeds={"dataset": 17},
            environ=environ,
            command=command,
            server=cases.FLAGS,
            repository=place,
            lookup=lambda name, distribution: Found("1.2.3", f"{place}/{name}.py"),  # whatever is installed here
        )
        written = b"\n".join(p.read_bytes() for p in out.rglob("*") if p.is_file())
        planted = [*cases.searched().values(), cases.HUB_TOKEN, cases.URL_PASSWORD]
        rows = [(f.invariant, str(f.status), f.note or "-") for f in audit_run(out)]
        return rows, sum(text.encode() in written for text in planted)


@figure(
    "provenance.contents",
    lambda data: (
        f"What a rerun needs, and whether the manifest holds it: {sum(bool(n) for *_, n in data['rows'])} of "
        f"{len(data['rows'])} things are there."
    ),
    "A list by purpose, with a dot and the number of fields for what is recorded, and a cross for what is not.",
    main=True,
)
def draw_contents(data: dict[str, Any]) -> Figure:
    """One line for each thing that a rerun needs: a filled dot if the manifest holds it, a cross if not."""
    import matplotlib.pyplot as plt

    rows = data["rows"]
    figure, axes = plt.subplots(figsize=(6.2, 0.24 * len(rows) + 0.5), layout="constrained")
    for y, (purpose, what, fields) in enumerate(rows):
        colour, marker = (HELD, "o") if fields else (LOST, "X")
        axes.plot([0], [y], marker, color=colour, markersize=8)
        note = f"{fields} field{'s' if fields > 1 else ''}" if fields else "not recorded"
        axes.text(0.35, y, note, va="center", fontsize=8, color=style.INK if fields else LOST, parse_math=False)
        axes.text(-0.4, y, what, va="center", ha="right", fontsize=8, parse_math=False)
        if y == 0 or rows[y - 1][0] != purpose:
            axes.axhline(y - 0.5, color=style.LIGHT, linewidth=0.8)
            axes.text(-5.9, y, purpose, va="center", fontsize=8, fontweight="bold", parse_math=False)
    axes.set(xlim=(-6.0, 2.2), ylim=(len(rows) - 0.5, -0.6))
    axes.axis("off")
    return figure


@figure(
    "provenance.drift",
    "What differs between the manifests of two runs, by the kind of change made and the rank that it is given. "
    "Each row's numbers should "
    "stand in its frame.",
    "A grid of changes by rank with the number of fields that differ; the expected rank is framed.",
)
def draw_drift(data: dict[str, Any]) -> Figure:
    """Changes of a run against ranks: the number of fields that differ, the expected rank framed."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    table, ranks = data["counts"], data["ranks"]
    figure, axes = plt.subplots(figsize=(6.2, 0.32 * len(table) + 0.9), layout="constrained")
    edges = [[n - 0.5 for n in range(count + 1)] for count in (len(ranks), len(table))]
    axes.pcolormesh(*edges, [[min(n, 3) for n in row] for row in table], cmap="Blues", vmin=0, vmax=5)
    axes.invert_yaxis()
    for y, row in enumerate(table):
        for x, n in enumerate(row):
            axes.text(x, y, str(n) if n else "·", ha="center", va="center", fontsize=9, parse_math=False)
        x = ranks.index(data["expected"][y])
        axes.add_patch(Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, fill=False, edgecolor=LOST, linewidth=1.6))
    axes.set_xticks(range(len(ranks)), ranks, fontsize=9)
    axes.set_yticks(range(len(table)), data["changes"], fontsize=9)
    axes.set_xlabel("what the fields that differ can change (framed: expected)", fontsize=9)
    axes.set_ylabel("changed between the runs", fontsize=9)
    axes.tick_params(length=0)
    return figure
