"""Which keys of a YAML text stand twice in one mapping, at which lines, and what of it counts."""

from __future__ import annotations

import pytest

from coordexp_audit_lib.boundaries.config.predicates.keys import keyed_file, keys_once
from coordexp_audit_lib.core.claim import Ledger


@pytest.mark.parametrize(
    ("content", "twice"),
    [
        ("a: 1\nb: 2", []),
        ("a: 1\nb: 2\na: 3", [("a", 3, "P1")]),
        ("a: 1\na: 1", [("a", 2, "P2")]),
        ("a:\n  b: 1\n  c: 2\n  b: 3", [("a.b", 4, "P1")]),
        ("a: {x: 1}\nb: {x: 2}", []),  # of two mappings
        ("- {x: 1, y: 1, x: 2}\n- {x: 3}", [("0.x", 1, "P1")]),
        ('a: 1\n"a": 2', [("a", 2, "P1")]),  # a quoted key is the same key
        ("1: x\n0x1: y", [("0x1", 2, "P1")]),
        ("'1': x\n1: y", []),  # a text and a number are not
        ("a: 1\na: 2\na: 3", [("a", 2, "P1"), ("a", 3, "P1")]),
        ("x: &x {a: 1}\ny: &y {b: 1}\nz: {<<: *x, <<: *y}", []),  # both are merged
        ("x: &x {a: 1, a: 2}\ny: *x", [("x.a", 1, "P1")]),  # once, however many name it
        ("a: {b: 1}\na:   {b:   1}", [("a", 2, "P2")]),
        ("---\na: 1\n---\na: 2", []),  # of two documents
        ("", []),
        ("just text", []),
    ],
)
def test_a_key_that_stands_twice_is_told_at_its_second_line(content: str, twice: list[tuple[str, int, str]]) -> None:
    found = list(keys_once([keyed_file("c.yaml", content)], Ledger()))
    told = [(p.subject.removeprefix("c.yaml: "), p.where.line if p.where else 0, p.severity or "P1") for p in found]
    assert sorted(told) == sorted(twice)


def test_mappings_count_and_what_cannot_be_read_is_left_out() -> None:
    ledger = Ledger()
    files = [keyed_file("a.yaml", "a: {b: {c: 1}}"), keyed_file("b.yaml", "a: [unclosed")]
    assert list(keys_once(files, ledger)) == []
    assert ledger.checked == 3
    assert [part.partition(":")[0] for part in ledger.unjudged] == ["b.yaml"]
