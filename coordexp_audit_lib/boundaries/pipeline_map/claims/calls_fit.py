"""Every call of the pipeline's own functions can be bound to their parameters.

A function gains a parameter, or loses one, and a caller far away is forgotten. The call raises TypeError when it is
reached: at an evaluation, at the end of a run, or inside a `try` that goes on without what the call was to give.

Example: `pack(samples, length=L)`, where `pack` takes `packing_length`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from coordexp_audit_lib.boundaries.pipeline_map.cases import code_request
from coordexp_audit_lib.boundaries.pipeline_map.predicates import broken_code
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.code import CODE, Code
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.source.broken import Broken


@claim(severity="P1", kind="S", remedy="call the function with the parameters that it has")
def calls_fit(ctx: Context) -> Iterator[Problem]:
    code = ctx.value(CODE, code_request(ctx.contract))
    ctx.judged(code.calls)
    ctx.fact("calls of its own functions", code.calls)
    yield from broken_code(code, ("call",))


def _planted(message: str) -> Callable[..., Code]:
    return answered(broken=lambda code: [*code.broken, Broken("call", "src/planted.py", 3, "f", "pack", message)])


fault(calls_fit, "unknown_keyword", CODE, "a call gives a keyword that the function does not take")(
    _planted("calls pack, which has no parameter 'length'")
)
fault(calls_fit, "argument_missing", CODE, "a call leaves out a parameter that has no default")(
    _planted("calls pack, without its required 'packing_length'")
)
fault(calls_fit, "one_too_many", CODE, "a call gives more arguments than the function takes")(
    _planted("calls pack, which takes 1 positional arguments, with 2")
)
