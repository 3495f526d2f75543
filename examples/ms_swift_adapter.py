"""An adapter for a pipeline that somebody else wrote: packing and template of ms-swift 3.10, by its own functions."""

from types import SimpleNamespace

from coordexp_audit_lib.kit import chat, parts, replies, template, varlen
from coordexp_audit_lib.pipelines.api import Adapter, NotSupported

adapter = Adapter(
    "ms-swift-3.10",
    distributions=("ms-swift", "transformers", "torch", "binpacking"),
    profile="qwen3_vl",
    contract={"packing.in_order": False},  # it packs by length
    preload=("torch", "transformers", "coordexp_audit_lib.kit.parts:ready"),
)
PACKING, TEMPLATE = "swift.llm.dataset.utils:PackingDataset", "swift.llm.template.base:Template"


@adapter.setup
def setup(here):
    return template.build(template.processor(parts.tokenizer(here.scratch), parts.model().config), parts.model())


class Samples(list):
    """Samples as `PackingDataset` takes them: it asks for the column of lengths by name."""

    def __getitem__(self, key):
        return [one["length"] for one in self] if key == "length" else super().__getitem__(key)


def planned(samples, most, here):
    from swift.llm.dataset.utils import PackingDataset

    with template.packing(here.parts, True):
        return here.call(PackingDataset, here.parts, Samples(samples), packing_length=most).packed_idx


def encoded(chats, here, made=None):
    made = made or here.parts
    with template.packing(made, False):
        return [here.call(made.encode, chat.conversation(c.turns, c.pictures), return_length=True) for c in chats]


@adapter.answers("packing.plan", of=PACKING + ".create_packed_idx")
def plan(request, here):
    if request.world_size > 1 or request.drop_last or request.dataloader_drop_last:
        raise NotSupported("ranks and dropping: the trainer's samplers see to them")
    if max(request.lengths) > request.packing_length:
        raise NotSupported("samples longer than a pack: they are deleted before packing")
    return replies.plan(planned([{"length": n} for n in request.lengths], request.packing_length, here))


@adapter.answers("packing.encode", of=TEMPLATE + ".encode")
def encode(request, here):
    return replies.encoded(encoded(request.samples, here), here.parts.processor.image_processor)


def collated(pack, here, **options):
    with template.packing(here.parts, True):
        return here.call(here.parts.data_collator, [dict(sample) for sample in pack], **options)


@adapter.answers("packing.batch", of=TEMPLATE + ".packing_row")
def batch(request, here):
    samples = encoded(request.samples, here)
    packs, options = planned(samples, request.packing_length, here), {"padding_to": request.padding_to or None}
    found = [(pack, collated([samples[i] for i in pack], here, **options)) for pack in packs]
    return replies.batches(found, here.parts.processor.image_processor)


def trainer_of(here):
    """ms-swift's own trainer, which nothing but its loss is asked of."""
    from swift.trainers.arguments import Seq2SeqTrainingArguments
    from swift.trainers.trainers import Seq2SeqTrainer

    model = parts.model()
    model.model_meta = SimpleNamespace(is_multimodal=True, model_type="qwen3_vl", model_arch=None)
    model.model_info = SimpleNamespace(is_moe_model=False, task_type="causal_lm", model_dir=here.scratch)
    model.config.use_cache = model.config.text_config.use_cache = False  # as loading it to train does
    still = {"max_steps": 1, "report_to": [], "use_cpu": True, "gradient_checkpointing": False, "check_model": False}
    args = Seq2SeqTrainingArguments(output_dir=here.scratch, use_logits_to_keep=False, **still)
    return Seq2SeqTrainer(model=model, args=args, data_collator=list, train_dataset=[], template=here.parts)


@adapter.answers("packing.forward", of="swift.trainers.trainers:Seq2SeqTrainer.compute_loss")
def forward(request, here):
    model, trainer, samples = parts.model(), trainer_of(here), encoded(request.samples, here)

    def ran(pack):
        row = collated(pack, here)
        return replies.ran(model, row["labels"], lambda: here.call(trainer.compute_loss, model, dict(row)))

    with varlen.attending(model, request.attention):
        alone = [ran([sample]) for sample in samples]
        packs = [(pack, ran([samples[i] for i in pack])) for pack in planned(samples, request.packing_length, here)]
    return replies.forward([replies.pack(pack, run, alone, request.by_token) for pack, run in packs])


@adapter.answers("template.encode", of=TEMPLATE + ".encode")
def records(request, here):
    samples = encoded([parts.chat_of(r, request.system, request.user) for r in request.records], here)
    with template.packing(here.parts, False):
        padded = here.call(here.parts.data_collator, [dict(s) for s in samples])
    return replies.records(samples, padded, here.parts.tokenizer.pad_token_id)


@adapter.answers("template.limit", of=TEMPLATE + "._encode_truncated")
def limit(request, here):
    def one(most):
        given = {"max_length": most, "truncation_strategy": request.strategy}
        made = template.build(here.parts.processor, here.parts.model, **given)
        return encoded([parts.chat_of(parts.crowded(request.objects), "", "All.")], here, made)[0]

    return replies.limit(one(request.max_length), one(1_000_000))


@adapter.answers("template.settings")
def settings(request, here):
    """The model's own limit, and what `swift sft` makes of a longer sample (`delete`, by raising) where none is set."""
    return {"max_length": here.parts.max_length, "strategy": here.parts.truncation_strategy}
