"""An adapter: how `coordexp-audit` asks the functions of `packer.py`, which stands beside it."""

import packer

from coordexp_audit_lib.kit import parts, replies, training, varlen
from coordexp_audit_lib.pipelines.api import Adapter, NotSupported

adapter = Adapter(
    "plain-packer",
    title="A plain packer",
    distributions=("torch", "transformers"),
    profile="qwen3_vl",
    preload=("torch", "transformers", "coordexp_audit_lib.kit.parts:ready"),
)


@adapter.setup
def setup(here):
    """Once in a worker: what every question needs."""
    return parts.processor(here.scratch)


def encoded(samples, here):
    return [here.call(packer.encode, here.parts, parts.messages(s.turns, s.pictures)) for s in samples]


def packed(samples, room, here):
    """For each pack the numbers of its samples and the batch."""
    packs = here.call(packer.plan, [len(s["input_ids"]) for s in samples], room)
    return [(pack, here.call(packer.collate, [samples[i] for i in pack])) for pack in packs]


@adapter.answers("packing.plan", of="packer:plan")
def plan(request, here):
    if request.world_size > 1 or request.drop_last or request.dataloader_drop_last:
        raise NotSupported("several ranks, and dropping of packs")
    return replies.plan(here.call(packer.plan, request.lengths, request.packing_length))


@adapter.answers("packing.encode", of="packer:encode")
def encode(request, here):
    return replies.encoded(encoded(request.samples, here), here.parts.image_processor)


@adapter.answers("packing.batch", of="packer:collate")
def batch(request, here):
    if request.padding_to:
        raise NotSupported("padding of a packed row")
    found = packed(encoded(request.samples, here), request.packing_length, here)
    return replies.batches(found, here.parts.image_processor)


@adapter.answers("packing.forward", of="packer:loss")
def forward(request, here):
    """Each pack and each sample by itself through a small real Qwen3-VL, by the pipeline's own loss."""
    model, samples = parts.model(), encoded(request.samples, here)

    def ran(batch):
        return replies.ran(model, batch["labels"], lambda: here.call(packer.loss, model, batch))

    with varlen.attending(model, request.attention):
        alone = [ran(here.call(packer.collate, [sample])) for sample in samples]
        found = packed(samples, request.packing_length, here)
        packs = [replies.pack(pack, ran(batch), alone, request.by_token) for pack, batch in found]
    return replies.forward(packs)


@adapter.answers("template.encode", of="packer:encode")
def records(request, here):
    chats = [parts.chat_of(r, request.system, request.user, request.field_order) for r in request.records]
    return replies.records(encoded(chats, here))  # it never pads


@adapter.answers("template.rollout_prompt", of="packer:encode")
def prompt(request, here):
    """What `generate` gets, and what is trained on."""
    chat = parts.chat_of(parts.crowded(2), "Locate.", "Every object.", request.field_order)
    messages, words = parts.messages(chat.turns, chat.pictures), here.parts.apply_chat_template
    asked = here.call(words, messages[:-1], tokenize=True, return_dict=True, add_generation_prompt=True)
    whole = here.call(packer.encode, here.parts, messages)
    return replies.rollout_prompt(asked["input_ids"][0], whole["input_ids"], whole["labels"])


@adapter.trains(of="packer:trainer")
def train(request, here):
    """A short run of the trainer over chats of text; what it shows of parameters, samples, log and files is judged."""
    rows = [here.call(packer.encode, here.parts, parts.messages(chat)) for chat in request.chats]

    def make(folder, arguments):
        return here.call(packer.trainer, training.model(), rows, **arguments)

    return training.ran(make, request, here.scratch, [row["input_ids"].tolist() for row in rows])
