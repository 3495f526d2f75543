"""The differential check: what the pipeline says of a text against what the contract says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from coordexp_audit_lib.boundaries.coordjson import cases, contract
from coordexp_audit_lib.boundaries.coordjson.cases import Case
from coordexp_audit_lib.boundaries.coordjson.fringe import fringe_texts
from coordexp_audit_lib.boundaries.coordjson.predicates import disagreements
from coordexp_audit_lib.boundaries.coordjson.reference import Reading, read, render
from coordexp_audit_lib.boundaries.coordjson.rollouts import rollouts
from coordexp_audit_lib.boundaries.coordjson.tally import Tally
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.surface import Refuse

CUTS_PER_ROLLOUT = 4
MODES: tuple[contract.Mode, ...] = ("strict", "salvage")


def rendering_agreements(ctx: Context, tally: Tally) -> None:
    """The canonical text is fixed to the character, because tokens depend on it."""
    for order in contract.ORDERS:
        for things in [*cases.listed_things(), *rollouts()]:
            ctx.judged()
            request = contract.RenderRequest(things, order)
            text = ctx.value(contract.RENDER, request).text
            if text != render(request).text:
                tally.add("canonical form", "the rendered text is not the canonical one", text, order)


def parsing_agreements(ctx: Context, tally: Tally) -> None:
    """Kept records, reasons, tail and failure, in both modes; and the strict JSON that salvage makes of it."""
    for case in compared_texts(ctx):
        for mode in MODES:
            ctx.judged()
            request = contract.ParseRequest(case.text, mode, case.order)
            problems = parse_problems(ctx, request)
            if problems:
                tally.add(case.kind, f"in {mode} mode, {'; '.join(problems)}", case.text, case.order)


def compared_texts(ctx: Context) -> Iterator[Case]:
    """Valid, broken, mixed, cut and real texts, then those at the fringe."""
    for order in contract.ORDERS:
        for source in (cases.broken_texts, cases.junk_texts, cases.mixed_texts, cases.cut_texts, cases.lost_texts):
            yield from (c for c in source(order) if not _at_fringe(c))
        yield from fringe_texts(order)
        yield from real_texts(ctx, order)


def _at_fringe(case: Case) -> bool:
    """Cases whose class stands in the fringe under its own name and clause."""
    return case.kind == "entry is no record" or case.text == "{"


def real_texts(ctx: Context, order: contract.Order) -> Iterator[Case]:
    """What a model said about real images: whole, ended by a special token, and cut at random places."""
    for i, things in enumerate(rollouts()):
        text = render(contract.RenderRequest(things, order)).text
        yield Case("real rollout", text, order)
        yield Case("real rollout", text + "<|im_end|>", order)
        rng = ctx.rng("cuts", i, order)
        for _ in range(CUTS_PER_ROLLOUT):
            yield Case("real rollout", text[: rng.randrange(12, len(text))], order)


def parse_problems(ctx: Context, request: contract.ParseRequest) -> list[str]:
    """Where the target's answer to one request is not what the contract asks."""
    answer = ctx.ask(contract.PARSE, request)
    try:
        reading = read(request)
    except Refuse as error:
        return [] if answer.refused else [f"accepted, but {error.refusal.message}"]
    if answer.refusal is not None:
        return [f"refused: {answer.refusal.message[:200]}"]
    problems = disagreements(answer.value, reading)
    return problems or _transpile_problems(ctx, request, reading)


def _transpile_problems(ctx: Context, request: contract.ParseRequest, reading: Reading | None) -> list[str]:
    """The strict JSON must say what was kept, and a failure must be reported beside an empty container."""
    if request.mode == "strict":
        return []
    said = ctx.value(contract.TRANSPILE, request)
    if said.failed != (reading is None):
        return [f"the transpiler reports failed as {said.failed}"]
    try:
        loaded = json.loads(said.text)
    except ValueError:
        return ["the transpiled text is not JSON"]
    records = reading.records if reading else []
    wanted = [{k: r.desc.strip() if k == "desc" else r.values for k in r.key_order} for r in records]
    if _trimmed_all(loaded) == {"objects": wanted}:
        return []
    return ["the transpiled text says something else than the kept records"]


def _trimmed_all(loaded: object) -> object:
    if isinstance(loaded, dict) and isinstance(loaded.get("objects"), list):
        return {**loaded, "objects": [_trimmed(o) for o in loaded["objects"]]}
    return loaded


def _trimmed(entry: object) -> object:
    if isinstance(entry, dict) and isinstance(entry.get("desc"), str):
        return {**entry, "desc": entry["desc"].strip()}
    return entry
