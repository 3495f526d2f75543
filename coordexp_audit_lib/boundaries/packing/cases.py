"""The inputs that the checks of this boundary ask about, and what asks them. All are made from the seed; prompts are
our own."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

from coordexp_audit_lib.boundaries.packing import surfaces as s
from coordexp_audit_lib.boundaries.packing.artifact import PackedRow, Unpacked
from coordexp_audit_lib.boundaries.packing.predicates.encoding import Alone, Both
from coordexp_audit_lib.boundaries.packing.predicates.epochs import Epoch, Workers
from coordexp_audit_lib.core.claim import Context, Predicate
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.core.short_run import short_run
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.kit import lacking
from coordexp_audit_lib.kit.profile import Profile, named
from coordexp_audit_lib.kit.varlen import Misbounded

STATIC, DYNAMIC, ROLLOUT = "static packing", "dynamic packing", "post-rollout packing"
PACKERS: dict[Surface[Any, Any], str] = {s.PLAN: STATIC, s.STREAM: DYNAMIC, s.DRAIN: ROLLOUT}
KERNELS = {"varlen": "a variable-length kernel", "sdpa": "sdpa"}
GLOBAL_MAX_LENGTH = 12_000
TASK = ("system", "List the objects of the picture as JSON.")


def realistic_lengths(rng: random.Random, count: int) -> list[int]:
    """Token lengths as of dense detection samples: most between 1,500 and 5,000, a long tail to about 11,000."""
    return [min(11_500, max(400, int(rng.lognormvariate(7.85, 0.45)))) for _ in range(count)]


def plan_requests(rng: random.Random) -> Iterator[s.PlanRequest]:
    """Small plans with edges, then random ones, then one of realistic size."""
    edges = ([30, 20, 50, 100, 7], [100], [1] * 12, [51, 51, 51], [99, 2, 98, 3], [60, 60, 60, 90, 5])
    for lengths, drop_last in itertools.product(edges, (False, True)):
        yield s.PlanRequest(list(lengths), 100, drop_last=drop_last)
    for allow in (True, False):
        yield s.PlanRequest([40, 130, 60, 250, 10], 100, allow_single_long=allow)
        yield s.PlanRequest([120, 100, 30, 99, 101], 100, allow_single_long=allow)
    drawn = [[rng.randint(1, 110) for _ in range(n)] for n in (5, 11, 23)]
    for lengths, drop_last in itertools.product(drawn, (False, True)):
        yield s.PlanRequest(lengths, 100, min_fill_ratio=0.8, drop_last=drop_last)
    yield s.PlanRequest(realistic_lengths(rng, 200), GLOBAL_MAX_LENGTH, drop_last=True)


def stream_requests(rng: random.Random) -> Iterator[s.StreamRequest]:
    """Dynamic packing with buffers smaller and larger than the dataset."""
    yield s.StreamRequest([30, 20, 50, 100, 7], 100, buffer_size=2)
    yield s.StreamRequest([10, 20, 90, 55, 30, 61, 5, 44, 70, 33, 21, 9], 100, buffer_size=4, min_fill_ratio=0.8)
    for allow in (True, False):
        yield s.StreamRequest([40, 130, 60, 250, 10], 100, buffer_size=8, allow_single_long=allow)
    for n, size in ((12, 4), (25, 8), (25, 64)):
        lengths = [rng.randint(1, 99) for _ in range(n)]
        for drop_last in (False, True):
            yield s.StreamRequest(lengths, 100, buffer_size=size, min_fill_ratio=0.8, drop_last=drop_last)


def drain_requests(rng: random.Random) -> Iterator[s.DrainRequest]:
    """Rollout segments that fit one by one."""
    yield s.DrainRequest([5, 3, 3, 2], 10)
    yield s.DrainRequest([10, 10], 10)
    yield s.DrainRequest([1], 10, buffer_cap=1)
    yield s.DrainRequest([6, 5, 5, 4], 10)
    for n in (6, 17, 32):
        yield s.DrainRequest([rng.randint(200, 4000) for _ in range(n)], GLOBAL_MAX_LENGTH, buffer_cap=256)


def small_buffers(capacity: int, most: int) -> list[list[int]]:
    """Every buffer of up to `most` segments with lengths from 1 to `capacity`."""
    sizes = range(1, capacity + 1)
    return [list(b) for n in range(1, most + 1) for b in itertools.product(sizes, repeat=n)]


def samples() -> list[s.Sample]:
    """Eight chat samples: no, one and two pictures, equal and different sizes, one and several turns, coordinates."""
    square, wide, tall = [s.Picture(64, 64, n) for n in range(4)], s.Picture(128, 96, 4), s.Picture(64, 128, 5)
    shelf = ("user", "<image>What is on the shelf?")
    several = [("user", "<image>First?"), ("assistant", "A."), ("user", "<image>Second?"), ("assistant", "B.")]
    return [
        s.Sample([TASK, ("user", "<image>What is here?"), ("assistant", _objects("red cup", 3))], [square[0]]),
        s.Sample([("user", "Is it blue?"), ("assistant", "Mostly."), ("user", "At night?"), ("assistant", "No.")]),
        s.Sample([TASK, shelf, ("assistant", _objects("t-shirt.", 8))], [square[1]]),
        s.Sample([("user", "<image><image>Which is larger?"), ("assistant", "The second.")], [square[2], wide]),
        s.Sample([TASK, ("user", "Nothing to see here."), ("assistant", '{"objects": []}')]),
        s.Sample([("user", "Look: <image> and tell."), ("assistant", _objects("Straße, 街", 1))], [tall]),
        s.Sample(several, [square[3], wide]),
        s.Sample([TASK, ("user", "<image>Everything, please."), ("assistant", _objects("tile", 20))], [wide]),
    ]


def _objects(desc: str, count: int) -> str:
    """An assistant's CoordJSON text with `count` boxes."""
    boxes = [", ".join(f"<|coord_{(97 * k + 31 * j) % 1000}|>" for j in range(4)) for k in range(count)]
    return '{"objects": [' + ", ".join(f'{{"desc": "{desc}", "bbox_2d": [{b}]}}' for b in boxes) + "]}"


def dense_samples() -> list[s.Sample]:
    """Samples of dense detection that fill a pack of `GLOBAL_MAX_LENGTH`: a picture each, and 5 to 40 boxes."""
    ask, names = ("user", "<image>Everything, please."), ("person", "t-shirt.", "traffic light", "chair", "Straße, 街")
    answers = [_objects(name, 5 + 7 * k % 36) for k, name in enumerate(names * 3)]
    return [s.Sample([TASK, ask, ("assistant", told)], [s.Picture(640, 480, 1)]) for told in answers]


def batch_requests() -> list[tuple[str, s.BatchRequest]]:
    """Named cases: several packs, one text-only pack, a padded pack, and the trainer's own path."""
    every = samples()
    return [
        ("dataset packs", s.BatchRequest(every, 700)),
        ("text only", s.BatchRequest([every[1], every[4]], 400)),
        ("padded", s.BatchRequest([every[0], every[1], every[3]], 400, padding_to=320)),
        ("post-rollout packs", s.BatchRequest(every[::-1], 600, path="post_rollout")),
    ]


def join_requests() -> list[tuple[str, s.JoinRequest]]:
    """Rows that a trainer joins by itself: with pictures, and without."""
    every = samples()
    return [
        ("rows with pictures, joined by the trainer", s.JoinRequest([one for one in every if one.pictures])),
        ("rows of text, joined by the trainer", s.JoinRequest([one for one in every if not one.pictures])),
    ]


def packed_cases(ctx: Context) -> Iterator[tuple[str, Surface[Any, s.BatchResponse], Any]]:
    """Every case of every way to pack that this pipeline has: its name, the question and the request."""
    for name, request in batch_requests():
        if request.path != "post_rollout" or ctx.answers(s.DRAIN):
            yield name, s.BATCH, request
        elif ROLLOUT in packers(ctx):
            ctx.left_out("post-rollout packs", "not in this tree")
    if ctx.contract.get("packing.trainer_joins", ctx.answers(s.JOIN)):
        yield from ((name, s.JOIN, request) for name, request in join_requests())


def forward_requests() -> list[tuple[str, s.ForwardRequest]]:
    """Short samples with no, one and two pictures, in two packs each; for both trainers, under both kernels."""
    square, wide = [s.Picture(64, 64, n) for n in range(2)], s.Picture(128, 96, 4)
    every = [
        s.Sample([("user", "<image>What is here?"), ("assistant", _objects("cup", 1))], [square[0]]),
        s.Sample([("user", "Is it blue?"), ("assistant", "Mostly.")]),
        s.Sample([("user", "<image><image>Which is larger?"), ("assistant", "The second.")], [square[1], wide]),
        s.Sample([("user", "Name all."), ("assistant", _objects("t-shirt.", 1))]),
    ]
    several = [("user", "Red?"), ("assistant", "No."), ("user", "<image>And this?"), ("assistant", "Yes.")]
    paths = (
        ("dataset packs", "dataset", [*every, s.Sample(several, [wide])]),
        ("post-rollout packs", "post_rollout", every),
    )
    kernels: tuple[s.Attention, ...] = ("varlen", "sdpa")
    return [(n, s.ForwardRequest(chosen, 130, path=p, attention=a)) for n, p, chosen in paths for a in kernels]


def text_requests() -> list[tuple[str, s.ForwardRequest]]:
    """The same of text alone, for a pipeline that packs no pictures."""
    several = [("user", "Red?"), ("assistant", "No."), ("user", "And this?"), ("assistant", "Yes.")]
    chosen = [
        s.Sample([("user", "Is it blue?"), ("assistant", "Mostly.")]),
        s.Sample([("user", "Name all."), ("assistant", _objects("t-shirt.", 1))]),
        s.Sample(several),
    ]
    kernels: tuple[s.Attention, ...] = ("varlen", "sdpa")
    return [("packs of text", s.ForwardRequest(chosen, 80, attention=a)) for a in kernels]


def pictured_samples() -> list[s.Sample]:
    """Short samples with pictures large enough that their grids show in the positions."""
    wide, tall, square = s.Picture(320, 192, 7), s.Picture(128, 256, 8), s.Picture(192, 192, 9)
    return [
        s.Sample([("user", "<image>What is here?"), ("assistant", "A cup.")], [wide]),
        s.Sample([("user", "Is it blue?"), ("assistant", "Mostly, and it has a handle.")]),
        s.Sample([("user", "<image><image>Which is larger?"), ("assistant", "The second.")], [tall, square]),
    ]


def packers(ctx: Context) -> Sequence[str]:
    """The packers that a run may take: as the contract says, else those that the target answers for."""
    said: Sequence[str] | None = ctx.contract.get("packing.packers")
    return [name for question, name in PACKERS.items() if ctx.answers(question)] if said is None else said


def each_plan(ctx: Context) -> Iterator[tuple[Surface[Any, Any], Any, Any]]:
    """Every (surface, request, answer) of the packers that this target has; the ones it lacks are left out.

    A packer that the contract lets no run take is not asked.
    """
    if not any(ctx.answers(q) for q in PACKERS):
        raise SurfaceUnbound("the target has no packer at all", where=s.PLAN.name)
    makers: tuple[Any, ...] = (plan_requests, stream_requests, drain_requests)
    for (question, name), make in zip(PACKERS.items(), makers, strict=True):
        if name not in packers(ctx):
            ctx.fact(name, "not asked: no run may take this packer")
            continue
        if not ctx.answers(question):
            ctx.left_out(name, "not in this tree")
            continue
        for request in make(ctx.rng("plans")):
            answer = ctx.offered(name, question, request)
            if answer is not None:
                yield question, request, answer


def of_plan(question: Surface[Any, Any], request: Any, problem: Problem) -> Violation:
    """A problem of a plan, with the request that shows it."""
    fields = {f: getattr(request, f) for f in request.__struct_fields__ if f != "repeat"}
    if len(fields["lengths"]) > 40:
        fields["lengths"] = f"{len(fields['lengths'])} realistic lengths"
    name = PACKERS[question]
    message, severity = f"{name}: {problem.message}", problem.severity
    return Violation(message, name, problem.expected, problem.actual, fields, severity=severity)


def profile_of(ctx: Context) -> Profile | None:
    """The profile that the target's pipeline promises; None where it promises none."""
    word = ctx.contract.get("packing.profile")
    return named(word) if word else None


def row_of(batch: s.Batch, encoded: list[s.Encoded] | None = None, profile: Profile | None = None) -> PackedRow:
    """The tensors of a batch as arrays, with its samples as each is encoded by itself; pixel rows are digests."""
    tensors: dict[str, Any] = {n: np.array(v, batch.dtypes[n]) for n, v in batch.ints.items() if n in batch.dtypes}
    if batch.pixel_rows is not None:
        tensors["pixel_values"] = np.array(batch.pixel_rows)
    if encoded is None:
        return PackedRow(tensors, profile)
    chosen = [encoded[m] for m in batch.members]
    tensors["lengths"] = np.array([e.length for e in chosen], dtype=np.int64)
    grids = [np.array(e.grid, dtype=np.int64).reshape(-1, 3) for e in chosen]
    rows = [np.array(e.pixel_rows, dtype="<U8") for e in chosen]
    parts = zip(chosen, grids, rows, strict=True)
    samples = [Unpacked(np.array(e.input_ids), np.array(e.labels), grid, each) for e, grid, each in parts]
    return PackedRow(tensors, profile, samples=samples)


PackT = TypeVar("PackT", s.Batch, s.Pack)


def _of_known(ctx: Context, name: str, packs: Sequence[PackT], count: int) -> Iterator[PackT]:
    """The packs that hold samples of the request. Whether they hold each one once is a claim of its own."""
    for pack in packs:
        if all(0 <= m < count for m in pack.members):
            yield pack
        else:
            ctx.left_out(f"{name}: pack {pack.members}", f"it names a sample that is none of the {count} given")


def each_membership(ctx: Context) -> Iterator[tuple[str, Surface[Any, Any], Any, list[list[int]]]]:
    """Of every case of every way to pack and collate: its name, the question and request, and who is in which pack."""
    for name, question, request in packed_cases(ctx):
        answer = None
        with ctx.case(name):
            ctx.ask(s.ENCODE, s.EncodeRequest(request.samples))  # what can't be encoded is not collated
            if ctx.answers(question):
                answer = ctx.ask(question, request)
            else:
                ctx.left_out("packs of one way to collate", f"{question.name} is not answered")
        if answer is not None and answer.content is not None:
            yield name, question, request, [b.members for b in answer.content.batches]


def each_batch(ctx: Context, predicate: Predicate) -> Iterator[Violation]:
    """Judge every batch of every case; a pipeline that lacks what the claim is about is unbound, not right."""
    packs = tokens = images = 0
    for name, question, request in packed_cases(ctx):
        batches = None
        with ctx.case(name):
            encoded = ctx.value(s.ENCODE, s.EncodeRequest(request.samples)).encoded
            batches = ctx.value(question, request).batches
        if batches is None:
            continue
        for batch in _of_known(ctx, name, batches, len(encoded)):
            row = row_of(batch, encoded, profile_of(ctx))
            packs, tokens = packs + 1, tokens + (row.length or 0)
            images += len(batch.ints.get("image_grid_thw", []))
            case = {"case": name, "members": batch.members, "lengths": [encoded[m].length for m in batch.members]}
            try:
                for p in predicate(row, ctx):
                    yield msgspec.structs.replace(
                        p.violation(name, case), subject=name, counterexample={**case, "token": p.token}
                    )
            except Undecided as error:
                raise SurfaceUnbound(f"the packed batch can't tell: {error}", where=question.name) from error
    ctx.fact("judged", f"{packs} packs with {tokens} tokens and {images} images")


def each_forward(
    ctx: Context,
    judge: Callable[[s.Pack, s.Attention], Iterator[Problem]],
    measured: Callable[[list[s.Pack]], str],
    misbounded: Callable[[str, str], Iterable[Violation]],
) -> Iterator[Violation]:
    """Judge every pack under the kernels that the pipeline lets packed training use; the rest is measured and noted.

    misbounded: of a case in which the kernel is called with bounds that do not fit: its name, and what is wrong."""
    answered = False
    for name, request in (*forward_requests(), *text_requests()):
        label, answer = f"{name}, {KERNELS[request.attention]}", None
        pictured = any(one.pictures for one in request.samples)
        if (request.path != "dataset" and ROLLOUT not in packers(ctx)) or (answered and not pictured):
            continue
        try:
            with ctx.case(label):
                told = ctx.ask(s.FORWARD, request)
                if told.refusal is not None and told.refusal.type == Misbounded.__name__:
                    ctx.judged()
                    yield from misbounded(label, told.refusal.message)
                    continue
                answer = told.value
        except SurfaceUnbound as error:
            if request.path == "dataset":
                raise
            ctx.left_out(label, error.what)
        if answer is None:
            continue
        answered |= pictured
        refused = request.attention == "sdpa" and not answer.sdpa_accepted
        ctx.fact(label, measured(answer.packs) + ("; the pipeline refuses sdpa for packed training" if refused else ""))
        if refused:
            continue
        for pack in _of_known(ctx, label, answer.packs, len(request.samples)):
            ctx.judged()
            case = {n: getattr(pack, n) for n in ("members", "lengths", "keys", "position_rows")}
            case["attention"] = request.attention
            for p in judge(pack, request.attention):
                yield Violation(f"{label}: {p.message}", label, p.expected, p.actual, case)


RESUMED = 2  # optimizer steps before a run is stopped: within the first epoch


def each_epoch(ctx: Context) -> Iterator[Epoch]:
    """The epochs of a short run, and of one that was resumed within the first."""
    for how in ({}, {"resume_after": RESUMED}):
        with ctx.case("a run that is resumed" if how else "a run"):
            made = ctx.value(s.EPOCH, short_run(**how))
            for number, drawn in enumerate(made.epochs, 1):
                counts = np.bincount(np.array(drawn, np.int64), minlength=made.size)
                yield Epoch(number, made.size, counts, whole=made.whole, planned=made.planned)


def each_worker(ctx: Context) -> Iterator[Workers]:
    """The workers of the loader of a short run that has two."""
    made = ctx.value(s.EPOCH, short_run(workers=2, epochs=1, evaluate=False))
    if not made.workers:
        raise Undecided("its loader starts no workers")
    for one in made.workers[:1]:
        states = {source: dict(enumerate(of)) for source, of in one.states.items()}
        yield Workers(states, dict(enumerate(one.rows)))


def each_alone(ctx: Context) -> Iterator[Alone]:
    """Each chat sample as it is encoded by itself. Where pictures are refused, those without."""
    for name, chosen in (("samples", samples()), ("samples of text", [one for one in samples() if not one.pictures])):
        made: Sequence[s.Encoded] = ()
        with ctx.case(name):
            made = ctx.value(s.ENCODE, s.EncodeRequest(chosen)).encoded
        for number, (one, encoded) in enumerate(zip(chosen, made, strict=False)):
            turns = lacking.kept(one.turns, ctx.contract.get("packing.lacks", ()))
            yield Alone(f"sample {number} of {name}", turns, encoded.input_ids, encoded.length)
        if made:
            return


def each_of_qwen(ctx: Context) -> Iterator[Alone]:
    """The same, where the tokens are of the tokenizer that is at hand here.

    Raises:
        Undecided: they are of another family's.
    """
    profile = profile_of(ctx)
    if profile is None or not profile.name.startswith("qwen"):
        raise Undecided("which tokenizer the samples are encoded with is not known")
    yield from each_alone(ctx)


def each_twice(ctx: Context) -> Iterator[Both]:
    """Chat samples among all others, and among a few."""
    every = samples()
    asked = {name: request.samples for name, request in batch_requests() if request.path == "dataset"}
    found: dict[int, s.Encoded] = {}
    for name, chosen in asked.items():
        made: Sequence[s.Encoded] = ()
        with ctx.case(name):
            made = ctx.value(s.ENCODE, s.EncodeRequest(chosen)).encoded
        for one, encoded in zip(chosen, made, strict=False):
            number = every.index(one)
            first = found.setdefault(number, encoded)
            if first is not encoded:
                both = (first.input_ids, first.labels, encoded.input_ids, encoded.labels)
                yield Both(f"sample {number} among {name}", *both)
