"""The flags of `swift rollout`, as launchers write them; and figures that draw what exhibits give."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from coordexp_audit_lib.boundaries.upstream.artifact.launcher import LauncherRequest, launcher
from coordexp_audit_lib.boundaries.upstream.artifact.matrix import contracts, ordered
from coordexp_audit_lib.core.claim import Context, exhibits
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.source.tree import Tree
from coordexp_audit_lib.targets.reference import ReferenceTarget

FOLDERS = ("scripts", "src/launchers")
COMMANDS = [
    ("one line", "a.sh", "swift rollout --model x --port 8000", [("model", 1), ("port", 1)]),
    (
        "continued",
        "a.sh",
        "swift rollout \\\n  --model x \\\n  --vllm-enforce-eager true\necho --no",
        [("model", 2), ("vllm_enforce_eager", 3)],
    ),
    (
        "an array",
        "a.sh",
        'C=(swift rollout\n  --model "$M"\n  --port 1)\n"${C[@]}" --later',
        [("model", 2), ("port", 3)],
    ),
    ("a comment", "a.sh", "# swift rollout --model x\nswift rollout --port 1 # --host y", [("port", 2)]),
    ("told, not run", "a.sh", 'echo "swift rollout --model x"\nswift rollout --port 1', [("port", 2)]),
    ("another command", "a.sh", "swift deploy --model x\nswift rollout --port 1", [("port", 2)]),
    ("a list", "a.py", 'cmd = ["swift", "rollout",\n  "--model", m,\n  "--host", h]', [("model", 2), ("host", 3)]),
    ("cut off", "a.sh", "swift rollout --model x \\", [("model", 1)]),
]


@pytest.mark.parametrize(("name", "text", "wanted"), [k[1:] for k in COMMANDS], ids=[k[0] for k in COMMANDS])
def test_flags_of_a_launcher(tmp_path: Path, name: str, text: str, wanted: list[tuple[str, int]]) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / name).write_text(text + "\n")
    found = launcher(Tree(tmp_path), LauncherRequest(FOLDERS)).flags
    assert [(f.name, f.line) for f in found] == wanted
    assert {f.path for f in found} == {f"scripts/{name}"}


def test_a_tree_without_the_command_is_unbound(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "a.sh").write_text("swift deploy --model x\n")
    with pytest.raises(SurfaceUnbound, match="no launcher"):
        launcher(Tree(tmp_path), LauncherRequest(FOLDERS))


def test_the_contract_knows_flags_under_the_names_of_dataclass_fields() -> None:
    (flags,) = [p.fields for c in contracts() for p in c.parts if p.symbol.endswith(":RolloutArguments")]
    assert len({f.name for f in flags}) == len(flags) == 11
    assert all(f.name.isidentifier() for f in flags)


def test_versions_are_ordered_as_numbers() -> None:
    assert ordered({"4.0.4", "3.12.0", "3.9.3", "3.10.0"}) == ["3.9.3", "3.10.0", "3.12.0", "4.0.4"]


def test_figures_draw_what_exhibits_give() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    figures = importlib.import_module("coordexp_audit_lib.boundaries.upstream.figures")
    data = {n: e(Context(ReferenceTarget(), "", 0, n)) for n, e in exhibits("upstream").items()}
    assert set(data) == {f"upstream.{n}" for n in ("releases", "here", "rates", "requests", "batch", "positions")}
    for name in ("releases", "rates", "positions"):
        drawn = getattr(figures, f"draw_{name}")(data[f"upstream.{name}"])
        drawn.canvas.draw()
        mpl.pyplot.close(drawn)
    tables = data["upstream.releases"]["tables"]
    assert sum(data["upstream.releases"]["words"].values()) == sum(
        len(t["rows"]) * len(t["versions"]) for t in tables.values()
    )
    assert all(row[4] == 0 and row[3] == 0 for row in data["upstream.here"]["rows"])
    assert all(wanted == found for _, wanted, found, _ in data["upstream.rates"]["rows"])
