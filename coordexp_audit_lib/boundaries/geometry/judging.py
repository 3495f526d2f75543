"""What several claims of this boundary need to judge: problems as violations, and paths that a target may lack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from coordexp_audit_lib.boundaries.geometry import bins as b
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.surface import Answer, Surface

BOUNDARY = "geometry"
FIELD_ORDERS = ("desc_first", "geometry_first")


def violations(
    found: Iterable[b.Problem], subject: str, counterexample: Any = None, where: Where | None = None
) -> Iterator[Violation]:
    """A predicate's problems as violations of what was asked; `where`: if it was not the surface asked last."""
    for p in found:
        what = f"{subject}: {p.message}"
        yield Violation(what, f"{subject} {p.path}".strip(), p.expected, p.actual, counterexample, where)


class Ways:
    """Asks a claim's several paths; one that the target lacks leaves the others to be judged.

    But a claim about every path is not held while one could not be asked: `close` then says which.
    """

    def __init__(self, ctx: Context) -> None:
        self.ctx, self.missing, self.violated = ctx, dict[str, SurfaceUnbound](), False

    def ask(self, path: str, surface: Surface[Any, Any], request: Any) -> Answer[Any] | None:
        if path in self.missing:
            return None
        try:
            answer = self.ctx.ask(surface, request)
        except SurfaceUnbound as error:
            self.missing[path] = error
            self.ctx.fact(f"not judged: {path}", error.what)
            return None
        self.ctx.judged()
        return answer

    def found(self, violation: Violation) -> Violation:
        self.violated = True
        return violation

    def close(self) -> None:
        """Raise for a path that could not be asked, unless a violation was found on another."""
        if self.missing and not self.violated:
            raise next(iter(self.missing.values()))
