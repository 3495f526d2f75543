"""The claims: what the pipeline uses of upstream is there, as it is used, and does what it is used for."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.upstream import contract as c
from coordexp_audit_lib.boundaries.upstream import predicates as p
from coordexp_audit_lib.boundaries.upstream.facts import Ask
from coordexp_audit_lib.boundaries.upstream.launcher import LauncherRequest
from coordexp_audit_lib.boundaries.upstream.matrix import MatrixRequest, contracts
from coordexp_audit_lib.boundaries.upstream.reference import DEFAULTS
from coordexp_audit_lib.boundaries.upstream.spec import Contract
from coordexp_audit_lib.boundaries.upstream.verdict import WORDS, Verdict, judge
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit import wiring

BOUNDARY = "upstream"
PIN = "install the release that the contract was written for, or change the call"
SETTINGS = c.TrainerRequest(1e-4, 0.1, 0.8, 0.95, 1e-7, 5e-5, 6e-5)
CONFIGS = (c.ConfigRequest(512, 0.0, 1.0, -1, 1.0), c.ConfigRequest(4096, 0.7, 0.9, 40, 1.05))
TEXT, PROMPT = "a red cup", "Locate every object."
ANSWER = '{"objects": []}'
SAMPLES = (
    c.Sample([{"role": "user", "content": PROMPT}]),
    c.Sample([{"role": "user", "content": f"<image>{PROMPT}"}], ["images/a.png"]),
    c.Sample(
        [
            {"role": "system", "content": "Answer in JSON."},
            {
                "role": "user",
                "content": [
                    {"type": "image", "image": "images/a.png"},
                    {"type": "image", "image": "images/ü b.png"},
                    {"type": "text", "text": PROMPT},
                ],
            },
        ]
    ),
)
CHATS = c.TemplateRequest(
    [
        [("user", f"<image>{PROMPT}"), ("assistant", ANSWER)],
        [("system", "Answer in JSON."), ("user", PROMPT), ("assistant", TEXT)],
        [("user", f"<image><image>{PROMPT}"), ("assistant", ANSWER)],
    ],
    [[(64, 96)], [], [(64, 64), (128, 32)]],
)
GRIDS = (c.RowsRequest((1, 4, 6), 3, 2, [5, 4, 6]), c.RowsRequest((1, 8, 2), 1, 4, [7, 3]))


def rates() -> dict[str, float]:
    """The learning rate that is set for each part of the network, by a prefix of its parameters' names."""
    return {
        "visual": wiring.RATES["vit_lr"],
        "visual.merger": wiring.RATES["aligner_lr"],
        f"{wiring.OFFSETS}.embed_offset": SETTINGS.embed_lr,
        f"{wiring.OFFSETS}.head_offset": SETTINGS.head_lr,
    }


def asked(ctx: Context, id: str) -> Iterator[tuple[Contract, c.Api]]:
    """The contracts of an invariant, each with what the pipeline's environment has of it."""
    for distribution in dict.fromkeys(k.distribution for k in contracts(invariant=id)):
        mine = contracts(distribution, id)
        asks = [part.ask for contract in mine for part in contract.parts]
        api = ctx.value(c.API, c.ApiRequest(distribution, asks))
        ctx.fact(f"{distribution} here", api.version or "not installed")
        rest = list(api.seen)
        for contract in mine:
            seen, rest = rest[: len(contract.parts)], rest[len(contract.parts) :]
            yield contract, c.Api(api.version, seen)


def static(ctx: Context, id: str) -> Iterator[Violation]:
    """Judge the contracts of an invariant.

    A part that cannot be imported is judged by the shipped verdict on the installed release, where there is one; what
    is not decided by either is told, and not counted.
    """
    shipped = {(v.contract, v.version): v for v in ctx.value(c.MATRIX, MatrixRequest()).verdicts}
    undecided, read_only = [], []
    for contract, api in asked(ctx, id):
        read = shipped.get((contract.id, api.version))
        for part, seen in zip(contract.parts, api.seen, strict=True):
            problems = list(judge(part, seen))
            if seen.status == "undecided" and read is not None:
                problems = [q for q in read.problems if q.symbol == part.symbol]
                read_only.append(part.symbol)
            told = [f"{q.symbol}: {q.what}" for q in problems if q.kind == "undecidable"]
            undecided += told
            ctx.judged(0 if told else 1)
            yield from p.judge_part(contract, api.version, part, problems)
    if read_only:
        ctx.fact("read, for they cannot be imported here", read_only)
    if undecided:
        ctx.fact("not decided", undecided)


@invariant(
    "upstream.trainer_helpers",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Trainer.get_decay_parameter_names, create_optimizer, get_optimizer_cls_and_kwargs and what else optimizer "
    "wiring uses are there as they are called, and group parameters, decay and rates as configured.",
    remedy=PIN,
    spec="invariants: upstream.trainer_helpers",
)
def trainer_helpers(ctx: Context) -> Iterator[Violation]:
    yield from static(ctx, "upstream.trainer_helpers")
    made = ctx.value(c.TRAINER, SETTINGS)
    ctx.judged(len(made.names) + len(made.kwargs))
    yield from p.judge_decay(made)
    yield from p.judge_groups(SETTINGS, made)
    yield from p.judge_optimizer(SETTINGS, made)
    ctx.judged(len(made.names) if made.wiring is not None else 0)
    yield from p.judge_wiring(SETTINGS, rates(), made)


@invariant(
    "upstream.request_config",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="ms-swift's RequestConfig has the fields used, with their types and defaults, return_details among them.",
    remedy=PIN,
    spec="invariants: upstream.request_config",
)
def request_config(ctx: Context) -> Iterator[Violation]:
    yield from static(ctx, "upstream.request_config")
    for i, request in enumerate(CONFIGS):
        made = ctx.value(c.CONFIG, request)
        ctx.judged(len(made.sent) + 1)
        yield from p.judge_config(request, made)
        if i == 0:
            ctx.judged(len(DEFAULTS))
            yield from p.judge_bare(made, DEFAULTS)


@invariant(
    "upstream.infer_request",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="RolloutInferRequest serialises Qwen3-VL multimodal messages as the server expects.",
    remedy=PIN,
    spec="invariants: upstream.infer_request",
)
def infer_request(ctx: Context) -> Iterator[Violation]:
    yield from static(ctx, "upstream.infer_request")
    made = ctx.value(c.INFER, c.InferRequests(list(SAMPLES)))
    if len(made.sent) != len(SAMPLES):
        yield Violation("not one request for each sample", "requests", len(SAMPLES), len(made.sent))
    for sample, sent in zip(SAMPLES, made.sent, strict=False):
        ctx.judged()
        yield from p.judge_sent(sample, sent)


@invariant(
    "upstream.template_surface",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="The Qwen3-VL template's encode, packing_row and data_collator keep names, inputs and outputs.",
    remedy=PIN,
    spec="invariants: upstream.template_surface",
)
def template_surface(ctx: Context) -> Iterator[Violation]:
    yield from static(ctx, "upstream.template_surface")
    made = ctx.value(c.TEMPLATE, CHATS)
    ctx.judged(len(made.keys) + len(made.packed.shapes) + len(made.padded.shapes))
    if len(made.lengths) != len(CHATS.chats):
        yield Violation("not one encoding for each chat", "encode", len(CHATS.chats), len(made.lengths))
    yield from p.judge_template(CHATS, made)


@invariant(
    "upstream.qwen3vl_surface",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Qwen3VLForConditionalGeneration.forward and get_rope_index are there as they are called, and four rows of "
    "position_ids isolate packed segments.",
    remedy=PIN,
    spec="invariants: upstream.qwen3vl_surface",
)
def qwen3vl_surface(ctx: Context) -> Iterator[Violation]:
    yield from static(ctx, "upstream.qwen3vl_surface")
    for request in GRIDS:
        rows = ctx.value(c.ROWS, request)
        ctx.judged(4)
        yield from p.judge_rows(request, rows)


@invariant(
    "upstream.rollout_cli",
    boundary=BOUNDARY,
    severity="P1",
    kind="S",
    claim="Every swift rollout flag that the launcher passes exists.",
    remedy="use the flag's present name, or install the release that has it",
    spec="invariants: upstream.rollout_cli",
)
def rollout_cli(ctx: Context) -> Iterator[Violation]:
    yield from static(ctx, "upstream.rollout_cli")
    found = ctx.value(c.LAUNCHER, LauncherRequest())
    (spec,) = contracts("ms-swift", "upstream.rollout_cli")
    arguments = spec.parts[1]
    names = tuple(dict.fromkeys(f.name for f in found.flags))
    api = ctx.value(c.API, c.ApiRequest("ms-swift", [Ask(arguments.symbol, arguments.homes, fields=names)]))
    (seen,) = api.seen
    if seen.status != "found":
        raise SurfaceUnbound(f"the flags cannot be looked up: {seen.why}", where=arguments.symbol)
    known = {f.name for f in seen.fields}
    for flag in found.flags:
        ctx.judged()
        if flag.name not in known:
            message = f"ms-swift {api.version}'s swift rollout has no flag --{flag.name}"
            yield Violation(message, flag.name, "a field of RolloutArguments", None, where=Where(flag.path, flag.line))


@invariant(
    "upstream.client_surface",
    boundary=BOUNDARY,
    severity="P1",
    kind="S",
    claim="VLLMClient's constructor and the methods used for inference and weight sync are there as they are called.",
    remedy=PIN,
    spec="invariants: upstream.client_surface",
)
def client_surface(ctx: Context) -> Iterator[Violation]:
    yield from static(ctx, "upstream.client_surface")


@invariant(
    "upstream.versions_matrix",
    boundary=BOUNDARY,
    severity="P2",
    kind="S",
    claim="Each release has a verdict for each surface, which says where, how or why, and is that of an import where "
    "an import is possible.",
    remedy="make the shipped verdicts anew from the releases, and look at what differs",
    spec="invariants: upstream.versions_matrix",
)
def versions_matrix(ctx: Context) -> Iterator[Violation]:
    matrix = ctx.value(c.MATRIX, MatrixRequest())
    by_key = {(v.contract, v.version): v for v in matrix.verdicts}
    for contract in contracts():
        for version in matrix.versions.get(contract.distribution, [""]):
            ctx.judged()
            yield from _complete(contract, version, by_key.get((contract.id, version)))
    yield from _as_imported(ctx, by_key)


def _complete(contract: Contract, version: str, found: Verdict | None) -> Iterator[Violation]:
    name = f"{contract.id} of {contract.distribution} {version or '(no release)'}"
    if found is None:
        yield Violation(f"there is no verdict on {name}", name, "a verdict", None)
    elif found.word not in WORDS or (found.word == "kept") != (not found.problems):
        yield Violation(f"the verdict on {name} does not say why", name, "a reason", found.word)
    elif any(not q.what for q in found.problems):
        yield Violation(f"the verdict on {name} has a reason without words", name, "a reason", found.word)


def _as_imported(ctx: Context, by_key: dict[tuple[str, str], Verdict]) -> Iterator[Violation]:
    """The verdict of what the pipeline's interpreter has, against the shipped one of the same release."""
    for distribution in dict.fromkeys(k.distribution for k in contracts()):
        mine = contracts(distribution)
        asks = [part.ask for contract in mine for part in contract.parts]
        api = ctx.value(c.API, c.ApiRequest(distribution, asks))
        parts = [(contract, part) for contract in mine for part in contract.parts]
        for (contract, part), seen in zip(parts, api.seen, strict=True):
            read = by_key.get((contract.id, api.version))
            if read is None or seen.status not in ("found", "gone"):
                continue
            kinds = {q.kind for q in read.problems if q.symbol == part.symbol}
            live = [q for q in judge(part, seen) if q.kind != "undecidable"]
            if "undecidable" not in kinds:
                ctx.judged()
            if "undecidable" not in kinds and kinds != {q.kind for q in live}:
                what = f"{part.symbol} of {distribution} {api.version}: reading and importing it disagree"
                yield Violation(
                    what, contract.id, sorted(kinds), sorted({q.kind for q in live}), [q.what for q in live]
                )
