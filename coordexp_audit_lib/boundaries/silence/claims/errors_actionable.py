"""Every error that the audit provoked names what was wrong, where, and what to do.

An error that says neither which key, record or index is wrong, nor what is demanded, is worked around: the sample is
skipped, the key is dropped, the check is switched off. What is then trained or evaluated is not what was meant.

Example: `stage2_ab.schedule.b_ratio must be in [0,1], got 7` is actionable; `bad value` is not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from coordexp_audit_lib.boundaries.silence.predicates import lacks
from coordexp_audit_lib.core.claim import Context, claim, provocations
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Refuse


@claim(severity="P2", kind="B", remedy="name the key path, field, index or value, and say what is demanded")
def errors_actionable(ctx: Context) -> Iterator[Problem]:
    """Ask each boundary's provocations again; a surface that the target does not answer is a part left out."""
    silent, told = set(), set()
    for provocation in provocations():
        name = provocation.surface.name
        try:
            answers = list(provocation.ask(ctx))
        except SurfaceUnbound:
            silent.add(name)
            ctx.left_out(name, "the target does not answer it")
            continue
        for label, answer in answers:
            if answer.refusal is None:
                continue  # that it should have been refused is the boundary's own claim
            ctx.judged()
            missing = lacks(answer.refusal.message)
            kind = (name, re.sub(r"\d+", "0", answer.refusal.message))
            if missing and kind not in told:  # one violation for each wording
                told.add(kind)
                message = f"an error names no {' and no '.join(m.removeprefix('a ') for m in missing)}"
                shown = f"{answer.refusal.type}: {answer.refusal.message}"
                yield Problem(message, subject=f"{name}: {label}", actual=shown)
    ctx.fact("surfaces that provoke errors and are not answered", sorted(silent))


def _mute(request: Any, honest: Callable[[Any], Any]) -> Any:
    try:
        return honest(request)
    except Refuse as error:
        raise Refuse("bad value", error.refusal.type) from error


for _provocation in provocations()[:1]:  # there is none where this boundary was loaded alone
    fault(
        errors_actionable,
        f"mute_{_provocation.surface.name}",
        _provocation.surface,
        "an error is refused with an empty message",
    )(_mute)
