"""Which lines of a tree run while a question is answered: in this process, its threads, and processes forked from it.

Standard library only: this runs inside the target's interpreter. Lines of functions count; those of modules and class
bodies do not, for they run at the first import only. What is seen is appended to a file, so that a rank that was forked
tells of its lines also if it dies.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType, FrameType, TracebackType
from typing import Any

FUNCTION = 0x1  # CO_OPTIMIZED: the code of a function, not of a module or a class body
INSTALLED = "site-packages/"  # an environment may lie in the tree
MOST_LINES = 200_000
MOST_EVENTS = 1_000_000  # lines run; by then it is plain where a run spends its time, and the rest is not watched
DEPTH = 4
QUIET = ("StopIteration", "StopAsyncIteration", "GeneratorExit")


class Watch:
    """Watches the files below `root` from `with` to its end. A tracer in place goes on and is put back.

    Args:
        root: absolute path. Links are followed.
        kept: a file to be written; what another watch wrote there is lost.
        keys: keys whose way is followed: each function that is given a mapping which holds one (or, as its first
            argument, an object that has one as attribute) is told of.
    """

    def __init__(self, root: str, kept: str, keys: Sequence[str] = ()) -> None:
        self.root, self.kept, self.keys = os.path.realpath(root) + os.sep, kept, frozenset(keys)
        self.given = os.path.join(os.path.abspath(root), "")
        self._files: dict[str, str] = {}
        self._tracers: dict[str, Callable[..., Any]] = {}
        self._counted: dict[str, dict[int, int]] = {}
        self._left = MOST_EVENTS
        self._leaving: dict[FrameType, tuple[str, int, str]] = {}
        self._told: set[tuple[int, str, int]] = set()

    def __enter__(self) -> Watch:
        self._file = os.open(self.kept, os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_WRONLY, 0o600)
        self._before = sys.gettrace()
        threading.settrace(self._called)
        sys.settrace(self._called)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.settrace(self._before)
        threading.settrace(self._before)
        os.close(self._file)

    def told(self) -> dict[str, Any]:
        """What ran, each in the order in which it was first seen.

        Returns:
            `lines`: [path, line]. `raised`: [path, line, type], the innermost line of the tree under an exception
            that left it.
            `holds`: [path, first line of the function, key, depth], the depth of a key in what a function was given: 1
            in a mapping itself. `hot`: [path, line, times], the ten lines that ran most often in this process.
        """
        found: dict[str, list[list[Any]]] = {"line": [], "raise": [], "hold": []}
        seen = set()
        with open(self.kept, encoding="utf-8") as file:
            for text in file:
                if text in seen:
                    continue
                seen.add(text)
                kind, path, line, *rest = text.rstrip("\n").split("\t")
                if kind in found:
                    found[kind].append([path, int(line), *rest])
        counted = [(path, line, times) for path, lines in self._counted.items() for line, times in lines.items()]
        hot = sorted(counted, key=lambda one: (-one[2], one[:2]))[:10]
        return {
            "lines": found["line"][:MOST_LINES],
            "raised": found["raise"],
            "holds": [[path, line, key, int(depth)] for path, line, key, depth in found["hold"]],
            "hot": [list(one) for one in hot],
        }

    def _name(self, code: CodeType) -> str:
        """The file of a function's code, relative to the tree; empty for what is not watched."""
        path = code.co_filename
        name = self._files.get(path)  # by the file: to hash a code object takes longer than many a function
        if name is None:
            starts = (s for s in (self.given, self.root) if path.startswith(s))
            name = next((path[len(s) :].replace(os.sep, "/") for s in starts), "")
            name = self._files[path] = "" if INSTALLED in name else name
        return name if name and code.co_flags & FUNCTION else ""

    def _called(self, frame: FrameType, event: str, value: Any) -> Callable[..., Any] | None:
        name = self._name(frame.f_code)
        if not name or self._left <= 0:
            return None
        if self.keys:
            self._follow(name, frame)
        tracer = self._tracers.get(name)
        if tracer is None:
            tracer = self._tracers[name] = self._tracer(name)
        return tracer

    def _tracer(self, name: str) -> Callable[..., Any]:
        """What is called with each event in a function of this file. Lines run by the hundred thousand: what they need
        is at hand."""
        counted, leaving = self._counted.setdefault(name, {}), self._leaving

        def ran(frame: FrameType, event: str, value: Any) -> Callable[..., Any] | None:
            if self._left <= 0:
                return None
            if event == "line":
                self._left -= 1
                line = frame.f_lineno
                if line in counted:
                    counted[line] += 1
                else:
                    counted[line] = 1
                    self._write("line", name, line)
                if leaving:
                    leaving.pop(frame, None)  # it was caught here
            elif event == "exception" and value[0].__name__ not in QUIET and self._is_outermost(frame):
                leaving[frame] = (*(self._last(value[2]) or ("", 0)), value[0].__name__)
            elif event == "return" and frame in leaving:
                self._write("raise", *leaving.pop(frame))
            return ran

        return ran

    def _is_outermost(self, frame: FrameType) -> bool:
        """Whether no frame of the tree called this one."""
        caller = frame.f_back
        while caller is not None:
            if self._name(caller.f_code):
                return False
            caller = caller.f_back
        return True

    def _last(self, trace: TracebackType | None) -> tuple[str, int] | None:
        """The last frame of the tree in a traceback: its file and line."""
        place = None
        while trace is not None:
            name = self._name(trace.tb_frame.f_code)
            place = (name, trace.tb_lineno) if name else place
            trace = trace.tb_next
        return place

    def _follow(self, name: str, frame: FrameType) -> None:
        code = frame.f_code
        count = code.co_argcount + code.co_kwonlyargcount
        for position, parameter in enumerate(code.co_varnames[:count]):
            value = frame.f_locals.get(parameter)
            for key, depth in held(value, self.keys, owned=position == 0):
                place = id(code), key, depth
                if place not in self._told:
                    self._told.add(place)
                    self._write("hold", name, code.co_firstlineno, key, depth)

    def _write(self, kind: str, path: str, line: int, *rest: object) -> None:
        if "\t" not in path and "\n" not in path:
            os.write(self._file, "\t".join((kind, path, str(line), *map(str, rest))).encode() + b"\n")


def held(value: Any, keys: frozenset[str], owned: bool, depth: int = 1) -> Iterator[tuple[str, int]]:
    """The keys that a mapping holds, at most `DEPTH` mappings deep; if `owned`, also attributes of an object."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(key, str) and key in keys:
                yield key, depth
            if depth < DEPTH and type(inner) in (dict, list):
                yield from held(inner, keys, False, depth + 1)
    elif type(value) is list and depth > 1:
        for inner in value:
            yield from held(inner, keys, False, depth)
    elif owned:
        yield from ((key, 1) for key in vars(value) if key in keys) if hasattr(value, "__dict__") else ()


def innermost(error: BaseException, root: str) -> tuple[str, int] | None:
    """The file, relative to the tree, and line of the last frame of the tree under an exception."""
    return Watch(root, os.devnull)._last(error.__traceback__)
