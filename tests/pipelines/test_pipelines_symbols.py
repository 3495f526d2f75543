"""CoordExp's names stand in one file, once each, in the order of their eras, and nowhere else in the library."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordexp_audit_lib.pipelines import api
from coordexp_audit_lib.pipelines.coordexp import eras, symbols
from coordexp_audit_lib.pipelines.coordexp.symbols import Name
from coordexp_audit_lib.targets.table import declared

PACKAGE = Path(__file__).resolve().parents[2] / "coordexp_audit_lib"
COORDEXP = PACKAGE / "pipelines" / "coordexp"
DOTTED = re.compile(r"(?:src|public_data|scripts)(?:\.[a-z_0-9]+)+(?::[\w.]+)?")
NAMES = {n: v for n, v in vars(symbols).items() if isinstance(v, Name)}
KNOWN_ERAS = ["", eras.OLDEST, *(name for name, _ in reversed(eras.ERAS))]


def literals(module: Path) -> Iterator[str]:
    """Strings of a module that are no docstrings."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    prose = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


def own(path: Path) -> bool:
    """Whether a file is the library's code, not one that it only reads."""
    return not any(part.startswith("reference_") for part in path.parts)


def named(module: Path) -> list[str]:
    return [t for t in literals(module) if DOTTED.fullmatch(t)]


def test_no_other_module_holds_a_dotted_name() -> None:
    modules = [m for m in PACKAGE.rglob("*.py") if own(m.relative_to(PACKAGE)) and m != COORDEXP / "symbols.py"]
    assert {m.relative_to(PACKAGE).as_posix(): found for m in modules if (found := named(m))} == {}


def test_each_name_stands_once() -> None:
    written = Counter(named(COORDEXP / "symbols.py"))
    assert len(written) > 40 and set(written.values()) == {1}
    twice = [t for t, n in Counter(c for v in NAMES.values() if len(v) == 1 for c in v).items() if n > 1]
    assert twice == []


def test_eras_are_known_and_candidates_follow_them() -> None:
    for module, (since, until) in symbols.SPANS.items():
        assert {since, until} <= set(KNOWN_ERAS), module
        assert not (since and until) or KNOWN_ERAS.index(since) < KNOWN_ERAS.index(until), module
    assert {str(c).partition(":")[0] for v in NAMES.values() for c in v} == set(symbols.SPANS)


def test_answers_ask_by_these_names_only() -> None:
    known = {c for v in NAMES.values() for c in v} | {"?"}
    for surface, bound in declared(COORDEXP / "answers").items():
        for local, candidates in bound.symbols.items():
            assert all(c in known or str(c).rpartition(".")[0] in known for c in candidates), (surface, local)


def test_no_answer_spells_a_members_name() -> None:
    members = {v.member for v in NAMES.values() if v.member.startswith("_")}
    modules = [m for folder in ("answers", "harness") for m in (COORDEXP / folder).rglob("*.py")]
    spelt = {m.relative_to(COORDEXP).as_posix(): found for m in modules if (found := members & {*literals(m)})}
    assert len(members) > 20 and spelt == {}


@pytest.mark.parametrize(
    ("name", "member"), [(symbols.PREPARE_B, "_prepare_batch_inputs_b"), (symbols.MAIN, "main"), (symbols.SFT, "sft")]
)
def test_member(name: Name, member: str) -> None:
    assert name.member == member


@pytest.mark.parametrize(
    ("name", "candidates"),
    [
        (symbols.SFT / "main", ("src.sft:main",)),
        (Name(("a.b",)) / "C" / "d", ("a.b:C.d",)),
        ((Name(("a",)) | Name(("b",))) / "f", ("a:f", "b:f")),
        (Name(("a", "b")).optional, ("a", "b", "?")),
        (Name(("a", "b")).first, ("a",)),
    ],
)
def test_names_are_put_together(name: Name, candidates: tuple[str, ...]) -> None:
    assert name == candidates


def test_a_name_tells_its_file() -> None:
    assert (
        symbols.MAIN.path == "src/sft.py" and symbols.SET_CONTINUATION.folder == "src/trainers/stage1_set_continuation"
    )


def test_what_was_answered_or_refused_is_remembered() -> None:
    asked = []

    @api.remembered
    def answer(request: dict[str, int], here: object) -> int:
        asked.append(request["n"])
        if request["n"] < 0:
            raise api.Refused("ValueError", "negative")
        return request["n"] + 1

    assert [answer({"n": 1}, None), answer({"n": 1}, None), answer({"n": 2}, None)] == [2, 2, 3]
    for _ in range(2):
        with pytest.raises(api.Refused, match="negative"):
            answer({"n": -1}, None)
    assert asked == [1, 2, -1]
