"""Parquet, Arrow, zstandard, patterns and URLs: the same records, the same findings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.geometry.artifact import How, audit_file
from coordexp_audit_lib.boundaries.geometry.artifact.files import expanded
from coordexp_audit_lib.core.errors import UsageError

pa: Any = pytest.importorskip("pyarrow")
boundaries.load(["geometry"])
OBJECTS = [{"desc": "a", "bbox_2d": [1, 2, 30, 40]}, {"desc": "b", "poly": [1, 2, 3, 4, 5, 9]}]
SOUND = {"images": ["a.png"], "objects": OBJECTS, "width": 64, "height": 32}
CROSSED = {**SOUND, "objects": [{"desc": "a", "bbox_2d": [30, 2, 1, 40]}]}
ROWS = [SOUND] * 300 + [CROSSED, {**SOUND, "width": 0}]


def parquet(path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(ROWS), path)


def arrow(path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def stream(path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def zstandard(path: Path) -> None:
    import zstandard as packing

    lines = "".join(json.dumps(r) + "\n" for r in ROWS).encode()
    halves = packing.ZstdCompressor().compress(lines[:5000]), packing.ZstdCompressor().compress(lines[5000:])
    path.write_bytes(b"".join(halves))


def lines(path: Path) -> None:
    path.write_text("".join(json.dumps(r) + "\n" for r in ROWS))


def told(name: str) -> list[Any]:
    return [
        (f.invariant, f.status, f.checked, [(v.where.line, v.message) for v in f.violations if v.where])
        for f in audit_file(name, How())
    ]


@pytest.mark.parametrize("write", [parquet, arrow, stream, zstandard])
def test_a_table_is_its_rows(write: Callable[[Path], None], tmp_path: Path) -> None:
    lines(tmp_path / "plain")
    write(tmp_path / "other")
    assert told(str(tmp_path / "other")) == told(str(tmp_path / "plain"))
    assert [(s, c) for _, s, c, _ in told(str(tmp_path / "plain"))] == [
        ("held", 300 * 10 + 4 + 10),
        ("violated", 302),
        ("violated", 302),
    ]


def test_a_table_that_is_cut_short_is_told(tmp_path: Path) -> None:
    parquet(tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    contract = next(f for f in audit_file(tmp_path / "cut", How()) if f.status == "violated")
    assert "the table is cut short or damaged" in contract.violations[0].message


def test_bytes_of_images_are_told_by_their_number(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    talk = [{"role": "user", "content": "<image>a"}, {"role": "assistant", "content": "b"}]
    row = {"messages": talk, "images": [{"bytes": b"\x89PNG", "path": "a.png"}]}
    pq.write_table(pa.Table.from_pylist([row] * 3), tmp_path / "f.parquet")
    statuses = {f.invariant: f.status for f in audit_file(tmp_path / "f.parquet", How())}
    assert statuses["geometry.record_contract"] == "held"


def test_a_pattern_names_files_and_an_url_is_opened(tmp_path: Path) -> None:
    import fsspec

    for name in ("b.jsonl", "a.jsonl"):
        lines(tmp_path / name)
    assert expanded(f"{tmp_path}/*.jsonl") == [f"{tmp_path}/a.jsonl", f"{tmp_path}/b.jsonl"]
    with pytest.raises(UsageError, match="no file fits"):
        expanded(f"{tmp_path}/*.csv")
    with fsspec.open("memory://data/a.jsonl", "wb") as file:
        file.write((tmp_path / "a.jsonl").read_bytes())
    assert expanded("memory://data/*.jsonl") == ["memory:///data/a.jsonl"]
    assert told("memory://data/a.jsonl") == told(str(tmp_path / "a.jsonl"))
    with pytest.raises(UsageError, match="cannot be read"):
        audit_file("memory://data/none.jsonl", How())
