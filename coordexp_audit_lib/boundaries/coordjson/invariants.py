"""The claims about the assistant output boundary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.coordjson import cases, contract, predicates
from coordexp_audit_lib.boundaries.coordjson.agreement import parsing_agreements, rendering_agreements
from coordexp_audit_lib.boundaries.coordjson.dataflow import ScanRequest
from coordexp_audit_lib.boundaries.coordjson.fringe import CLAUSES
from coordexp_audit_lib.boundaries.coordjson.rollouts import families, rollouts
from coordexp_audit_lib.boundaries.coordjson.tally import Tally
from coordexp_audit_lib.core.claim import Context, invariant, provokes
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.surface import Answer, Surface

BOUNDARY = "coordjson"
CHANGE = "openspec/changes/archive/2026-02-23-coordjson-objects-array-output/specs"
FORMAT = f"{CHANGE}/coordjson-output-format/spec.md"
RANDOM_CONTAINERS = 12


@invariant(
    "coordjson.transpiled_before_json",
    boundary=BOUNDARY,
    severity="P0",
    kind="S",
    claim="No assistant text reaches a strict JSON parser without being transpiled first.",
    remedy="Pass the text through coordjson_to_strict_json before json.loads, and drop the direct path.",
    spec=f"openspec/specs/training-pipeline-audit/spec.md; {FORMAT}",
)
def transpiled_before_json(ctx: Context) -> Iterator[Violation]:
    found = ctx.value(contract.JSON_SINKS, ScanRequest())
    verdicts: dict[str, int] = {}
    for sink in found.sinks:
        ctx.judged()
        verdicts[sink.verdict] = verdicts.get(sink.verdict, 0) + 1
        if sink.verdict == "raw":
            yield Violation(
                f"{sink.parser} in {sink.symbol} is given assistant text that was not transpiled",
                subject=f"{sink.path}:{sink.line}",
                expected="transpiled text",
                actual="assistant text",
                where=Where(sink.path, sink.line, sink.symbol),
            )
    for verdict, count in sorted(verdicts.items()):
        ctx.fact(f"strict parser calls judged {verdict}", count)


@invariant(
    "coordjson.roundtrip",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Render then parse gives back every desc, geometry and order, for both field orders.",
    remedy="Escape desc as a JSON string when rendering, and read strings before looking for structure.",
    spec=FORMAT,
)
def roundtrip(ctx: Context) -> Iterator[Violation]:
    rng = ctx.rng("records")
    listed = cases.listed_things() + [cases.things(rng, n) for n in range(RANDOM_CONTAINERS)]
    tally = Tally(ctx)
    for order in contract.ORDERS:
        for things in [*listed, *rollouts()]:
            ctx.judged()
            text = ctx.value(contract.RENDER, contract.RenderRequest(things, order)).text
            answer = ctx.ask(contract.PARSE, contract.ParseRequest(text, "strict", order))
            if answer.refusal:
                tally.add("refused", f"its own rendering is refused: {answer.refusal.message[:200]}", text, order)
            else:
                for problem in predicates.roundtrip_problems(things, order, answer.value):
                    tally.add(problem.partition(": ")[2] or "records lost", problem, text, order)
    yield from tally.violations()


@invariant(
    "coordjson.strict_rejects",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Strict mode refuses: text before or after; wrong key order; unknown, duplicate or missing keys; two "
    "geometries; wrong arity; k > 999; quoted or numeric coordinates; empty desc; truncation; a second container.",
    remedy="Refuse the class of text in strict mode, naming objects[i].",
    spec=FORMAT,
)
def strict_rejects(ctx: Context) -> Iterator[Violation]:
    tally = Tally(ctx)
    for order in contract.ORDERS:
        for case in cases.broken_texts(order):
            ctx.judged()
            if not ctx.ask(contract.PARSE, contract.ParseRequest(case.text, "strict", order)).refused:
                tally.add(case.kind, f"strict mode accepts a text with: {case.kind}", case.text, order)
    yield from tally.violations()


@provokes(contract.PARSE)
def broken_texts(ctx: Context) -> Iterator[tuple[str, Answer[Any]]]:
    for case in cases.broken_texts(contract.ORDERS[0]):
        yield case.kind, ctx.ask(contract.PARSE, contract.ParseRequest(case.text, "strict", contract.ORDERS[0]))


@invariant(
    "coordjson.salvage_first_container",
    boundary=BOUNDARY,
    severity="P1",
    kind="B",
    claim="Salvage takes the first valid container, ignoring junk around it, and is string-aware.",
    remedy="Scan left to right for the first container and skip strings while looking for its braces.",
    spec=FORMAT,
)
def salvage_first_container(ctx: Context) -> Iterator[Violation]:
    tally = Tally(ctx)
    for order in contract.ORDERS:
        for case in [*cases.junk_texts(order), *cases.lost_texts(order)]:
            ctx.judged()
            parsed = ctx.value(contract.PARSE, contract.ParseRequest(case.text, "salvage", order))
            kept = [r.desc.strip() for r in parsed.records]
            wanted = [d.strip() for d in case.kept or ()]
            if kept != wanted:
                tally.add(case.kind, f"kept {kept}, expected {wanted}", case.text, order)
    yield from tally.violations()


@invariant(
    "coordjson.salvage_never_repairs",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="A kept record is byte for byte in the input; nothing is invented, clamped or reordered.",
    remedy="Drop what does not parse as it stands; never complete, clamp or sort it.",
    spec=FORMAT,
)
def salvage_never_repairs(ctx: Context) -> Iterator[Violation]:
    tally = Tally(ctx)
    for case in _salvage_cases():
        ctx.judged()
        parsed = ctx.value(contract.PARSE, contract.ParseRequest(case.text, "salvage", case.order))
        for problem in predicates.repair_problems(case.text, parsed):
            tally.add(case.kind, problem, case.text, case.order)
    yield from tally.violations()


@invariant(
    "coordjson.salvage_accounts",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="kept + dropped (by reason) + incomplete tail = records seen.",
    remedy="Count each record of the chosen container once, when it is kept, dropped or cut off.",
    spec=f"{CHANGE}/stage2-ab-training/spec.md",
)
def salvage_accounts(ctx: Context) -> Iterator[Violation]:
    tally = Tally(ctx)
    for case in _salvage_cases():
        if case.seen is None:
            continue
        ctx.judged()
        parsed = ctx.value(contract.PARSE, contract.ParseRequest(case.text, "salvage", case.order))
        for problem in predicates.account_problems(parsed, case.seen):
            tally.add(case.kind, problem, case.text, case.order)
    yield from tally.violations()


@invariant(
    "coordjson.spans_exact",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Record and geometry spans cut exactly their text from the source.",
    remedy="Report offsets into the text that was given, before any trimming or decoding of it.",
    spec=f"{CHANGE}/rollout-matching-sft/spec.md",
)
def spans_exact(ctx: Context) -> Iterator[Violation]:
    tally = Tally(ctx)
    for case in _salvage_cases():
        parsed = ctx.value(contract.PARSE, contract.ParseRequest(case.text, "salvage", case.order))
        ctx.judged(len(parsed.records))
        for problem in predicates.span_problems(case.text, parsed):
            tally.add(case.kind, problem, case.text, case.order)
    yield from tally.violations()


@invariant(
    "coordjson.linear_time",
    boundary=BOUNDARY,
    severity="P1",
    kind="B",
    claim="Time grows linearly on adversarial text (many {, deep nesting, unterminated strings), measured as a ratio.",
    remedy="Remember where each object ends, and never scan the rest of the text again from a later brace or record.",
    spec=f"{CHANGE}/rollout-matching-sft/spec.md (a single streaming pass)",
)
def linear_time(ctx: Context) -> Iterator[Violation]:
    questions = [contract.GROWTH]
    for other in (contract.PREDICTION_GROWTH, contract.ROLLOUT_GROWTH):
        binding = ctx.target.bindings().get(other.name)
        if binding is not None and binding.status in ("bound", "moved"):
            questions.append(other)
    for question in questions:
        yield from _superlinear(ctx, question)


def _superlinear(ctx: Context, question: Surface[contract.GrowthRequest, contract.Growth]) -> Iterator[Violation]:
    """One violation for a function, with every family on which it is superlinear and the smallest text of them."""
    bad: dict[str, float] = {}
    texts = families("desc_first")
    for name, family in texts.items():
        ctx.judged()
        growth = ctx.value(question, contract.GrowthRequest(family, "desc_first"))
        if predicates.is_superlinear(growth):
            bad[name] = growth.lines
    if bad:
        smallest = min((texts[name][0] for name in bad), key=lambda t: (len(t), t))
        named = ", ".join(f"{name} (n^{exponent})" for name, exponent in bad.items())
        yield Violation(
            f"{question.summary.removesuffix('.')} is superlinear on: {named}",
            subject=question.name,
            expected="n^1",
            actual=bad,
            counterexample=smallest[:200],
            where=ctx.where(question),
        )


@invariant(
    "coordjson.agrees_with_reference",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="On generated valid, broken and real rollout text the pipeline and the reference agree on what is kept "
    "and why the rest is dropped.",
    remedy="Read the clause named in the message; either the code or the contract has to change.",
    spec=f"{FORMAT}; {CHANGE}/stage2-ab-training/spec.md; {CHANGE}/rollout-matching-sft/spec.md",
)
def agrees_with_reference(ctx: Context) -> Iterator[Violation]:
    tally = Tally(ctx)
    rendering_agreements(ctx, tally)
    parsing_agreements(ctx, tally)
    yield from tally.violations(CLAUSES)


def _salvage_cases() -> Iterator[cases.Case]:
    for order in contract.ORDERS:
        yield from cases.junk_texts(order)
        yield from cases.mixed_texts(order)
        yield from cases.cut_texts(order)
        yield from cases.lost_texts(order)
