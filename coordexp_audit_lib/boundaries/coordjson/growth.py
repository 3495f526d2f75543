"""How the work of a function grows with its input: executed lines, counted exactly, and CPU time."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Literal

from coordexp_audit_lib.boundaries.coordjson.contract import Growth

REPEATS = 3
SHORTEST = 0.004  # seconds at the largest size, below which a ratio of times says nothing
SUPERLINEAR = 9.2  # time(4n) / time(n) of an exponent of 1.6
FEWEST = 16  # lines: fewer are noise


def growth(function: Callable[[str], Any], texts: tuple[str, str, str]) -> Growth:
    """The growth exponent of `function` over texts of sizes n, 2n and 4n.

    What every call costs cancels out: the lines that 2n more take are compared with those that n more took.
    """
    first, second, third = (_lines(function, text) for text in texts)
    steps = max(second - first, FEWEST), max(third - second, FEWEST)
    return Growth(lines=max(0.0, round(math.log2(steps[1] / steps[0]), 1)), time=_time_verdict(function, texts))


def _lines(function: Callable[[str], Any], text: str) -> int:
    counted = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal counted
        counted += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(text)
    finally:
        sys.settrace(before)
    return counted


def _time_verdict(
    function: Callable[[str], Any], texts: tuple[str, str, str]
) -> Literal["linear", "superlinear", "unclear"]:
    for _ in range(REPEATS):  # superlinear only if every attempt says so
        first, last = _seconds(function, texts[0]), _seconds(function, texts[2])
        if last < SHORTEST:
            return "unclear"
        if last < SUPERLINEAR * first:
            return "linear"
    return "superlinear"


def _seconds(function: Callable[[str], Any], text: str) -> float:
    best = math.inf
    for _ in range(REPEATS):
        started = time.process_time()
        function(text)
        best = min(best, time.process_time() - started)
    return best
