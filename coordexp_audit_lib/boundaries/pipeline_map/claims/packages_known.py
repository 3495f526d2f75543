"""What a module of the pipeline imports at its top, of others, is a package of its environment.

A package that was on one machine only, or was renamed, stops every run that reaches the module, on every other one: the
augmentation or the evaluation that a paper describes can't be run again by anybody.

Example: `from data_tools.exif import upright` at the top of the augmentation, where `data_tools` is a folder that lay
beside the author's clone."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.pipeline_map.cases import code_request
from coordexp_audit_lib.boundaries.pipeline_map.predicates import broken_code
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.code import CODE
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.source.broken import Broken


@claim(severity="P1", kind="S", remedy="name the package among the requirements, bring it along, or do without it")
def packages_known(ctx: Context) -> Iterator[Problem]:
    request = code_request(ctx.contract)
    if not request.packages:
        ctx.left_out("imports of packages", "what the environment has is not known")
        return
    code = ctx.value(CODE, request)
    ctx.judged(code.files)
    ctx.fact("files read", code.files)
    yield from broken_code(code, ("package",))


UNKNOWN = "imports data_tools, which is neither in the tree nor a package of its environment"
fault(packages_known, "unknown_package", CODE, "a module imports at its top a package that nobody has")(
    answered(broken=lambda c: [*c.broken, Broken("package", "src/planted.py", 3, "", "data_tools", UNKNOWN)])
)
