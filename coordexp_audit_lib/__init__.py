"""Reproducibility-grade audit of V-LLM grounding training pipelines of the CoordExp kind.

    import coordexp_audit_lib as audit
    audit.read_audit("runs/today").to_dataframe()       # an audit as a DataFrame; also .violations(), .evidence()
    audit.AuditCallback()                               # the guards inside any transformers Trainer

Names are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coordexp_audit_lib import guards
    from coordexp_audit_lib.callback import AuditCallback
    from coordexp_audit_lib.core.errors import AuditError, InvariantViolation
    from coordexp_audit_lib.report.frame import Audit, read_audit
    from coordexp_audit_lib.run.session import Session

__version__ = "0.1.0"

_FROM = {
    "Audit": "report.frame",
    "AuditCallback": "callback",
    "AuditError": "core.errors",
    "InvariantViolation": "core.errors",
    "Session": "run.session",
    "guards": "",
    "read_audit": "report.frame",
}

__all__ = ["Audit", "AuditCallback", "AuditError", "InvariantViolation", "Session", "guards", "read_audit"]


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place = _FROM[name]
    return getattr(import_module(f"{__name__}.{place}"), name) if place else import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_FROM})
