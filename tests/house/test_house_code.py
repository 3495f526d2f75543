"""The house: which way dependencies point, how large rooms may be, and that every check can fail."""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import invariants
from coordexp_audit_lib.core.fault import faults

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "coordexp_audit_lib"
MODULES = sorted(
    m for m in PACKAGE.rglob("*.py") if "resources" not in m.relative_to(PACKAGE).parts
)  # not code of ours to run
MAX_LINES, MEDIAN_LINES, MAX_FUNCTION = 400, 160, 60

NOT_A_BOUNDARY = {"core", "report", "targets", "parts", "guards", "resources"}
BOUNDARIES = sorted(p.name for p in PACKAGE.iterdir() if (p / "__init__.py").is_file() and p.name not in NOT_A_BOUNDARY)
ALLOWED = {
    "core": {"core"},
    "parts": {"core", "parts"},
    "report": {"core", "report", "boundaries", "sources", "__version__"},
    "targets": {"core", "targets", "__version__"},
    "guards": {
        "core",
        "parts",
        "guards",
        "callback",
        "report",
        "__version__",
        *BOUNDARIES,
    },  # they adapt boundaries to live objects
    **{name: {"core", "parts", name} for name in BOUNDARIES},
}
SHOWS = {"figures", "drawing", "tables"}  # modules of a boundary that a notebook shows things with
# Stands alone in the target's interpreter, where our dependencies are not.
IN_THE_TARGET = [p for p in MODULES if p.parent.name == "bindings" or p.stem in ("worker", "supervisor")]


def imported(module: Path) -> Iterator[str]:
    """The first name below the package of everything that a module imports from it, at any depth of nesting."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 or "bindings" in module.parts, f"{module}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (n.split(".")[1] for n in names if n.startswith("coordexp_audit_lib."))


def wrong_imports(package: str, module: Path) -> list[str]:
    """What a module of a subpackage imports against the direction. What shows findings may use `report` as well."""
    shows = package in BOUNDARIES and bool(SHOWS & set(module.stem.split("_")))
    allowed = ALLOWED[package] | ({"report"} if shows else set())
    return sorted(set(imported(module)) - allowed)


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_dependencies_point_one_way(package: str) -> None:
    modules = sorted((PACKAGE / package).rglob("*.py"))
    assert modules
    wrong = {m.relative_to(PACKAGE).as_posix(): bad for m in modules if (bad := wrong_imports(package, m))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("package", "source", "wrong"),
    [
        ("core", "from coordexp_audit_lib.boundaries.packing.contract import PLAN", ["packing"]),
        ("core", "def f():\n    import coordexp_audit_lib.report.tables", ["report"]),
        ("packing", "from coordexp_audit_lib.boundaries.geometry import contract", ["geometry"]),
        ("packing", "from coordexp_audit_lib.core import surface", []),
        ("targets", "from coordexp_audit_lib.boundaries.config.invariants import x", ["config"]),
        ("report", "from coordexp_audit_lib.targets.resolve import open_target", ["targets"]),
    ],
)
def test_a_dependency_against_the_direction_is_noticed(
    package: str, source: str, wrong: list[str], tmp_path: Path
) -> None:
    module = tmp_path / "room.py"
    module.write_text(source)
    assert wrong_imports(package, module) == wrong


@pytest.mark.parametrize("module", IN_THE_TARGET, ids=lambda p: p.stem)
def test_what_runs_in_the_target_imports_the_standard_library_only(module: Path) -> None:
    """At module level; inside a binding's functions the target's own packages may be imported."""
    siblings = {"bindings", *(p.stem for p in (PACKAGE / "targets").iterdir())}
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        roots = []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            roots = [(node.module or "").split(".")[0]]
        elif isinstance(node, ast.Import):
            roots = [alias.name.split(".")[0] for alias in node.names]
        assert set(roots) <= sys.stdlib_module_names | siblings, f"{module.name}:{node.lineno}"


def test_rooms_are_small() -> None:
    lines = {m.relative_to(PACKAGE).as_posix(): len(m.read_text(encoding="utf-8").splitlines()) for m in MODULES}
    assert {name: n for name, n in lines.items() if n > MAX_LINES} == {}
    assert statistics.median(n for n in lines.values() if n > 5) <= MEDIAN_LINES


def test_a_function_fits_on_a_screen() -> None:
    long = [
        f"{m.relative_to(PACKAGE).as_posix()}:{node.lineno} {node.name} {node.end_lineno - node.lineno + 1}"
        for m in MODULES
        for node in ast.walk(ast.parse(m.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION
    ]
    assert long == []


def test_names_say_what_is_inside() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
    assert [m for m in MODULES if vague & set(m.stem.split("_"))] == []


def test_every_boundary_in_the_list_is_a_subpackage_with_checks() -> None:
    for b in boundaries.BOUNDARIES:
        assert b.name in BOUNDARIES
        assert invariants(b.name), f"{b.name} declares no invariant"


def test_every_check_says_what_it_claims_and_what_to_do() -> None:
    for check in invariants():
        prefix = "map" if check.boundary == "pipeline_map" else check.boundary
        assert check.id.startswith(f"{prefix}."), check.id
        for words in (check.claim, check.remedy, check.spec):
            assert words.strip(), check.id


def test_every_check_has_a_known_bad_case() -> None:
    """That the faults are caught, and that every check holds on the reference, is what `faults.prove` shows."""
    caught = {id for fault in faults() for id in fault.caught_by}
    declared = {check.id for check in invariants()}
    assert declared
    assert sorted(declared - caught) == []
    assert sorted(caught - declared) == []
    assert all(fault.caught_by and fault.summary for fault in faults())
