"""Known-bad pipelines for 12."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.silence.contract import SUPPRESSIONS, Scan, ScanRequest, suppressions
from coordexp_audit_lib.core.claim import fault, provocations
from coordexp_audit_lib.core.surface import Refuse

SWALLOWS = {
    "bare": "try:\n    f()\nexcept:\n    pass\n",
    "exception": "def g():\n    try:\n        f()\n    except (OSError, Exception) as e:\n        'fine'\n",
    "base": "try:\n    f()\nexcept BaseException:\n    ...\n",
    "suppress": "from contextlib import suppress as quiet\nwith quiet(Exception):\n    f()\n",
}


def _planted(source: str) -> Callable[[ScanRequest, Callable[[ScanRequest], Scan]], Scan]:
    def apply(request: ScanRequest, honest: Callable[[ScanRequest], Scan]) -> Scan:
        scan = honest(request)
        found = list(suppressions(ast.parse(source), "src/planted.py"))
        return msgspec.structs.replace(scan, suppressions=[*scan.suppressions, *found])

    return apply


for _name, _source in SWALLOWS.items():
    fault(
        f"silence.swallows_{_name}",
        surface=SUPPRESSIONS,
        caught_by=("silence.no_blanket_suppression",),
        summary=f"a core path swallows every exception ({_name})",
    )(_planted(_source))


def register_mute(surface: Any) -> None:
    """A pipeline that refuses without saying why."""

    @fault(
        f"silence.mute_{surface.name}",
        surface=surface,
        caught_by=("silence.errors_actionable",),
        summary="an error is refused with an empty message",
    )
    def mute(request: Any, honest: Callable[[Any], Any]) -> Any:
        try:
            return honest(request)
        except Refuse as error:
            raise Refuse("bad value", error.refusal.type) from error


if provocations():
    register_mute(provocations()[0].surface)
