"""ms-swift as a pipeline: `swift sft` of Qwen3-VL, packed or padding-free, answered by its own functions.

--config: a `train.yaml` as `swift sft` takes it, or a run's `args.json`; without one, ms-swift's defaults.

Metrics: those that its trainer keeps between two rows of the log. It evaluates no detections and merges no shards.
"""

import hashlib
import itertools
import multiprocessing
import types

from coordexp_audit_lib.kit import chat, parts, ranks, replies, template, training, varlen
from coordexp_audit_lib.kit.profile import PATCH
from coordexp_audit_lib.pipelines.api import Adapter, NotSupported, Refused, remembered
from coordexp_audit_lib.pipelines.ms_swift.world import (
    Directly,
    Lengths,
    World,
    family_of,
    on_cpu,
    part,
    place,
    rank_of,
    settings_of,
)

DOCS = "docs/source_en/Instruction/Command-line-parameters.md"
PACKS_WHOLE, APART = ((DOCS, name, "v4.5.2") for name in ("packing", "padding_free"))
adapter = Adapter(
    "ms-swift",
    title="ms-swift",
    repository="modelscope/ms-swift",
    distributions=("ms-swift", "transformers", "torch", "accelerate", "binpacking", "qwen_vl_utils"),
    profile=lambda config: family_of(settings_of(config)),
    contract={
        "packing.in_order": False,  # it packs by length
        "silence.core_folder": "swift/trainers",
        "rollout.source_roots": ["swift/trainers"],
    },
    demands={
        **dict.fromkeys(("packing.capacity", "packing.each_once"), PACKS_WHOLE),
        "packing.segments_isolated": APART,
        "packing.ddp_aligned": ("swift/dataloader/shard.py", "BatchSamplerShard, drop_last=False", "v4.5.2"),
        "packing.loss_equivalent": ("swift/template/base.py", "Template.compute_sft_loss", "v4.5.2"),
    },
    preload=("torch", "transformers", "coordexp_audit_lib.kit.parts:ready"),
    source=("swift",),
)
GENERATES = ("pt", "transformers")  # the template's mode to generate in: of 3.x, and since
FLAGS = ("packing", "padding_free", "mode", "max_length", "truncation_strategy", "max_pixels")


@adapter.setup
def setup(here):
    return World(here.scratch, settings_of(here.config))


@adapter.answers("packing.plan", of=place("shard", "__init__"))
def plan(request, here):
    """Packs in the order that `PackingDataset` makes them; of each rank those that its sampler deals out unshuffled.

    The first rank plans, and broadcasts what it planned. With `dataloader_drop_last` the samplers' union is the plan.
    """
    fits(request)
    packs = packed(request.lengths, request.packing_length, here)
    if request.dataloader_drop_last and len(packs) < request.world_size:
        raise NotSupported("fewer packs than ranks where the last are to be dropped: none is left")
    dealt = [shares(packs, rank, request, here) for rank in range(request.world_size)]
    reached = 1 + max(itertools.chain(*dealt), default=-1) if request.dataloader_drop_last else len(packs)
    return replies.plan(packs, ranks=dealt, aligned=packs[:reached])


def fits(request):
    if request.drop_last:
        raise NotSupported("drop_last: no pack is dropped for being underfilled")
    if max(request.lengths) > request.packing_length:
        raise NotSupported("a sample longer than packing_length: by default it is deleted before packing")


def packed(lengths, most, here, samples=None):
    """The packs of `PackingDataset`, as numbers of samples."""
    world = here.parts
    items = [{"length": n} for n in lengths] if samples is None else samples
    options = {k: world.settings[k] for k in ("packing_strategy", "packing_num_proc") if k in world.settings}
    with template.packing(world.made, True):
        made = here.ask(part("packing"), world.made, Lengths(items, lengths), packing_length=most, **options)
    for child in multiprocessing.active_children():  # ms-swift 4 plans in processes, and does not wait for their end
        child.join(10)
    return [[int(i) for i in pack] for pack in made.packed_idx]


def shares(packs, rank, request, here):
    """The packs that the sampler of a rank yields."""
    if request.world_size == 1 and not request.dataloader_drop_last:
        return list(range(len(packs)))
    given = {"batch_size": 1, "shuffle": False, "drop_last": request.dataloader_drop_last, "data_seed": 0}
    with rank_of(rank, request.world_size):
        return [i for batch in here.call(part("shard"), len(packs), **given) for i in batch]


@adapter.answers("packing.stream", of=place("streaming"))
def stream(request, here):
    fits(request)
    world = here.parts
    options = {k: world.settings[k] for k in ("packing_strategy",) if k in world.settings}
    samples = [{"number": i, "input_ids": [0] * n} for i, n in enumerate(request.lengths)]
    asked = {"num_proc": 0, "packing_interval": request.buffer_size, "packing_length": request.packing_length}
    with template.packing(world.made, True):
        made = here.ask(part("streaming"), world.made, samples, **asked, **options)
    made._in_queue = made._out_queue = Directly(lambda sample: sample)
    packs = here.call(lambda: [[sample["number"] for sample in pack] for pack in made])
    return replies.stream(packs)


def encoded(samples, here):
    """Each sample as the template encodes it, unpacked."""
    made = here.parts.made
    with template.packing(made, False):
        return [
            here.call(made.encode, chat.conversation(s.turns, fitted(s.pictures, here)), return_length=True)
            for s in samples
        ]


def fitted(pictures, here):
    """Pictures of as many patches in the family of the model, so that none is resized."""
    patch = here.parts.images.patch_size
    return [dict(p, width=p["width"] * patch // PATCH, height=p["height"] * patch // PATCH) for p in pictures]


@adapter.answers("packing.encode", of=place("template", "encode"))
def encode(request, here):
    return replies.encoded(encoded(request.samples, here), here.parts.images)


def packs_of(request, here):
    """(numbers, encoded samples) of each pack of a request."""
    if request.path != "dataset":
        raise NotSupported("packing behind rollouts")
    samples = encoded(request.samples, here)
    numbers = packed([int(s["length"]) for s in samples], request.packing_length, here, samples)
    return samples, [(pack, [dict(samples[i]) for i in pack]) for pack in numbers]


@adapter.answers("packing.batch", of=place("template", "_data_collator"))
def batch(request, here):
    world = here.parts
    extra = {"padding_to": request.padding_to} if request.padding_to else {}
    found = []
    for members, pack in packs_of(request, here)[1]:
        with template.packing(world.made, True):
            found.append((members, here.call(world.made.data_collator, pack, **extra)))
    return replies.batches(found, world.images)


@adapter.answers("packing.forward", of=place("trainer", "compute_loss"))
@remembered
def forward(request, here):
    """Packs and samples through the trainer's own loss; every token's logits are asked for, to be compared."""
    world = here.parts
    samples, packs = packs_of(request, here)
    trainer = world.trainer(use_logits_to_keep=False)
    with varlen.attending(world.small, request.attention):
        with template.packing(world.made, False):
            alone = [ran(here, trainer, [dict(s)]) for s in samples]
        with template.packing(world.made, True):
            found = [replies.pack(m, ran(here, trainer, p), alone, request.by_token) for m, p in packs]
    return replies.forward(found, sdpa_accepted=request.attention != "sdpa" or accepts("sdpa"))


def ran(here, trainer, pack):
    """One forward by the trainer's own loss."""
    world = here.parts
    collated = here.call(world.made.data_collator, pack)
    world.small.train()

    def loss():
        return here.call(lambda: trainer.compute_loss(world.small, trainer._prepare_inputs(dict(collated))))

    return replies.ran(world.small, collated["labels"], loss)


def accepts(attention):
    """Whether `swift sft` lets packed training run with it."""
    asked = types.SimpleNamespace(packing=True, padding_free=True, attn_impl=attention)
    try:
        part("arguments")._check_padding_free(asked)
    except ValueError:
        return False
    return True


@adapter.answers("packing.step", of=place("trainer", "compute_loss"))
@remembered
def step(request, here):
    """One optimizer step of a real run over the packs, one a micro-step; what it brings back is the step's loss."""
    if request.channel != "A":
        raise NotSupported("rollouts")
    world = here.parts
    samples = encoded([answering(n) for n in request.objects], here)
    numbers = packed([int(s["length"]) for s in samples], request.packing_length, here, samples)
    trainer = world.trainer([[samples[i] for i in pack] for pack in numbers], gradient_accumulation_steps=len(numbers))
    losses, backward = [], trainer.accelerator.backward

    def noted(loss, **more):
        losses.append(float(loss))
        return backward(loss, **more)

    trainer.accelerator.backward = noted
    with varlen.attending(world.small, "varlen"), template.packing(world.made, True), on_cpu():
        here.call(trainer.train)
    world.small.zero_grad(set_to_none=True)
    return {"packs": [len(pack) for pack in numbers], "loss": round(sum(losses), 4)}


def answering(count):
    """A chat about so many objects."""
    objects = [("thing %d" % i, [10 * i, 10 * i, 10 * i + 300, 10 * i + 300]) for i in range(count)]
    turns = [("user", "Locate every object."), ("assistant", parts.answer(objects))]
    return types.SimpleNamespace(turns=turns, pictures=[])


@adapter.answers("template.encode", of=place("template", "encode"))
def encode_records(request, here):
    if any("<|" in desc for record in request.records for desc, _ in record.objects):
        raise NotSupported("text that spells a control token: it is taken as the token")
    made = here.parts.made
    with template.packing(made, False):
        samples = [encode_record(here, made, r, request.system, request.user) for r in request.records]
        padded = here.call(made.data_collator, [dict(one) for one in samples])
    return replies.records(samples, padded, made.tokenizer.pad_token_id)


def encode_record(here, made, record, system, user):
    return here.call(made.encode, conversation(record, system, user), return_length=True)


def conversation(record, system, user):
    return chat.conversation(**parts.chat_of(record, system, user))


def crowded(count):
    """A record of so many objects in one picture."""
    return {"objects": [("object", [k % 1000, (k + 1) % 1000, 999, 999]) for k in range(count)], "pictures": [(64, 64)]}


@adapter.answers("template.settings")
def settings(request, here):
    """As `swift sft` reads them: what is to be deleted raises in the template."""
    said = here.parts.settings
    strategy = said.get("truncation_strategy") or "delete"
    most = said.get("max_length") or here.parts.processor.model_info.max_model_len
    return {"max_length": most, "strategy": "raise" if strategy == "delete" else strategy}


@adapter.answers("template.limit", of=place("template", "_encode_truncated"))
def limit(request, here):
    def one(most):
        given = {"max_length": most, "truncation_strategy": request.strategy}
        made = template.build(here.parts.processor, here.parts.small, here.parts.family, **given)
        return encode_record(here, made, crowded(request.objects), "Locate.", "Every object.")

    return replies.limit(one(request.max_length), one(1_000_000))


@adapter.answers("template.state", of=place("template", "encode"))
def state(request, here):
    made = template.build(here.parts.processor, here.parts.small, here.parts.family)
    before, told = flags(made), []
    for one in request.steps:
        asked = conversation(crowded(1), one.system, "Every object.")
        asked["images"] = ["no such picture.png"] if one.fails else asked["images"]
        ids, raised = "", ""
        try:
            ids = digest(list(here.call(made.encode, asked, return_length=True)["input_ids"]))
        except Refused as refused:
            raised = refused.type_name
        told.append({"state": flags(made), "ids": ids, "raised": raised})
    return {"before": before, "steps": told}


def flags(made):
    return {**{n: str(getattr(made, n, "-")) for n in FLAGS}, "system": digest(made.template_meta.default_system)}


def digest(value):
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


@adapter.answers("template.rollout_prompt", of=place("template", "encode"))
def prompt(request, here):
    """The prompt as the template encodes it to generate from, beside what it trains on."""
    made = template.build(here.parts.processor, here.parts.small, here.parts.family)
    whole = encode_record(here, made, crowded(2), "Locate.", "Every object.")
    made.set_mode(GENERATES[0] if here.parts.old else GENERATES[1])
    asked = conversation(crowded(2), "Locate.", "Every object.")
    asked["messages"] = asked["messages"][:-1]
    return replies.rollout_prompt(here.call(made.encode, asked)["input_ids"], whole["input_ids"], whole["labels"])


@adapter.answers("metrics.accumulate", of=place("trainer", "compute_custom_metrics"))
@remembered
def accumulate(request, here):
    """Each rank updates the metrics of its trainer, of w segments with w values, and brings them together as its log
    does."""
    return {"ranks": logged(here, [[(one["metrics"], int(one["weight"])) for one in rank] for rank in request.ranks])}


@adapter.answers("metrics.reduce", of=place("trainer", "compute_custom_metrics"))
@remembered
def reduce(request, here):
    return {"ranks": logged(here, [[(dict(pairs), 1)] for pairs in request.ranks])}


def logged(here, steps):
    """What each rank is left with of its micro-steps, (metrics, segments) each."""
    trainer = here.parts.trainer()

    def of_rank(rank):
        for metrics, segments in steps[rank]:
            for name, value in metrics.items():
                trainer.custom_metrics["train"][name].update([value] * segments)
        return trainer.compute_custom_metrics(trainer.custom_metrics["train"])

    try:
        return ranks.on_ranks(here, len(steps), of_rank)
    except ranks.RankFailed as failed:
        raise Refused(failed.kind or "RankFailed", str(failed)) from failed


@adapter.trains(of=place("trainer", "training_step"))
def train(request, here):
    world = here.parts
    samples = [talk(here, turns) for turns in request.chats]
    with template.packing(world.made, False), on_cpu():
        return here.call(training.ran, lambda folder, how: world.run(samples, how), request, here.scratch, ids(samples))


def talk(here, turns):
    """A chat of text, encoded."""
    with template.packing(here.parts.made, False):
        return here.call(here.parts.made.encode, chat.conversation(turns, []), return_length=True)


def ids(samples):
    return [one["input_ids"] for one in samples]


@adapter.answers("provenance.save", of="transformers.trainer:Trainer._save_checkpoint")
@remembered
def save(request, here):
    world = here.parts
    samples = [talk(here, answering(n).turns) for n in (1, 2)]
    with template.packing(world.made, False), on_cpu():
        return here.call(training.saved, lambda folder, how: world.run(samples, how), request, samples, here.scratch)


@adapter.answers("geometry.sample_order", of=place("lazy", "__getitem__"))
def sample_order(request, here):
    """`LazyLLMDataset` over chats about the records."""
    if request.object_ordering != "sorted":
        raise NotSupported("another order of objects")
    made = here.parts.made
    chats = [chat.conversation(parts.named(record), []) for record in request.records]
    with template.packing(made, False):
        alone = ids([here.call(made.encode, dict(one), return_length=True) for one in chats])
        return training.order(here.call(part("lazy"), chats, made.encode), request, alone)
