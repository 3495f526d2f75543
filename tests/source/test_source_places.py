"""From what ran to the statement to mend, on source that is read and never imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.source import keyed, runs
from coordexp_audit_lib.source.anchors import anchored, config_line
from coordexp_audit_lib.source.made import made
from coordexp_audit_lib.source.runs import Run
from coordexp_audit_lib.source.statements import Statements
from coordexp_audit_lib.source.tree import Tree

SOURCE = '''class Section:
    @classmethod
    def from_mapping(cls, given):
        """Read a section."""
        ratio_raw = given.get("ratio")
        if ratio_raw is None:
            ratio_raw = 1
        ratio = float(ratio_raw)
        return cls(
            ratio,
        )

def log(rows, step):
    out = {"loss/total": 1.0, "loss/part": 0.5}
    if step > 1:
        out["loss/total"] = 2.0
        out[f"loss/reason/{step}"] = 3.0
    for row in rows:
        if row < 0:
            continue
        out["rows"] = row
    return out
'''


@pytest.fixture
def statements(tmp_path: Path) -> Statements:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/code.py").write_text(SOURCE)
    (tmp_path / "base.yaml").write_text("training:\n  packing: true\n  eval_packing: true\n")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/leaf.yaml").write_text("extends: ../base.yaml\ntraining:\n  packing: false\n")
    return Statements(Tree(tmp_path))


def ran(*lines: int, **more: object) -> Run:
    return Run([("src/code.py", n) for n in lines], **more)  # type: ignore[arg-type]


def test_a_line_belongs_to_its_innermost_statement(statements: Statements) -> None:
    found = {n: (s.line if (s := statements.at("src/code.py", n)) else None) for n in (3, 4, 10, 15, 16, 18)}
    assert found == {3: None, 4: None, 10: 9, 15: 15, 16: 16, 18: 18}
    assert statements.where("src/code.py", 10).symbol == "src.code:Section.from_mapping"


def test_a_statement_that_only_failing_runs_came_by_goes_first(statements: Statements) -> None:
    failing, passing = ran(14, 18, 19, 20, 22), [ran(14, 18, 19, 21, 22), ran(14, 18, 22)]
    found = runs.ranked(statements, [failing], passing)
    assert [(r.statement.line, round(r.score, 2)) for r in found] == [(20, 1.0), (19, 0.71)]
    assert runs.is_clear(found)


def test_runs_that_do_not_differ_tell_nothing(statements: Statements) -> None:
    assert runs.ranked(statements, [ran(14, 22)], [ran(14, 22)]) == []
    assert runs.ranked(statements, [ran(14, 22)], []) == []


def test_where_too_many_statements_differ_the_first_is_where_the_runs_parted(
    statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MOST", 2)
    found = runs.ranked(statements, [ran(14, 18, 19, 20, 22)], [ran(14)])
    assert [r.statement.line for r in found] == [18]


def test_one_question_that_raised_at_many_places_names_none(statements: Statements) -> None:
    raised = [("src/code.py", 8, "ValueError"), ("src/code.py", 16, "KeyError")]
    assert runs.raised_only(statements, ran(8, raised=raised), []) == []
    assert [s.line for s in runs.raised_only(statements, ran(8, raised=raised), [ran(raised=raised[:1])])] == [16]


@pytest.mark.parametrize(
    ("key", "lines", "places"),
    [
        ("loss/total", (14, 15, 16), [16, 14]),  # what sets it by itself first
        ("loss/total", (14, 15), [14]),
        ("loss/reason/7", (14, 15), [17]),  # what is missing was not written
        ("loss/unheard", (14, 15), []),
    ],
)
def test_what_writes_a_key(key: str, lines: tuple[int, ...], places: list[int], statements: Statements) -> None:
    assert [s.line for s in keyed.writes(statements, ran(*lines), key)] == places


def test_a_parser_is_where_a_key_is_converted_or_where_it_begins_to_read(statements: Statements) -> None:
    def parsed(*parts: str) -> list[int]:
        held = [("src/code.py", 2, parts[-1], 1)]
        return [s.line for s in keyed.parsers(statements, ran(5, 6, 8, 9, holds=held), parts)]

    assert parsed("section", "ratio") == [8]
    assert parsed("section", "stray") == [5]
    assert [s.line for s in keyed.reads(statements, ran(5, 6, 8, 9), "ratio")] == [8]


def test_a_place_is_named_by_what_it_calls_assigns_or_spells(statements: Statements) -> None:
    def line(at: str, *symbols: str) -> int | None:
        where = anchored(statements.tree, statements, symbols or ("src.code:Section.from_mapping",), at)
        return where.line if where else None

    assert [line(at) for at in ("float", "ratio", "ratio_raw", "", "nothing")] == [8, 5, 5, 5, None]
    assert [line(at) for at in ("float(ratio_raw)", "given.get('ratio')", "float(other)")] == [8, 5, None]
    assert line("continue", "src.gone:f", "src.code:log") is None
    assert line("rows", "src.gone:f", "src.code:log") == 21


def test_the_line_of_a_key_in_a_config_or_in_what_it_extends(statements: Statements) -> None:
    def place(key: str) -> tuple[str, int] | None:
        where = config_line(statements.tree, "configs/leaf.yaml", key)
        return (where.path, where.line) if where else None

    assert place("training.packing") == ("configs/leaf.yaml", 3)
    assert place("training.eval_packing") == ("base.yaml", 3)
    assert place("training.gone") is None


MADE = """class Trainer:
    def view(self, parse):
        lost = parse.dropped
        dropped = lost + parse.unread
        return {"dropped": int(dropped)}

    def ratio(self):
        if not self.seen:
            return 0.0
        return sum(self.seen) / len(self.seen)

    def step(self, parses):
        total = 0
        for parse in parses:
            seen = self.view(parse)
            count = int(seen["dropped"])
            total += count
        metrics = {
            "rows/dropped": float(total),
            "rows/seen": float(self.clock.now()),
        }
        metrics["rows/ratio"] = float(self.ratio())
        return metrics


class Settings:
    weight: float = 1.0
    KNOWN = ("weight", "height")

    def __post_init__(self):
        def known(name):
            return name

        known("other")

    @classmethod
    def read(cls, given):
        known = {"weight", "height"}
        weight = given.get("weight")
        return cls(weight)
"""


@pytest.fixture
def made_of(tmp_path: Path) -> Statements:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/code.py").write_text(MADE)
    return Statements(Tree(tmp_path))


@pytest.mark.parametrize(
    ("key", "stored", "line"),
    [
        ("rows/dropped", 19, 4),  # through a sum, a cast, and the key of another function's result
        ("rows/ratio", 22, 10),  # the return that is no constant
        ("rows/seen", 20, 20),  # of something that the tree does not define: where it is stored
    ],
)
def test_a_wrong_value_leads_back_to_where_it_is_made(key: str, stored: int, line: int, made_of: Statements) -> None:
    (store,) = keyed.written(made_of, key, "src")
    source = made(made_of, store, key)
    assert keyed.line_of(store, key) == stored
    assert (keyed.line_of(source, key) if source is store else source.line) == line


def test_a_list_of_known_keys_reads_none_of_them(made_of: Statements) -> None:
    mine = [s for s in made_of.of("src/code.py") if s.function == "Settings.read"]
    found = keyed.consumed(mine, "weight")
    assert found is not None and found.line == 39


def test_what_a_check_of_a_made_instance_does_not_look_at_leads_to_its_declaration(made_of: Statements) -> None:
    held = [("src/code.py", 30, "weight", 1)]
    (found,) = keyed.parsers(made_of, ran(31, 34, holds=held), ("settings", "weight"))
    assert found.function == "Settings.__post_init__"  # not the function inside it
    assert keyed.field(made_of, "src/code.py", found.function, "weight") == 27
    assert keyed.field(made_of, "src/code.py", "Settings.read", "weight") == 0


def test_an_answer_is_made_where_it_was_chosen_or_last_added_to(made_of: Statements) -> None:
    def line(symbol: str, *lines: int) -> int | None:
        found = runs.handed_out(made_of, ran(*lines), Where("src/code.py", 1, f"src.code:{symbol}"))
        return found.line if found else None

    assert line("Trainer.ratio", 8, 9) == 9
    assert line("Trainer.step", 13, 14, 15, 18, 22, 23) == 22
    assert line("Trainer.step", 8, 9) is None
