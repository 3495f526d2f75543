"""The house: which way dependencies point, how large rooms may be, and that every check can fail."""

from __future__ import annotations

import ast
import re
import statistics
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import Claim, claims, declared
from coordexp_audit_lib.core.fault import faults
from coordexp_audit_lib.core.pipeline import pipelines

boundaries.load()
ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "coordexp_audit_lib"
OURS = [p for p in sorted(PACKAGE.rglob("*.py")) if not p.relative_to(PACKAGE).as_posix().startswith(("resources/",))]
MODULES = [m for m in OURS if not any(part.startswith("reference_") for part in m.parts)]  # those are read, not run
MAX_LINES, MEDIAN_LINES, MAX_FUNCTION = 400, 160, 60

# What each part of the house may import of the others; each may import itself.
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "kit": set(),
    "source": {"core", "kit"},
    "sandbox": {"core", "kit"},
    "targets": {"core", "kit", "source", "sandbox"},
    "boundaries": {"core", "kit", "source"},
    "pipelines": {"core", "kit", "source"},
    "report": {"core", "boundaries"},
    "run": {"core", "kit", "source", "sandbox", "targets", "boundaries", "report"},
    "guards": {"core", "kit", "source", "boundaries", "report", "callback"},
    "cli": {"core", "kit", "source", "targets", "boundaries", "report", "run"},
}
ROOMS = {"surfaces", "predicates", "cases", "reference", "figures", "faults", "artifact", "claims"}
SHOWS = "figures"  # the one room of a boundary that draws, and so the one that may use `report`
# Both sides of the wall run these, also where nothing of ours is installed.
IN_THE_TARGET = [
    *(p for p in MODULES if p.relative_to(PACKAGE).parts[0] == "kit"),
    *(p for p in MODULES if {"answers", "harness"} & {*p.parts, p.stem} or p.stem in ("symbols", "api")),
    *(PACKAGE / "sandbox" / f"{n}.py" for n in ("worker", "forking", "supervisor", "walls", "cgroups")),
]


@cache
def parsed(module: Path) -> ast.Module:
    """The tree of a module, which many tests read."""
    return ast.parse(module.read_text(encoding="utf-8"))


@cache
def nodes(module: Path) -> tuple[ast.AST, ...]:
    """Every node of a module's tree."""
    return tuple(ast.walk(parsed(module)))


def imported(module: Path) -> Iterator[str]:
    """Everything that a module imports from the package, at any depth of nesting, without the package's name."""
    for node in nodes(module):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (n.removeprefix("coordexp_audit_lib.") for n in names if n.startswith("coordexp_audit_lib."))


def wrong_imports(place: str, module: Path) -> list[str]:
    """What a module at `place` (a path in the package) imports against the direction."""
    part, *below = place.removesuffix(".py").split("/")
    allowed = {part, "__version__"} | ALLOWED[part]
    wrong = []
    for name in imported(module):
        to, *rest = name.split(".")
        if part == "boundaries" and to == "boundaries" and below[:1] != ["__init__"]:
            wrong += [name] if rest[:1] != below[:1] else []  # no boundary knows another
        elif part == "boundaries" and to == "report":
            wrong += [name] if SHOWS not in below else []
        elif part == "pipelines" and "answers" in below:
            own = "pipelines." + ".".join(below[:1])
            wrong += [name] if to not in ("kit",) and not name.startswith((own, "pipelines.api")) else []
        else:
            wrong += [name] if to not in allowed else []
    return sorted(set(wrong))


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_dependencies_point_one_way(part: str) -> None:
    modules = [m for m in MODULES if m.relative_to(PACKAGE).parts[0] == part]
    assert modules
    places = {m.relative_to(PACKAGE).as_posix(): m for m in modules}
    assert {place: bad for place, m in places.items() if (bad := wrong_imports(place, m))} == {}


@pytest.mark.parametrize(
    ("place", "source", "wrong"),
    [
        ("core/judge.py", "from coordexp_audit_lib.boundaries.packing.surfaces import PLAN", 1),
        ("core/judge.py", "def f():\n    import coordexp_audit_lib.report.tables", 1),
        ("boundaries/packing/cases.py", "from coordexp_audit_lib.boundaries.geometry import predicates", 1),
        ("boundaries/packing/cases.py", "from coordexp_audit_lib.report.style import BLUE", 1),
        ("boundaries/packing/figures/ribbon.py", "from coordexp_audit_lib.report.style import BLUE", 0),
        ("boundaries/packing/claims/capacity.py", "from coordexp_audit_lib.core import surface", 0),
        ("targets/checkout.py", "from coordexp_audit_lib.pipelines.coordexp import eras", 1),
        ("pipelines/coordexp/answers/packing.py", "from coordexp_audit_lib.core import errors", 1),
        ("pipelines/coordexp/answers/packing.py", "from coordexp_audit_lib.kit import mrope", 0),
        ("report/book.py", "from coordexp_audit_lib.targets.resolve import open_target", 1),
    ],
)
def test_a_dependency_against_the_direction_is_noticed(place: str, source: str, wrong: int, tmp_path: Path) -> None:
    module = tmp_path / "room.py"
    module.write_text(source)
    assert len(wrong_imports(place, module)) == wrong


@pytest.mark.parametrize("module", IN_THE_TARGET, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_what_runs_in_the_target_imports_the_standard_library_only(module: Path) -> None:
    """At module level; inside functions the target's own packages may be imported."""
    for node in parsed(module).body:
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            shared = name.startswith(("coordexp_audit_lib.kit", "coordexp_audit_lib.pipelines"))
            assert shared or name.split(".")[0] in sys.stdlib_module_names, f"{module.name}:{node.lineno}: {name}"


@pytest.mark.parametrize("b", boundaries.BOUNDARIES, ids=lambda b: b.name)
def test_every_boundary_has_the_same_rooms(b: boundaries.Boundary) -> None:
    folder = PACKAGE / "boundaries" / b.name
    rooms = {p.stem for p in folder.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()} - {"__init__"}
    assert rooms <= ROOMS
    assert {"surfaces", "claims", "reference"} <= rooms
    files = {p.stem for p in (folder / "claims").glob("*.py")} - {"__init__"}
    assert files == {c.id.partition(".")[2] for c in declared(b.name)}, "one claim a file, and no other file"


@pytest.mark.parametrize("claim", declared(), ids=lambda c: c.id)
def test_every_claim_says_what_is_demanded_why_and_an_example(claim: Claim) -> None:
    demand, *why = claim.doc.split("\n\n")
    assert demand.strip()
    assert why, "it does not say what goes wrong without it"
    assert "Example" in claim.doc
    assert len(claim.doc) >= 200
    assert claim.remedy.strip()


@pytest.mark.parametrize("claim", claims(), ids=lambda c: c.id)
def test_every_claim_cites_whose_demand_it_is_in_one_form(claim: Claim) -> None:
    cited = [*claim.spec, *(c for p in pipelines().values() for c in p.citations().get(claim.id, ()))]
    permitted = [p.permitted().get(claim.id, "") for p in pipelines().values()]
    theirs = any(p.citations().get(claim.id) for p in pipelines().values())
    assert cited or any(permitted), "it cites nothing and does not say why"
    assert not (theirs and any(permitted)), "it says that the project demands it, and that its words permit it"
    for citation in cited:
        for words in (citation.repository, citation.path, citation.requirement, citation.commit):
            assert words.strip(), citation
        assert citation.repository.count("/") == 1
        assert "invariants.md" not in citation.path, "our own catalogue is no authority"


def test_a_pipeline_cites_for_claims_that_there_are() -> None:
    known = {c.id for c in claims()}
    assert {c for p in pipelines().values() for c in (*p.citations(), *p.permitted())} <= known


def test_the_formatter_decides() -> None:
    sources = [*MODULES, *ROOT.glob("tests/**/*.py"), *ROOT.glob("tools/*.py"), *ROOT.glob("benchmarks/*.py")]
    off = re.compile("fmt" + ": (skip|off)")
    assert [m for m in sources if off.search(m.read_text(encoding="utf-8"))] == []


def test_only_the_judge_makes_findings() -> None:
    makers = [m.relative_to(PACKAGE).as_posix() for m in MODULES if calls(m, "Finding")]
    assert makers == ["core/sheet.py"]


@pytest.mark.parametrize(("name", "home"), [("Problem", "core/problem.py"), ("Undecided", "core/problem.py")])
def test_there_is_one_of_each_word(name: str, home: str) -> None:
    defined = [
        m.relative_to(PACKAGE).as_posix()
        for m in MODULES
        for node in nodes(m)
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    assert defined == [home]


def calls(module: Path, name: str) -> bool:
    return any(isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == name for n in nodes(module))


def test_the_engine_knows_no_pipeline_by_name() -> None:
    """Outside its own folder a pipeline's name stands in the distribution's name and in prose only."""
    named = re.compile(r"coordexp", re.IGNORECASE)
    ours = re.compile(r"coordexp_?-?audit(_lib)?", re.IGNORECASE)
    found = []
    for m in MODULES:
        place = m.relative_to(PACKAGE).as_posix()
        if place.startswith("pipelines/coordexp/"):
            continue
        for node in nodes(m):
            words = [getattr(node, "id", ""), getattr(node, "attr", ""), getattr(node, "name", "")]
            words += [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
            code = [w for w in words if isinstance(w, str) and " " not in w]  # what holds a blank is prose
            found += [f"{place}:{node.lineno} {w}" for w in code if named.search(ours.sub("", w))]
    assert found == []


def test_the_engine_knows_no_module_of_an_audited_tree() -> None:
    dotted = re.compile(r"\bsrc\.(trainers|datasets|config|coord_tokens|utils|metrics|infer|eval|sft|common)\b")
    found = [
        f"{m.relative_to(PACKAGE).as_posix()}:{node.lineno}"
        for m in MODULES
        if not m.relative_to(PACKAGE).as_posix().startswith("pipelines/")
        for node in nodes(m)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and dotted.search(node.value)
    ]
    assert found == []


def test_rooms_are_small() -> None:
    lines = {m.relative_to(PACKAGE).as_posix(): len(m.read_text(encoding="utf-8").splitlines()) for m in MODULES}
    assert {name: n for name, n in lines.items() if n > MAX_LINES} == {}
    assert statistics.median(n for n in lines.values() if n > 5) <= MEDIAN_LINES


def test_a_function_fits_on_a_screen() -> None:
    long = [
        f"{m.relative_to(PACKAGE).as_posix()}:{node.lineno} {node.name} {node.end_lineno - node.lineno + 1}"
        for m in MODULES
        for node in nodes(m)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION
    ]
    assert long == []


def test_names_say_what_is_inside() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
    named = (m for m in MODULES if m.parent.name != "claims")  # those are called as their ids are
    assert [m for m in named if vague & set(m.stem.split("_"))] == []


def test_every_check_has_a_known_bad_case() -> None:
    """That the faults are caught, and that every claim holds on the reference, is what `run.prove` shows."""
    caught = {id for fault in faults() for id in fault.caught_by}
    known = {check.id for check in claims()}
    assert known
    assert sorted(known - caught) == []
    assert sorted(caught - known) == []
    assert all(fault.caught_by and fault.summary for fault in faults())
