"""How the work of a function grows with its input: executed lines, counted exactly, and CPU time."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

REPEATS = 3
SHORTEST = 0.004  # seconds at the largest size, below which a ratio of times says nothing
SUPERLINEAR = 9.2  # time(4n) / time(n) of an exponent of 1.6
FEWEST = 16  # lines: fewer are noise


def growth(function: Callable[[Any], Any], inputs: Sequence[Any]) -> dict[str, Any]:
    """How the work of `function` grows over three inputs of sizes n, 2n and 4n.

    What every call costs cancels out: the lines that 2n more take are compared with those that n more took.

    Returns:
        `lines`: the growth exponent of the executed Python lines, rounded to one decimal, at least 0. `time`: whether
        CPU time agrees: `linear`, `superlinear`, or `unclear` where it is too short to tell.
    """
    first, second, third = (lines(function, one) for one in inputs)
    steps = max(second - first, FEWEST), max(third - second, FEWEST)
    return {"lines": max(0.0, round(math.log2(steps[1] / steps[0]), 1)), "time": _verdict(function, inputs)}


def lines(function: Callable[[Any], Any], argument: Any) -> int:
    """The number of Python lines that a call executes, with all that it calls. A tracer in place goes on meanwhile."""
    counted = 0
    before: Any = sys.gettrace()

    def trace(frame: Any, event: str, value: Any) -> Any:
        nonlocal counted
        counted += event == "line"
        if before is None:
            return trace
        theirs = before(frame, event, value)
        return trace if theirs is None else both(theirs)

    def both(theirs: Any) -> Any:
        def local(frame: Any, event: str, value: Any) -> Any:
            nonlocal counted
            counted += event == "line"
            theirs(frame, event, value)
            return local

        return local

    sys.settrace(trace)
    try:
        function(argument)
    finally:
        sys.settrace(before)
    return counted


def _verdict(function: Callable[[Any], Any], inputs: Sequence[Any]) -> str:
    for _ in range(REPEATS):  # superlinear only if every attempt says so
        first, last = _seconds(function, inputs[0]), _seconds(function, inputs[-1])
        if last < SHORTEST:
            return "unclear"
        if last < SUPERLINEAR * first:
            return "linear"
    return "superlinear"


def _seconds(function: Callable[[Any], Any], argument: Any) -> float:
    best = math.inf
    for _ in range(REPEATS):
        started = time.process_time()
        function(argument)
        best = min(best, time.process_time() - started)
    return best
