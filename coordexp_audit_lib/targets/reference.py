"""The reference target: this library's own small implementation of every surface."""

from __future__ import annotations

import inspect
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib import __version__
from coordexp_audit_lib.core.errors import SurfaceUnbound, UsageError
from coordexp_audit_lib.core.evidence import Where, digest
from coordexp_audit_lib.core.fault import Fault
from coordexp_audit_lib.core.finding import Reached
from coordexp_audit_lib.core.surface import Refuse, Surface, reference_answers, surfaces
from coordexp_audit_lib.core.target import Binding, Target, TargetInfo

PACKAGE = Path(__file__).resolve().parents[1]


Memory = dict[tuple[str, str], bytes | Refuse]


class ReferenceTarget(Target):
    """Answers with the functions registered by `answers`, if asked to with one surface broken by a fault.

    memory: what it was asked before, shared by targets that are asked the same (an unbroken surface answers a question
    once). Answers are kept as bytes, so that whoever changes one changes only his copy.
    """

    def __init__(self, fault: Fault | None = None, memory: Memory | None = None) -> None:
        self._answers = reference_answers()
        self._memory = memory
        self._fault = fault
        self._bindings: dict[str, Binding] | None = None

    def info(self) -> TargetInfo:
        name = f"reference with {self._fault.id}" if self._fault else "reference"
        return TargetInfo(
            kind="reference",
            name=name,
            interpreter=platform.python_version(),
            versions={"coordexp_audit_lib": __version__},
        )

    def bindings(self) -> dict[str, Binding]:
        if self._bindings is None:
            self._bindings = {n: _binding(n, self._answers.get(n)) for n in surfaces()}
        return self._bindings

    def raw(self, question: Surface[Any, Any], request: dict[str, Any]) -> dict[str, Any]:
        function = self._answers.get(question.name)
        if function is None:
            raise SurfaceUnbound("the reference does not answer it", where=question.name, remedy="write its answer")
        typed = msgspec.convert(request, question.request)
        try:
            if self._fault and self._fault.surface.name == question.name:
                value = self._fault.apply(typed, lambda r: self._honest(question, function, r))
            else:
                value = self._honest(question, function, typed)
        except Refuse as error:
            return {"refusal": msgspec.to_builtins(error.refusal)}
        return {"value": msgspec.to_builtins(value)}

    def _honest(self, question: Surface[Any, Any], function: Callable[[Any], Any], request: Any) -> Any:
        """The unbroken answer, from memory where there is one."""
        if self._memory is None:
            return function(request)
        key = (question.name, digest(msgspec.to_builtins(request)))
        if key not in self._memory:
            try:
                self._memory[key] = msgspec.msgpack.encode(function(request))
            except Refuse as refused:
                self._memory[key] = refused
        kept = self._memory[key]
        if isinstance(kept, Refuse):
            raise kept
        return msgspec.msgpack.decode(kept, type=question.response)

    def reach(self, config: str, claim: str, where: Where | None, subject: str) -> Reached:
        return Reached("this config", "the reference has no code that is not asked")

    def config_path(self, config: str) -> str:
        if not (self.pipeline().reference / config).is_file():
            raise UsageError("the reference has no such config", where=config, remedy="use an anchored config")
        return config


@cache  # finding a function's source costs milliseconds, and a proof opens hundreds of targets
def _binding(name: str, function: Callable[[Any], Any] | None) -> Binding:
    if function is None:
        return Binding(surface=name, status="unbound", note="the reference does not answer it")
    source, line = inspect.getsourcelines(function)
    path = Path(inspect.getsourcefile(function) or "").resolve()
    shown = path.relative_to(PACKAGE.parent).as_posix() if path.is_relative_to(PACKAGE.parent) else path.name
    return Binding(
        surface=name,
        status="bound",
        path=shown,
        line=line,
        symbol=f"{function.__module__}:{function.__qualname__}",
        digest=digest("".join(source)),
    )
