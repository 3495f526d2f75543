"""LLaMA-Factory as a pipeline: supervised fine-tuning of Qwen3-VL, each sample by itself or packed neatly
(`neat_packing`), answered by its own functions.

Metrics: it accumulates none while it trains; `ComputeAccuracy` is a mean over an evaluation's samples, and it evaluates
no detections and merges no shards.

--config: a YAML file as `llamafactory-cli train` takes it. Without one: its defaults and `neat_packing: true`, with the
template `qwen3_vl_nothink`.
"""

import math

from coordexp_audit_lib.kit import dealing, parts, replies, training, varlen
from coordexp_audit_lib.pipelines.api import Adapter, NotSupported, remembered
from coordexp_audit_lib.pipelines.llamafactory.world import ATTENTION, MULTIPLE, World, columns, rows_of, settings_of

PROCESSOR = "llamafactory.data.processor.supervised:"
COLLATOR = "llamafactory.data.collator:SFTDataCollatorWith4DAttentionMask.__call__"
TRAINER = "llamafactory.train.sft.trainer:CustomSeq2SeqTrainer"
NEAT = ("src/llamafactory/hparams/data_args.py", "neat_packing: without cross-attention", "v0.9.5")
MASK = ("src/llamafactory/data/collator.py", "prepare_4d_attention_mask: (bsz, seq_len), expanded", "v0.9.5")
adapter = Adapter(
    "llamafactory",
    title="LLaMA-Factory",
    repository="hiyouga/LLaMA-Factory",
    distributions=("llamafactory", "transformers", "torch", "accelerate", "datasets", "peft"),
    profile="qwen3_vl",
    contract={
        "packing.in_order": False,  # it packs by length
        "silence.core_folder": "llamafactory/train",
        "rollout.source_roots": ["llamafactory/train"],
    },
    demands={"packing.segments_isolated": NEAT, "packing.fields_aligned": MASK},
    preload=(
        *("torch", "transformers", "coordexp_audit_lib.kit.parts:ready"),
        "coordexp_audit_lib.pipelines.llamafactory.world:ready",
    ),
    source=("llamafactory",),
)


@adapter.setup
def setup(here):
    return World(here.scratch, settings_of(here.config), here.config is not None)


def packing(here, neat=True):
    """Refuse what is about packs where the config does not pack, or means the samples of a pack to see each other.

    neat: of packs that are to keep them apart."""
    if not here.parts.packs:
        raise NotSupported("this config sets neither packing nor neat_packing: nothing is packed")
    if neat and not here.parts.neat:
        raise NotSupported("packing without neat_packing: the samples of a pack see each other, as documented")


@adapter.answers("packing.plan", of=PROCESSOR + "PackedSupervisedDatasetProcessor.preprocess_dataset")
def plan(request, here):
    """Samples of equal tokens, packed; of each rank what accelerate's sampler deals out unshuffled."""
    packing(here, neat=False)
    if request.drop_last:
        raise NotSupported("drop_last: no pack is dropped for being underfilled")
    if max(request.lengths) > request.packing_length:
        raise NotSupported("a sample longer than packing_length: it is cut there as it is encoded, or dropped")
    made = here.parts.encoder(True, request.packing_length)
    waiting = iter([[i + 1] * n for i, n in enumerate(request.lengths)])  # 0 is no sample's

    def of_its_length(**asked):
        ids = next(waiting)
        return ids, list(ids)

    made._encode_data_example = of_its_length
    told = here.call(
        made.preprocess_dataset, columns([example([("user", "q"), ("assistant", "a")])] * len(request.lengths))
    )
    pad = here.parts.words.pad_token_id
    packs = [[i - 1 for i in dict.fromkeys(ids) if i != pad] for ids in told["input_ids"]]
    if request.dataloader_drop_last and len(packs) < request.world_size:
        raise NotSupported("fewer packs than ranks where the last are to be dropped: none is left")
    return replies.plan(packs, **here.call(dealing.dealt, packs, request.world_size, request.dataloader_drop_last))


def example(turns, pictures=()):
    """A chat as its aligned data sets have it."""
    turns = list(turns)
    system = turns.pop(0)[1] if turns[0][0] == "system" else ""
    told = [{"role": role, "content": text} for role, text in turns]
    return {
        **{"_prompt": told[:-1], "_response": told[-1:], "_system": system, "_tools": ""},
        **{"_images": parts.images(pictures), "_videos": [], "_audios": []},
    }


def examples(samples):
    return [example(one.turns, one.pictures) for one in samples]


def encoded(chats, here, room=None):
    """Each chat as it is encoded without packing, its pictures as they are."""
    return rows_of(here.call(here.parts.encoder(False, room).preprocess_dataset, columns(chats)))


def trimmed(row, here):
    """A chat with what the collator makes of its pictures, without the padding of its batch."""
    size, batch = len(row["input_ids"]), collated([row], here, False)
    pictures = {k: batch[k] for k in ("pixel_values", "image_grid_thw") if row["images"]}
    return {"input_ids": row["input_ids"], "labels": row["labels"], "length": size, **pictures}


def collated(rows, here, packs, attention="sdpa"):
    return here.call(here.parts.collator(packs, attention), [dict(row) for row in rows])


@adapter.answers("packing.encode", of=PROCESSOR + "SupervisedDatasetProcessor.preprocess_dataset")
def encode(request, here):
    made = [trimmed(row, here) for row in encoded(examples(request.samples), here)]
    return replies.encoded(made, here.parts.processor.image_processor)


def packs_of(request, here):
    """The tokens of each sample, and (numbers of the samples, row) of each pack of a request."""
    packing(here)
    if request.path != "dataset":
        raise NotSupported("packing behind rollouts")
    chats = examples(request.samples)
    alone = [row["input_ids"] for row in encoded(chats, here)]
    room = fitting(request.packing_length, alone)
    made, found = here.call(here.parts.encoder(True, room).preprocess_dataset, columns(chats)), []
    for row in rows_of(made):
        found.append((members(row["input_ids"], alone), row))
    return alone, found


def fitting(most, alone):
    """Room of a pack: it and its token of padding are a multiple of what a batch is padded to, as LLaMA-Factory wants
    it, and no more than what all samples need, for every pack is filled up."""
    room = (min(most, sum(map(len, alone)) + MULTIPLE) + 1) // MULTIPLE * MULTIPLE - 1
    if max(map(len, alone)) > room:
        raise NotSupported("a sample longer than a pack: it is cut there")
    return room


def members(ids, alone):
    """Which samples stand in a row, in order."""
    found: list[int] = []
    at = 0
    while True:
        fits = [i for i, one in enumerate(alone) if i not in found and ids[at : at + len(one)] == one]
        if not fits:
            return found
        found.append(max(fits, key=lambda i: len(alone[i])))
        at += len(alone[found[-1]])


@adapter.answers("packing.batch", of=COLLATOR)
def batch(request, here):
    if request.padding_to:
        raise NotSupported("padding of a pack: each is as long as cutoff_len says")
    found = [(numbers, collated([row], here, True)) for numbers, row in packs_of(request, here)[1]]
    return replies.batches(found, here.parts.processor.image_processor)


@adapter.answers("packing.forward", of="llamafactory.train.sft.trainer:CustomSeq2SeqTrainer.compute_loss")
@remembered
def forward(request, here):
    """Packs and samples through the trainer's own loss, each collated for the attention that is asked of."""
    world, attention = here.parts, ATTENTION[request.attention]
    alone, packs = packs_of(request, here)
    trainer = world.trainer([], world.collator(True))
    with varlen.attending(world.small, request.attention):
        rows = encoded(examples(request.samples), here)
        made = [ran(here, trainer, collated([row], here, False, attention)) for row in rows]
        sizes = [len(ids) for ids in alone]
        found = [
            replies.pack(m, ran(here, trainer, collated([row], here, True, attention)), made, request.by_token, sizes)
            for m, row in packs
        ]
    return replies.forward(found)


def ran(here, trainer, given):
    """One forward by the trainer's own loss."""
    small = here.parts.small
    small.train()
    return replies.ran(small, given["labels"], lambda: here.call(trainer.compute_loss, small, dict(given)))


@adapter.answers("packing.step", of=TRAINER + ".compute_loss")
@remembered
def step(request, here):
    """One optimizer step of a real run over the packs, one a micro-step; what it brings back is the step's loss."""
    packing(here)
    if request.channel != "A":
        raise NotSupported("rollouts")
    if here.parts.configured and here.parts.settings.get("gradient_accumulation_steps", 1) == 1:
        raise NotSupported("gradient_accumulation_steps is 1 in this config: a step is one micro-step")
    world, chats = here.parts, [example(answering(n)) for n in request.objects]
    alone = [row["input_ids"] for row in encoded(chats, here)]
    room = fitting(request.packing_length, alone)
    rows = rows_of(here.call(world.encoder(True, room).preprocess_dataset, columns(chats)))
    with varlen.attending(world.small, "varlen"):
        trainer = world.trainer(
            rows,
            world.collator(True, ATTENTION["varlen"]),
            gradient_accumulation_steps=len(rows),
            dataloader_num_workers=0,
        )
        losses, backward = [], trainer.accelerator.backward

        def noted(loss, **more):
            losses.append(float(loss))
            return backward(loss, **more)

        trainer.accelerator.backward = noted
        here.call(trainer.train)
    world.small.zero_grad(set_to_none=True)
    return {"packs": [len(members(row["input_ids"], alone)) for row in rows], "loss": round(math.fsum(losses), 4)}


def answering(count):
    """A chat about so many objects."""
    objects = [("thing %d" % i, [10 * i, 10 * i, 10 * i + 300, 10 * i + 300]) for i in range(count)]
    return [("user", "Locate every object."), ("assistant", parts.answer(objects))]


@adapter.answers("template.encode", of=PROCESSOR + "SupervisedDatasetProcessor.preprocess_dataset")
def encode_records(request, here):
    if any("<|" in desc for record in request.records for desc, _ in record.objects):
        raise NotSupported("text that spells a control token: it is taken as the token")
    if here.parts.said.get("train_on_prompt"):
        raise NotSupported("train_on_prompt: this config supervises whole chats")
    chats = [parts.chat_of(record, request.system, request.user) for record in request.records]
    rows = encoded(examples(chats), here)
    padded = collated(rows, here, False)
    return replies.records([trimmed(row, here) for row in rows], padded, here.parts.words.pad_token_id)


@adapter.answers("template.settings")
def settings(request, here):
    """Beyond `cutoff_len` the longer part of a turn is cut, and whole turns beyond that."""
    return {"max_length": here.parts.parsed()[1].cutoff_len, "strategy": "right"}


@adapter.answers("template.limit", of="llamafactory.data.processor.processor_utils:infer_seqlen")
def limit(request, here):
    chat = examples([parts.chat_of(parts.crowded(request.objects), "Locate.", "Every object.")])
    whole = encoded(chat, here, 1_000_000)[0]
    if request.strategy != "right" and len(whole["input_ids"]) > request.max_length:
        raise NotSupported("truncation_strategy %s" % request.strategy)
    return replies.limit(encoded(chat, here, request.max_length)[0], whole)


@adapter.answers("template.rollout_prompt", of="llamafactory.data.template:Template.encode_oneturn")
def prompt(request, here):
    """The prompt as its chat engine makes it to generate from, beside what is trained on."""
    world, chat = here.parts, parts.chat_of(parts.crowded(2), "Locate.", "Every object.")
    made = example(chat.turns, chat.pictures)
    said, empty = made["_prompt"], {"role": "assistant", "content": ""}
    plug = world.template.mm_plugin.process_messages
    turns = here.call(plug, said, made["_images"], [], [], world.processor)
    asked, _ = here.call(world.template.encode_oneturn, world.words, [*turns, empty], made["_system"], "")
    whole = encoded([made], here)[0]
    return replies.rollout_prompt(asked, whole["input_ids"], whole["labels"])


@adapter.trains(of=TRAINER + ".training_step")
def train(request, here):
    rows = encoded([example(chat) for chat in request.chats], here)
    collator = here.parts.collator(False)

    def make(folder, arguments):
        return here.parts.trainer(rows, collator, training.model(), rows[:2], **{"max_steps": -1, **arguments})

    return here.call(training.ran, make, request, here.scratch, [row["input_ids"] for row in rows])


@adapter.answers("provenance.save", of="transformers.trainer:Trainer._save_checkpoint")
@remembered
def save(request, here):
    rows = encoded([example(answering(n)) for n in (1, 2)], here)

    def make(folder, how):
        return here.parts.trainer(rows, here.parts.collator(False), training.model(), **{"max_steps": -1, **how})

    return here.call(training.saved, make, request, rows, here.scratch)


@adapter.answers("geometry.sample_order", of=PROCESSOR + "SupervisedDatasetProcessor.preprocess_dataset")
def sample_order(request, here):
    """Its own data set of chats about the records."""
    if request.object_ordering != "sorted":
        raise NotSupported("another order of objects")
    rows = encoded([example(parts.named(record)) for record in request.records], here)
    return training.order(training.Fresh(rows), request, [row["input_ids"] for row in rows])
