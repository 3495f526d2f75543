"""Boundary 04: assistant text."""

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parts import box, container, of_tree, refusal

FIRST, SECOND = box("cat", (1, 2, 3, 4)), box("dog", (5, 6, 7, 8))


def _parse(text: str, mode: str = "salvage") -> Any:
    return of_tree("src.utils.coordjson_transpiler:parse_coordjson")(text, mode=mode)


def agrees_with_reference(tree: Path) -> tuple[bool, str]:
    """An array entry that is no record must cost itself alone; an extra comma makes a record invalid."""
    stray = _parse(container(FIRST, "5", SECOND))
    comma = _parse(container(FIRST.replace("<|coord_4|>]", "<|coord_4|>,]"), SECOND))
    kept = [r.desc for r in comma.records]
    seen = f"[ok, 5, ok]: parse_failed={stray.parse_failed}, {len(stray.records)} kept; extra comma: kept {kept}"
    return bool(stray.parse_failed) and kept == ["cat", "dog"], seen


def salvage_accounts(tree: Path) -> tuple[bool, str]:
    found = _parse(container(FIRST, "5", SECOND))
    counted = len(found.records), found.dropped_invalid_records, found.dropped_incomplete_tail
    return sum(counted) == 0, f"[ok, 5, ok]: kept, dropped, tail = {counted}"


def salvage_never_repairs(tree: Path) -> tuple[bool, str]:
    comma = _parse(container(FIRST.replace("<|coord_4|>]", "<|coord_4|>,]")))
    spelled = _parse(container(FIRST.replace("coord_4", "coord_004")))
    kept = [len(f.records) for f in (comma, spelled)]
    return kept == [1, 1], f"kept with a comma before the bracket, and with coord_004: {kept}"


def strict_rejects(tree: Path) -> tuple[bool, str]:
    texts = {
        "comma before the bracket": container(FIRST.replace("<|coord_4|>]", "<|coord_4|>,]")),
        "coord_004": container(FIRST.replace("coord_4", "coord_004")),
        "no-break space before": "\u00a0" + container(FIRST),
        "line separator inside": container(FIRST, SECOND).replace(", {", ",\u2028{"),
    }
    read = [name for name, text in texts.items() if not refusal(_parse, text, "strict")]
    control = refusal(_parse, "x" + container(FIRST), "strict")
    return len(read) == len(texts) and bool(control), f"strict mode reads: {', '.join(read)}"


def linear_time(tree: Path) -> tuple[bool, str]:
    """Lines run on a text of length n, 2n and 4n: linear work doubles."""
    load = of_tree("src.common.prediction_parsing:load_prediction_dict")
    asked: dict[str, tuple[Callable[[str], Any], Callable[[int], str]]] = {
        "load_prediction_dict of many {": (load, lambda n: "{" * n),
        "salvage of nested objects that fail late": (_parse, lambda n: '{"a":' * n + "1" + "}" * n),
    }
    told, grows = [], []
    for name, (function, text) in asked.items():
        counts = [_lines_run(function, text(n)) for n in (40, 80, 160)]
        told.append(f"{name}: {counts}")
        grows.append(counts[2] > 3 * counts[1])
    return any(grows), "lines run " + "; ".join(told)


def _lines_run(function: Callable[[str], Any], text: str) -> int:
    count = 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        refusal(function, text)
    finally:
        sys.settrace(before)
    return count


def transpiled_before_json(tree: Path) -> tuple[bool, str]:
    """`load_prediction_dict` gives `json.loads` what `extract_json_block` cut out of the model's text."""
    source = ast.parse((tree / "src/common/prediction_parsing.py").read_text(encoding="utf-8"))
    function = next(n for n in source.body if isinstance(n, ast.FunctionDef) and n.name == "load_prediction_dict")
    cut = {
        t.id
        for n in ast.walk(function)
        if isinstance(n, ast.Assign) and "extract_json_block" in ast.unparse(n.value)
        for t in n.targets
        if isinstance(t, ast.Name)
    }
    calls = [n for n in ast.walk(function) if isinstance(n, ast.Call) and ast.unparse(n.func) == "json.loads"]
    direct = [n.lineno for n in calls if ast.unparse(n.args[0]) in cut]
    return bool(direct), f"json.loads of text that was only cut out, in line {direct}"
