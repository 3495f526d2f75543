"""Every file of the pipeline is Python, every name that it uses is defined, and what it imports of the pipeline's own
modules is there.

Python finds out when the line runs: at the first evaluation, the first checkpoint, the first rollout that fails. A run
has then trained for hours; or an `except` around the line takes the NameError for what it was meant for, and a term of
the loss or a record of the evaluation is gone for good. A merge that leaves half of a conflict behind does the same to
a whole file.

Example: `dataclasses.asdict` loses its import in a refactoring, and saving a checkpoint raises NameError."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from coordexp_audit_lib.boundaries.pipeline_map.cases import code_request
from coordexp_audit_lib.boundaries.pipeline_map.predicates import broken_code
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.code import CODE, Code
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.source.broken import Broken

KINDS = ("syntax", "name", "import")


@claim(severity="P1", kind="S", remedy="import or define the name, or take the line out that uses it")
def names_defined(ctx: Context) -> Iterator[Problem]:
    code = ctx.value(CODE, code_request(ctx.contract))
    ctx.judged(code.files)
    ctx.fact("files read", code.files)
    ctx.fact("imports of its own names", code.imports)
    yield from broken_code(code, KINDS)


def _planted(kind: str, name: str, message: str) -> Callable[..., Code]:
    return answered(broken=lambda code: [*code.broken, Broken(kind, "src/planted.py", 3, "f", name, message)])


fault(names_defined, "conflict_left_behind", CODE, "a file holds the marks of a merge")(
    _planted("syntax", "src/planted.py", "is no Python: it does not parse")
)
fault(names_defined, "import_lost", CODE, "a function uses a name whose import was taken out")(
    _planted("name", "asdict", "'asdict' is not defined anywhere")
)
fault(names_defined, "moved_away", CODE, "a name is imported from a module that no longer has it")(
    _planted("import", "trainer.losses:mask", "imports 'mask' from trainer.losses, which has no such name")
)
