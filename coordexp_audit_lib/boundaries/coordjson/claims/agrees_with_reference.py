"""On generated valid, broken and real rollout text the pipeline and the reference agree on what is kept and why the
rest is dropped.

What one reader keeps and another drops is an object that training matches and evaluation misses, or the other way
round: the metric then measures the difference of two readers. The reference is the contract's grammar, clause by
clause.

Example: a trailing comma makes a record malformed; whoever keeps it reads another language than the specification."""

from __future__ import annotations

import json
from collections.abc import Iterator

from coordexp_audit_lib.boundaries.coordjson import surfaces as s
from coordexp_audit_lib.boundaries.coordjson.cases import texts
from coordexp_audit_lib.boundaries.coordjson.cases.fringe import CLAUSES, MINOR, fringe_texts
from coordexp_audit_lib.boundaries.coordjson.cases.rollouts import rollouts
from coordexp_audit_lib.boundaries.coordjson.cases.texts import Case
from coordexp_audit_lib.boundaries.coordjson.predicates import parsing
from coordexp_audit_lib.boundaries.coordjson.predicates.tally import Tally
from coordexp_audit_lib.boundaries.coordjson.reference import render
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit import coordjson
from coordexp_audit_lib.kit.coordjson import ORDERS, Order

CUTS_PER_ROLLOUT = 4
MODES: tuple[s.Mode, ...] = ("strict", "salvage")


@claim(
    severity="P0",
    kind="B",
    remedy="Drop and count the one record that breaks the clause named in the message, and keep the others; report a "
    "failure where no container can be read.",
)
def agrees_with_reference(ctx: Context) -> Iterator[Problem]:
    tally = Tally()
    for order in ORDERS:  # the canonical text is fixed to the character, because tokens depend on it
        for things in [*texts.listed_things(), *rollouts()]:
            ctx.judged()
            request = s.RenderRequest(things, order)
            text = ctx.value(s.RENDER, request).text
            if text != render(request).text:
                tally.add("canonical form", "the rendered text is not the canonical one", text, order)
    for case in _compared(ctx):
        for mode in MODES:
            ctx.judged()
            problems = _disagreements(ctx, s.ParseRequest(case.text, mode, case.order))
            if problems:
                tally.add(case.kind, f"in {mode} mode, {'; '.join(problems)}", case.text, case.order, mode)
    yield from tally.problems(ctx.where(s.PARSE), CLAUSES, MINOR)


def _compared(ctx: Context) -> Iterator[Case]:
    """Valid, broken, mixed, cut and real texts, then those at the fringe, whose classes have a clause of their own."""
    for order in ORDERS:
        for source in (texts.broken_texts, texts.junk_texts, texts.mixed_texts, texts.cut_texts, texts.lost_texts):
            cases = texts.demanded(source(order), ctx.contract)
            yield from (c for c in cases if c.kind != "entry is no record" and c.text != "{")
        yield from fringe_texts(order)
        yield from _real(ctx, order)


def _real(ctx: Context, order: Order) -> Iterator[Case]:
    """What a model said about real images: whole, ended by a special token, and cut at random places."""
    for i, things in enumerate(rollouts()):
        text = render(s.RenderRequest(things, order)).text
        yield Case("real rollout", text, order)
        yield Case("real rollout", text + "<|im_end|>", order)
        rng = ctx.rng("cuts", i, order)
        for _ in range(CUTS_PER_ROLLOUT):
            yield Case("real rollout", text[: rng.randrange(12, len(text))], order)


def _disagreements(ctx: Context, request: s.ParseRequest) -> list[str]:
    """Where the target's answer to one request is not what the contract asks."""
    answer = ctx.ask(s.PARSE, request)
    try:
        reading = getattr(coordjson, request.mode)(request.text, request.order)
    except coordjson.Broken as error:
        return [] if answer.refused else [f"accepted, but {error}"]
    if answer.refusal is not None:
        return [f"refused: {answer.refusal.message[:200]}"]
    found = [p.message for p in parsing.agreement(answer.value, reading)]
    return found or ([] if request.mode == "strict" else _transpiled(ctx, request, reading))


def _transpiled(ctx: Context, request: s.ParseRequest, reading: coordjson.Container | None) -> list[str]:
    """The strict JSON must say what was kept, and a failure must be reported beside an empty container."""
    said = ctx.value(s.TRANSPILE, request)
    if said.failed != (reading is None):
        return [f"the transpiler reports failed as {said.failed}"]
    try:
        loaded = json.loads(said.text)
    except ValueError:
        return ["the transpiled text is not JSON"]
    kept = [e for e in (reading.entries if reading else []) if e.valid]
    wanted = [{k: e.desc.strip() if k == "desc" else list(e.values) for k in e.keys} for e in kept]
    if isinstance(loaded, dict) and isinstance(loaded.get("objects"), list):
        loaded = {**loaded, "objects": [_trimmed(o) for o in loaded["objects"]]}
    return [] if loaded == {"objects": wanted} else ["the transpiled text says something else than the kept records"]


def _trimmed(entry: object) -> object:
    if isinstance(entry, dict) and isinstance(entry.get("desc"), str):
        return {**entry, "desc": entry["desc"].strip()}
    return entry


_TIGHT = "coordinates are separated without a space, so the tokens differ from those of rollouts"
fault(agrees_with_reference, "tight_separators", s.RENDER, _TIGHT)(
    answered(text=lambda rendered: rendered.text.replace("|>, <|", "|>,<|"))
)
fault(agrees_with_reference, "one_reason", s.PARSE, "every dropped record counts as wrong_arity")(
    answered(dropped=lambda parsed: {"wrong_arity": sum(parsed.dropped.values())} if parsed.dropped else {})
)
_SILENT = "a text without a container becomes an empty prediction and no failure is reported"
fault(agrees_with_reference, "silent_failure", s.TRANSPILE, _SILENT)(answered(failed=lambda _: False))
