"""How near the places of violations are to those to be mended, by a table that was made by reading the code.

    python tools/places_to_mend.py AUDIT_JSON…

A finding counts as right if every violation that it shows is. Violations that the table has no row for are left out.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TABLE = Path(__file__).resolve().parents[1] / "tests" / "pipelines" / "places_b46e74f.json"
NEAR = 5


def rows_for(finding: dict[str, Any], violation: dict[str, Any], table: dict[str, Any]) -> list[dict[str, Any]]:
    """The table's places for one violation; empty where it has none."""
    text = f"{violation['subject']} | {violation['message']}"
    configs = {finding["config"], *finding.get("configs", ())}
    for row in table["rows"]:
        fits = not row["config"] or table["configs"][row["config"]] in configs
        if row["claim"] == finding["invariant"] and fits and re.search(row["about"], text):
            return list(row["places"])
    return []


def distance(where: dict[str, Any], place: dict[str, Any]) -> int | None:
    """Lines from a violation's place to one of the table; None in another file."""
    if where["path"] != place["path"]:
        return None
    return int(max(place["first"] - where["line"], where["line"] - place["last"], 0))


def in_function(where: dict[str, Any], place: dict[str, Any]) -> bool:
    name = where["symbol"].rpartition(":")[2]
    same = name == place["symbol"] or name.startswith(f"{place['symbol']}.")
    return where["path"] == place["path"] and bool(place["symbol"]) and same


def judged(findings: list[dict[str, Any]], table: dict[str, Any]) -> Iterator[tuple[str, str, bool, bool, str]]:
    """(finding, subject, in the right function, near, how it was found and where) of each violation with a row."""
    for f in findings:
        for v in f["violations"] if f["status"] == "violated" else ():
            places, where = rows_for(f, v, table), v["where"]
            if not places:
                continue
            near = where is not None and any((d := distance(where, p)) is not None and d <= NEAR for p in places)
            right = where is not None and (near or any(in_function(where, p) for p in places))
            shown = f"{v.get('found', '')}: {where['path']}:{where['line']} {where['symbol']}" if where else "nowhere"
            yield f"{f['invariant']} {f['config'] or ''}".strip(), v["subject"], right, near, shown


def main(paths: list[str]) -> None:
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    findings = [f for path in paths for f in json.loads(Path(path).read_text(encoding="utf-8"))["findings"]]
    found = list(judged(findings, table))
    for name, subject, right, near, shown in found:
        print(f"{'near' if near else 'function' if right else 'ELSEWHERE':9} {name} | {subject[:60]} | {shown}")
    names = sorted({name for name, *_ in found})
    whole, close = ([n for n in names if all(f[i] for f in found if f[0] == n)] for i in (2, 3))
    print(f"findings {len(names)}: in the right function {len(whole)}, within {NEAR} lines {len(close)}")
    print(f"violations {len(found)}: right function {sum(f[2] for f in found)}, near {sum(f[3] for f in found)}")


if __name__ == "__main__":
    main(sys.argv[1:])
