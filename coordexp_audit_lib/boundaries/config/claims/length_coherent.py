"""What training accepts (template.max_length, or global_max_length where it is not set) is at most vllm.max_model_len,
which is set; max_new_tokens is less than it; with the HF backend the prompt and max_new_tokens fit
max_position_embeddings.

A rollout server with a shorter context cuts or refuses the long samples that training accepts: Channel B then optimises
on truncated rollouts, in which the last objects are always missed.

Example: `global_max_length: 12000` with `vllm.max_model_len: 4096` must be refused, and so must
`template.max_length: 20000` beside lengths of 12000 that agree, for it is the one that training goes by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.config.cases import edits
from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.faults import overlooked
from coordexp_audit_lib.boundaries.config.predicates.messages import said
from coordexp_audit_lib.boundaries.config.predicates.rules import Resolved, by_keys
from coordexp_audit_lib.boundaries.config.surfaces import HF_LENGTH, LOAD, PREFLIGHT, HfLength, LoadRequest, Passed
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.errors import AuditError, SurfaceUnbound
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Answer, Refuse
from coordexp_audit_lib.kit.nested import steps

# (longest sample, the server's context, generation budget, coherent), in tokens
LENGTHS = (
    *((4096, 4096, 1024, True), (4096, 8192, 8191, True)),
    *((4097, 4096, 1024, False), (12000, 4096, 1024, False)),
    *((4096, 4096, 4096, False), (4096, 8192, 8192, False), (4096, 8192, 20000, False)),
)
# The same, with a length of the template's own before it, which then is the longest sample.
TEMPLATE_LENGTHS = ((8192, 4096, 4096, 1024, False), (20000, 12000, 12000, 1024, False), (2048, 4096, 4096, 1024, True))
# (prompt, max_new_tokens, max_position_embeddings, fits)
HF_LENGTHS = ((10, 10, 20, True), (10, 11, 20, False), (21, 1, 20, False), (1, 20, 20, False), (0, 20, 20, True))


@claim(
    severity="P0",
    kind="B",
    per_config=True,
    remedy="Compare the lengths at load (vLLM) and before generation (HF), and refuse what one side would cut.",
)
def length_coherent(ctx: Context) -> Iterator[Problem]:
    bench, keys = Bench(ctx), ctx.contract["config.lengths"]
    section = keys["limit"].rpartition(".")[0]
    start = bench.start(tuple(section.split(".")))
    if start is None:
        raise AuditError(f"the target accepts no {section} section", remedy="extend the skeleton for its era")
    for longest, limit, budget, coherent in LENGTHS:
        values = {keys["longest"]: longest, keys["backend"]: "vllm", keys["limit"]: limit, keys["budget"]: budget}
        answer = bench.load_with({**start, **values})
        ctx.judged()
        yield from _coherent(coherent, answer, values)
    for own, longest, limit, budget, coherent in TEMPLATE_LENGTHS:
        values = {keys["longest"]: longest, keys["backend"]: "vllm", keys["limit"]: limit, keys["budget"]: budget}
        values[keys["own"]] = own
        answer = bench.load_with({**start, **values})
        ctx.judged()
        for p in _coherent(coherent, answer, values):
            # What is demanded speaks of the longest sample in general, not of the length that takes its place.
            what = f"A {keys['own']} above {keys['limit']} is accepted." if answer.content else p.message
            yield replace(p, message=what, subject=keys["own"], severity="P1", authority="practice")
    spelled = {keys["longest"]: 12000, keys["backend"]: "VLLM", keys["limit"]: 4096, keys["budget"]: 1024}
    ctx.judged()
    if not bench.load_with({**start, **spelled}).refused:
        what = "Lengths that contradict each other are accepted where the backend's name is spelled in capitals."
        yield Problem(what, keys["backend"], "refused", "accepted", spelled, severity="P2")
    yield from _without_limit(bench, keys["limit"])
    try:
        for prompt, budget, positions, fits in HF_LENGTHS:
            verdict = ctx.ask(HF_LENGTH, HfLength(prompt, budget, positions))
            ctx.judged()
            case = {"prompt": prompt, "max_new_tokens": budget, "max_position_embeddings": positions}
            yield from _coherent(fits, verdict, case)
    except SurfaceUnbound as unbound:
        ctx.left_out("the lengths of the HF backend", str(unbound))


length_coherent.on(Resolved, by_keys("config.length_coherent"))


def _without_limit(bench: Bench, limit: str) -> Iterator[Problem]:
    """Without a limit nothing can be compared: the loader or the launcher, which starts the server with it, refuses."""
    if bench.get(limit) is None:
        return
    overlay = edits.without(bench.chain, steps(limit))
    bench.ctx.judged()
    if not bench.load(overlay).refused and not bench.ctx.ask(PREFLIGHT, bench.request(overlay)).refused:
        text = "A rollout server without a context length is accepted, and no length is compared."
        yield Problem(text, limit, "refused", "accepted", {limit: "unset"})


def _coherent(coherent: bool, answer: Answer[Any], values: dict[str, Any]) -> Iterator[Problem]:
    if answer.refused == coherent:
        text = f"Lengths that {'agree are refused' if coherent else 'contradict each other are accepted'}."
        yield Problem(text, "rollout lengths", "accepted" if coherent else "refused", said(answer), values)


overlooked(
    length_coherent,
    lengths_unchecked=(r"less than", "training accepts longer sequences than the rollout server"),
    template_unchecked=(r"less than template.max_length", "a length of the template's own is not compared"),
    budget_unchecked=(r"leaves no room", "the generation budget may fill the whole context"),
)
fault(length_coherent, "hf_length_unchecked", HF_LENGTH, "the HF rollout may run past the model's positions")(
    lambda request, honest: Passed()
)


@fault(length_coherent, "limit_not_needed", PREFLIGHT, "the launcher starts a server without a context length")
def limit_not_needed(request: LoadRequest, honest: Honest) -> Any:
    try:
        return honest(request)
    except Refuse:
        return honest(LoadRequest(pipeline().configs[-1], depth=request.depth))


@fault(length_coherent, "capitals_unchecked", LOAD, "lengths are compared for the backend `vllm` only, not for `VLLM`")
def capitals_unchecked(request: LoadRequest, honest: Honest) -> Any:
    spelled = any("VLLM" in text for text in request.files.values())
    return honest(LoadRequest(pipeline().configs[-1], depth=request.depth) if spelled else request)
