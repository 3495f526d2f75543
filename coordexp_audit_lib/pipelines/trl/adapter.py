"""TRL as a pipeline: `SFTTrainer` on chats of text, packed ("bfd") and without padding, and its collator of chats with
pictures, which TRL does not pack.

--config: a YAML file as `trl sft --config` takes it. Without one, TRL's defaults, but that only what the assistant says
is supervised (`assistant_only_loss`, `completion_only_loss`), and that the packs of a step are accumulated.

Metrics: those that `SFTTrainer` keeps between two rows of the log, on one rank. What several have it gathers in the
middle of `compute_loss`, by no function that could be asked (`metrics.reduce`); it evaluates no detections and merges
no shards.
"""

import math

from coordexp_audit_lib.kit import dealing, parts, replies, training, varlen
from coordexp_audit_lib.kit.profile import IGNORE_INDEX
from coordexp_audit_lib.pipelines.api import Adapter, NotSupported, remembered
from coordexp_audit_lib.pipelines.trl.world import LIMIT, World, settings_of

TRAINER = "trl.trainer.sft_trainer:"
PACKED, GUIDE = ("docs/source/reducing_memory_usage.md", "Packing", "v1.9.0"), "docs/source/sft_trainer.md"
ASKED = (
    "prompts and completions, with completion_only_loss; a whole chat is supervised unless assistant_only_loss is set"
)
adapter = Adapter(
    "trl",
    title="TRL",
    repository="huggingface/trl",
    distributions=("trl", "transformers", "torch", "accelerate", "datasets"),
    profile="qwen3_vl",
    contract={
        "packing.in_order": False,  # it packs by length
        "template.labels_asked_of": ASKED,
        "silence.core_folder": "trl/trainer",
        "rollout.source_roots": ["trl/trainer"],
    },
    demands={
        **dict.fromkeys(("packing.capacity", "packing.each_once", "packing.segments_isolated"), PACKED),
        "template.labels_cover_assistant": (GUIDE, "Train on completion only", "v1.9.0"),
        "packing.loss_equivalent": ("trl/trainer/sft_trainer.py", "SFTTrainer.compute_loss", "v1.9.0"),
    },
    preload=("torch", "transformers", "coordexp_audit_lib.kit.parts:ready"),
    source=("trl",),
)


@adapter.setup
def setup(here):
    return World(here.scratch, settings_of(here.config), here.config is not None)


@adapter.answers("packing.plan", of="trl.data_utils:pack_dataset")
def plan(request, here):
    """Samples of equal tokens, packed; of each rank what accelerate's sampler deals out unshuffled."""
    from datasets import Dataset
    from trl.data_utils import pack_dataset

    if request.drop_last:
        raise NotSupported("drop_last: no pack is dropped for being underfilled")
    if max(request.lengths) > request.packing_length:
        raise NotSupported("a sample longer than packing_length: bfd cuts it there")
    samples = Dataset.from_dict({"input_ids": [[i] * n for i, n in enumerate(request.lengths)]})
    made = here.call(pack_dataset, samples, request.packing_length, strategy="bfd")
    packs = [list(dict.fromkeys(row)) for row in made["input_ids"]]
    if request.dataloader_drop_last and len(packs) < request.world_size:
        raise NotSupported("fewer packs than ranks where the last are to be dropped: none is left")
    return replies.plan(packs, **here.call(dealing.dealt, packs, request.world_size, request.dataloader_drop_last))


def texts(samples):
    """The chats of a request as TRL takes them."""
    if any(sample["pictures"] for sample in samples):
        raise NotSupported("pictures in a pack: TRL refuses to pack them")
    return [[{"role": role, "content": text} for role, text in sample["turns"]] for sample in samples]


def encoded(chats, here):
    """Each chat as the trainer tokenizes and collates it by itself; no loss reads the label of its first token."""
    trainer = here.call(here.parts.trainer, chats)
    batches = [here.call(trainer.data_collator, [row]) for row in trainer.train_dataset]
    rows = [(b["input_ids"][0].tolist(), b["labels"][0].tolist()) for b in batches]
    return [{"input_ids": ids, "labels": [IGNORE_INDEX, *labels[1:]]} for ids, labels in rows]


@adapter.answers("packing.encode", of=TRAINER + "SFTTrainer._prepare_dataset")
def encode(request, here):
    return replies.encoded(encoded(texts(request.samples), here))


def packs_of(chats, length, here, **more):
    """A trainer that packs, and (numbers of the samples, collated batch) of each pack."""
    alone = [one["input_ids"] for one in encoded(chats, here)]
    trainer = here.call(here.parts.trainer, chats, packing=True, max_length=length, **more)
    found = []
    for row in trainer.train_dataset:
        ids, members, start = list(row["input_ids"]), [], 0
        for size in row["seq_lengths"]:
            members.append(alone.index(ids[start : start + size]))
            start += size
        found.append((members, here.call(trainer.data_collator, [row])))
    return trainer, found


@adapter.answers("packing.batch", of=TRAINER + "DataCollatorForLanguageModeling.torch_call")
def batch(request, here):
    if request.path != "dataset":
        raise NotSupported("packing behind rollouts")
    more = {"pad_to_multiple_of": request.padding_to} if request.padding_to else {}
    return replies.batches(packs_of(texts(request.samples), request.packing_length, here, **more)[1])


@adapter.answers("packing.forward", of=TRAINER + "SFTTrainer.compute_loss")
@remembered
def forward(request, here):
    if request.path != "dataset":
        raise NotSupported("packing behind rollouts")
    chats, world = texts(request.samples), here.parts
    trainer, packs = packs_of(chats, request.packing_length, here)
    by_itself = here.call(world.trainer, chats)
    with varlen.attending(world.small, request.attention):
        rows = [by_itself.data_collator([row]) for row in by_itself.train_dataset]
        alone = [here.call(world.ran, by_itself, row) for row in rows]
        ran = [(members, here.call(world.ran, trainer, made)) for members, made in packs]
        return replies.forward([replies.pack(members, one, alone, request.by_token) for members, one in ran])


@adapter.answers("packing.step", of=TRAINER + "SFTTrainer.compute_loss")
@remembered
def step(request, here):
    """One optimizer step of a real run over the packs, one a micro-step; what it brings back is the step's loss."""
    if request.channel != "A":
        raise NotSupported("rollouts")
    if here.parts.configured and here.parts.settings.get("gradient_accumulation_steps", 1) == 1:
        raise NotSupported("gradient_accumulation_steps is 1 in this config: a step is one micro-step")
    chats, world = [answering(n) for n in request.objects], here.parts
    sizes = [len(members) for members, _ in packs_of(chats, request.packing_length, here)[1]]
    more = {"packing": True, "max_length": request.packing_length, "gradient_accumulation_steps": len(sizes)}
    trainer = here.call(world.trainer, chats, **more)
    losses, backward = [], trainer.accelerator.backward

    def noted(loss, **more):
        losses.append(float(loss))
        return backward(loss, **more)

    trainer.accelerator.backward = noted
    with varlen.attending(world.small, "sdpa"):
        here.call(trainer.train)
    world.small.zero_grad(set_to_none=True)
    return {"packs": sizes, "loss": round(math.fsum(losses), 4)}


def answering(count):
    """A chat about so many objects."""
    objects = [("thing %d" % i, [10 * i, 10 * i, 10 * i + 300, 10 * i + 300]) for i in range(count)]
    said = {"role": "assistant", "content": parts.answer(objects)}
    return [{"role": "user", "content": "Locate every object."}, said]


def example(record, system, user):
    """A record as TRL's prompt and completion, with its pictures."""
    made = parts.chat_of(record, system, user)
    turns = [{"role": role, "content": text.replace("<image>", "")} for role, text in made["turns"]]
    return {"prompt": turns[:-1], "completion": turns[-1:], "images": parts.images(made["pictures"])}


def collator(here, max_length=None):
    kind = here.parts.sft.DataCollatorForVisionLanguageModeling
    return kind(processor=here.parts.processor, max_length=max_length, completion_only_loss=True)


def collated(here, examples, max_length=None):
    return here.call(collator(here, max_length), [dict(one) for one in examples])


def first(batch):
    """A batch of one record as that record."""
    return {k: v[0] if k in ("input_ids", "labels") else v for k, v in batch.items()}


def supervising(here):
    """Refuse to judge labels where the config lets TRL supervise the whole of a chat, as it does by default."""
    world = here.parts
    if not world.configured or world.settings.get("completion_only_loss"):
        return
    if not world.assistant_only():
        raise NotSupported(
            "this config sets neither assistant_only_loss nor completion_only_loss: whole chats are supervised"
        )
    raise NotSupported("assistant_only_loss of chats with pictures: asked are prompts and completions")


@adapter.answers("template.encode", of=TRAINER + "DataCollatorForVisionLanguageModeling.torch_call")
def encode_records(request, here):
    if any("<|" in desc for record in request.records for desc, _ in record.objects):
        raise NotSupported("text that spells a control token: it is taken as the token")

    supervising(here)

    def examples():  # anew each time, for the collator writes into them
        return [example(record, request.system, request.user) for record in request.records]

    alone = [first(collated(here, [one])) for one in examples()]
    return replies.records(alone, collated(here, examples()), here.parts.words.pad_token_id)


@adapter.answers("template.settings")
def settings(request, here):
    """Beyond `max_length` TRL cuts off the end."""
    said = here.parts.settings
    return {
        "max_length": said.get("max_length", LIMIT),
        "strategy": "left" if said.get("truncation_mode") == "keep_end" else "right",
    }


@adapter.answers("template.limit", of=TRAINER + "DataCollatorForVisionLanguageModeling.torch_call")
def limit(request, here):
    objects = [("object", [k % 1000, (k + 1) % 1000, 999, 999]) for k in range(request.objects)]
    record = {"objects": objects, "pictures": [(64, 64)]}

    def one(most):
        return first(collated(here, [example(record, "Locate.", "Every object.")], most))

    whole = one(None)
    if request.strategy != "right" and len(whole["input_ids"]) > request.max_length:
        raise NotSupported("truncation_strategy %s of chats with pictures" % request.strategy)
    return replies.limit(one(request.max_length), whole)


@adapter.answers("template.rollout_prompt", of=TRAINER + "DataCollatorForVisionLanguageModeling.torch_call")
def prompt(request, here):
    """The prompt as a processor renders it for `generate`, beside what is trained on."""
    made = example(parts.crowded(2), "Locate.", "Every object.")
    waiting = iter(made["images"])
    turns = [dict(turn, content=[{"type": "text", "text": turn["content"]}]) for turn in made["prompt"]]
    turns[-1]["content"].insert(0, {"type": "image", "image": next(waiting)})
    words = here.parts.processor.apply_chat_template
    asked = here.call(words, turns, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True)
    whole = first(collated(here, [made]))
    return replies.rollout_prompt(asked["input_ids"][0], whole["input_ids"], whole["labels"])


def talks(chats):
    """Chats of a short run as TRL takes them."""
    return [[{"role": role, "content": text} for role, text in chat] for chat in chats]


@adapter.answers("metrics.accumulate", of=TRAINER + "SFTTrainer.log")
@remembered
def accumulate(request, here):
    """`SFTTrainer.log` over what micro-steps left; what ranks have is brought together before, in `compute_loss`."""
    if len(request.ranks) > 1:
        raise NotSupported("several ranks: each value is gathered over them before it is kept")
    trainer = here.call(here.parts.trainer, [answering(1)])
    trainer.model.train()
    for one in request.ranks[0]:
        for name, value in one["metrics"].items():
            trainer._metrics["train"][name].append(value)
    row: dict[str, float] = {}
    here.call(trainer.log, row)
    return {"ranks": [{name: row[name] for one in request.ranks[0] for name in one["metrics"]}]}


@adapter.trains(of=TRAINER + "SFTTrainer.training_step")
def train(request, here):
    chats, world = talks(request.chats), here.parts
    known = [one["input_ids"] for one in encoded(chats, here)]

    def make(folder, arguments):
        return here.call(world.run, chats, arguments)

    return here.call(training.ran, make, request, here.scratch, known)


@adapter.answers("provenance.save", of="transformers.trainer:Trainer._save_checkpoint")
@remembered
def save(request, here):
    chats = [answering(1), answering(2)]
    return here.call(training.saved, lambda folder, how: here.parts.run(chats, how), request, chats, here.scratch)


@adapter.answers("geometry.sample_order", of=TRAINER + "SFTTrainer._prepare_dataset")
def sample_order(request, here):
    """The trainer's own data set of chats about the records."""
    if request.object_ordering != "sorted":
        raise NotSupported("another order of objects")
    chats = talks(parts.named(record) for record in request.records)
    trainer = here.call(here.parts.trainer, chats)
    return training.order(trainer.train_dataset, request, [row["input_ids"] for row in trainer.train_dataset])
