"""No core path swallows every exception: no blanket `except` that does nothing, no `suppress(Exception)`.

A sample that failed to encode, a matching that raised, a reduction over ranks that broke: swallowed, each becomes a
missing term of the loss or a missing record of the evaluation, and the numbers that remain look like results.

Example: `except Exception: pass` around the decoding of a rollout group drops the group from the objective unseen."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from coordexp_audit_lib.boundaries.silence.surfaces import SUPPRESSIONS, Scan, ScanRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.fault import Honest, answered, fault
from coordexp_audit_lib.core.finding import Authority
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.source.handlers import suppressions

SWALLOWS = {
    "bare": "try:\n    f()\nexcept:\n    pass\n",
    "exception": "def g():\n    try:\n        f()\n    except (OSError, Exception) as e:\n        'fine'\n",
    "base": "try:\n    f()\nexcept BaseException:\n    ...\n",
    "suppress": "from contextlib import suppress as quiet\nwith quiet(Exception):\n    f()\n",
}


@claim(severity="P1", kind="S", remedy="catch the exceptions that are expected by name, and log or re-raise the rest")
def no_blanket_suppression(ctx: Context) -> Iterator[Problem]:
    core = ctx.contract.get("silence.core_folder")
    scan = ctx.value(SUPPRESSIONS, ScanRequest(core or ""))
    whose: Authority | None = None if core else "practice"  # which paths are the core is not said
    ctx.judged(scan.files)
    ctx.fact("files read", scan.files)
    ctx.fact("exception handlers read", scan.handlers)
    for s in scan.suppressions:
        where = Where(s.path, s.line, s.symbol)
        yield Problem(
            f"every exception vanishes here: {s.form}", subject=s.symbol or s.path, where=where, authority=whose
        )
    if scan.unparsed:
        raise SurfaceFailed(
            f"{len(scan.unparsed)} files do not parse", where=scan.unparsed[0], remedy="mend them first"
        )


def _planted(source: str) -> Callable[[ScanRequest, Honest], Scan]:
    found = list(suppressions(ast.parse(source), "src/planted.py"))
    return answered(suppressions=lambda scan: [*scan.suppressions, *found])


for _name, _source in SWALLOWS.items():
    fault(no_blanket_suppression, f"swallows_{_name}", SUPPRESSIONS, f"a core path swallows every exception ({_name})")(
        _planted(_source)
    )
