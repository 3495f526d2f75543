"""Judge one packed batch, from any framework: for each claim, whether its tensors decide it, and what they say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing import contract, positions
from coordexp_audit_lib.boundaries.packing import invariants as declared  # noqa: F401  declares the claims
from coordexp_audit_lib.boundaries.packing.contract import Problem, Undecided
from coordexp_audit_lib.boundaries.packing.row import TENSORS, Array, PackedRow
from coordexp_audit_lib.boundaries.packing.sound import FORMS, sift
from coordexp_audit_lib.core.claim import Invariant, invariants
from coordexp_audit_lib.core.errors import UsageError, one_line
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.finding import MAX_EXAMPLES, Finding, Status, Violation, tidy

Judge = Callable[[PackedRow], Iterator[Problem]]
ALIGNED = "packing.fields_aligned"
NOT_IN_A_BATCH = {
    "packing.each_once": "needs every pack of the plan, and how many samples there are",
    "packing.stable_order": "needs the plan twice, and the samples' places in the dataset",
    "packing.ddp_aligned": "needs the plan and every rank's share of it",
    "packing.fill_at_least_fifo": "needs the buffer that the pack was selected from",
    "packing.segments_isolated": "needs the model and the trainer's call of it: run the audit on the pipeline",
    "packing.loss_equivalent": "needs the model and the trainer's loss: run the audit on the pipeline",
    "packing.eval_unpacked": "needs the config",
}


def decide(tensors: Mapping[str, Any], packing_length: int | None = None, name: str = "batch") -> list[Finding]:
    """A finding for each claim of the packing boundary, in order of declaration.

    Args:
        tensors: any of `row.TENSORS` as arrays (shapes: `PackedRow`); other names are left out.
        packing_length: the pack's capacity, where it is known. name: what the findings call the batch.

    `held` and `violated` count one case; `unbound` says which tensors are missing. A tensor of the wrong dtype, shape
    or values is a violation of `fields_aligned` and of its own claim, and can't decide others.

    Raises:
        UsageError: none of the tensors is there.
    """
    if not any(n in tensors for n in TENSORS):
        raise UsageError("holds no tensor of a packed batch", where=name, remedy=f"give any of {', '.join(TENSORS)}")
    good, bad = sift({n: tensors[n] for n in TENSORS if n in tensors})
    row = PackedRow(good)
    shapes = [Evidence("fact", symbol=n, value=_shape(np.asarray(tensors[n]))) for n in TENSORS if n in tensors]
    known = judges(packing_length)
    return [_finding(i, row, known.get(i.id), bad=bad, shapes=shapes, name=name) for i in invariants("packing")]


def judges(packing_length: int | None) -> dict[str, Judge]:
    """The predicates that one batch can decide, by claim. What has no known length has no capacity to exceed."""
    return {
        "packing.capacity": lambda r: _capacity(r, packing_length),
        ALIGNED: contract.fields_aligned,
        "packing.cu_seqlens": contract.cu_seqlens,
        "packing.positions_restart": positions.positions_restart,
        "packing.no_cross_boundary_label": contract.no_cross_boundary_label,
        "packing.vision_in_order": contract.vision_in_order,
    }


def first_problems(
    tensors: Mapping[str, Any], packing_length: int | None = None
) -> tuple[dict[str, Problem], list[str]]:
    """The first problem of each claim that a batch breaks, and the claims that its tensors decide.

    The same judgement as `decide`, for a training step: nothing is gathered that nobody reads. That fields disagree
    comes last, for it is seldom the cause.
    """
    good, bad = sift(tensors)
    broken, decided = dict[str, Problem](), list[str]()
    for name, problem in bad.items():
        broken.setdefault(FORMS[name].claim or ALIGNED, problem)
    if broken:
        return broken, decided
    row = PackedRow(good)
    known = judges(packing_length)
    for claim, judge in sorted(known.items(), key=lambda item: item[0] == ALIGNED):
        try:
            found = next(judge(row), None)
        except Undecided:
            continue
        decided.append(claim)
        if found is not None:
            broken[claim] = found
    return broken, decided


def _capacity(row: PackedRow, packing_length: int | None) -> Iterator[Problem]:
    if packing_length is None:
        raise Undecided("needs packing_length")
    yield from contract.capacity(row, packing_length)


def _shape(a: Array) -> str:
    return f"{a.dtype} {list(a.shape)}"


def _finding(
    inv: Invariant, row: PackedRow, judge: Judge | None, *, bad: dict[str, Problem], shapes: list[Evidence], name: str
) -> Finding:
    started = time.perf_counter()
    own = [p for n, p in bad.items() if inv.id in (ALIGNED, FORMS[n].claim)]
    found, status, note = _judged(inv.id, row, judge, own)
    if status == "unbound" and bad:
        note += f"; not usable: {', '.join(bad)}"
    return Finding(
        invariant=inv.id,
        boundary=inv.boundary,
        severity=inv.severity,
        kind=inv.kind,
        status=status,
        checked=int(status in ("held", "violated")),
        config=None,
        claim=inv.claim,
        violations=[_violation(p, name) for p in found[:MAX_EXAMPLES]],
        violation_count=len(found),
        evidence=shapes,
        remedy=inv.remedy,
        spec="; ".join(map(str, inv.spec)),
        note=tidy(note),
        seconds=round(time.perf_counter() - started, 3),
    )


def _judged(id: str, row: PackedRow, judge: Judge | None, found: list[Problem]) -> tuple[list[Problem], Status, str]:
    """Problems, status, and the note for what could not be decided. What was found before that counts."""
    found, note, undecided = list(found), "", False
    try:
        if judge is None:
            raise Undecided(NOT_IN_A_BATCH[id])
        for problem in judge(row):
            found.append(problem)
    except Undecided as error:
        note, undecided = str(error), True
    except Exception as error:  # a check that crashed is never a pass
        return found, "violated" if found else "error", one_line(f"the check failed: {type(error).__name__}: {error}")
    return found, "violated" if found else "unbound" if undecided else "held", note


def _violation(problem: Problem, name: str) -> Violation:
    text = problem.message if problem.token is None else f"{problem.message} (token {problem.token})"
    case = None if problem.token is None else {"token": problem.token}
    return Violation(tidy(text), name, tidy(problem.expected), tidy(problem.actual), case)
