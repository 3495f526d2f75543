"""Where ms-swift keeps what is asked, in 3.x and in 4.x, and what is asked with: its own template over a real tokenizer
and image processor, its own trainer over a small real Qwen3-VL.

Standard library only at import; runs in ms-swift's interpreter.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import json
import os
import sys
import types
from typing import Any

from coordexp_audit_lib.kit import model, parts, template, tokenizer, training
from coordexp_audit_lib.kit.stand_ins import replaced

PLACES = {  # the newest first
    "arguments": ("swift.arguments.sft_args:SftArguments", "swift.llm.argument.train_args:TrainArguments"),
    "lazy": ("swift.dataset.utils:LazyLLMDataset", "swift.llm.dataset.utils:LazyLLMDataset"),
    "packing": ("swift.dataset.packing:PackingDataset", "swift.llm.dataset.utils:PackingDataset"),
    "shard": ("swift.dataloader.shard:BatchSamplerShard", "swift.llm.data_loader:BatchSamplerShard"),
    "streaming": ("swift.dataset.packing:IterablePackingDataset", "swift.llm.dataset.utils:IterablePackingDataset"),
    "template": ("swift.template.base:Template", "swift.llm.template.base:Template"),
    "trainer": ("swift.trainers.seq2seq_trainer:Seq2SeqTrainer", "swift.trainers.trainers:Seq2SeqTrainer"),
    "training": ("swift.trainers.arguments:Seq2SeqTrainingArguments",),
}
FAMILIES = ("qwen3_vl", "qwen2_5_vl")
QUIET = {"report_to": [], "disable_tqdm": True, "save_strategy": "no", "check_model": False}


def place(name, member=""):
    """`module:qualname` of a part, as the installed release has it; nothing is imported."""
    for symbol in PLACES[name]:
        path = os.path.join(*symbol.partition(":")[0].split("."))
        if any(os.path.isfile(os.path.join(entry, path + ".py")) for entry in sys.path):
            return symbol + ("." + member if member else "")
    return PLACES[name][0] + ("." + member if member else "")


def part(name):
    """The part itself, imported."""
    module, _, qualname = place(name).partition(":")
    found = importlib.import_module(module)
    return getattr(found, qualname) if qualname else found


def settings_of(path):
    """The options of a `train.yaml` (as `swift sft` takes it) or of a run's `args.json`, by name; {} without a file."""
    if path is None:
        return {}
    with open(path, encoding="utf-8") as file:
        if path.endswith(".json"):
            read = json.load(file)
        else:
            import yaml

            read = yaml.safe_load(file)
    if not isinstance(read, dict):
        raise ValueError("%s holds no options of swift sft by name" % os.path.basename(path))
    return read


def family_of(settings):
    """The model family of a config, by its `model_type` or the name of its model; Qwen3-VL where it says neither.

    Raises:
        ValueError: it says another that can't be asked with.
    """
    said = str(settings.get("model_type") or settings.get("model") or FAMILIES[0])
    plain = said.lower().replace("-", "_").replace(".", "_")
    found = [family for family in FAMILIES if family in plain]
    if not found:
        raise ValueError("a model of type %s can't be asked with: one of %s can" % (said, ", ".join(FAMILIES)))
    return found[0]


class World:
    """What every question of one worker shares. settings: those of the config. small: the model. made: the template."""

    def __init__(self, scratch, settings):
        model.settle()
        self.scratch, self.settings = scratch, settings
        self.old = importlib.util.find_spec("swift.llm") is not None  # 3.x
        self.family = family_of(settings)
        usual = self.family == FAMILIES[0]
        self.words = tokenizer.fast(tokenizer.at(scratch))
        self.small = model.small() if usual else model.small(0, self.family)
        if not hasattr(self.small, "visual"):  # as loading such a model under transformers 5 does
            type(self.small).visual = property(lambda self: self.model.visual)
        images = None if usual else parts.image_processor(self.family)
        self.processor = template.processor(self.words, self.small.config, images)
        chosen = {k: settings[k] for k in ("padding_side", "loss_scale") if settings.get(k) is not None}
        self.made = template.build(
            self.processor, self.small, self.family, default_system=settings.get("system"), **chosen
        )
        self.images = self.made.processor.image_processor
        self.processor.save_pretrained = self.words.save_pretrained  # of what is saved beside the weights
        meta = {"is_multimodal": True, "model_type": self.family, "model_arch": None, "additional_saved_files": []}
        self.small.model_meta, self.small.model_dir = types.SimpleNamespace(**meta), scratch
        self.small.model_info = types.SimpleNamespace(is_moe_model=False, task_type="causal_lm", model_dir=scratch)

    def trainer(self, rows=(), **more):
        """ms-swift's own trainer, constructed by itself, over these packs; nothing is saved, reported or learned."""
        once = {"output_dir": os.path.join(self.scratch, "run"), "use_cpu": True, "per_device_train_batch_size": 1}
        plain = {"gradient_checkpointing": False, "dataloader_num_workers": 0, "remove_unused_columns": False}
        still = {
            "learning_rate": 0.0,
            "weight_decay": 0.0,
            "max_steps": 1,
            "logging_steps": 1,
            "tuner_backend": "peft",
            "tuner_type": "full",
        }
        given = {**once, **plain, **still, **QUIET, "padding_free": True, "train_dataloader_shuffle": False, **more}
        known = {field.name for field in dataclasses.fields(part("training"))}
        args = part("training")(**{k: v for k, v in given.items() if k in known})
        collated = {"data_collator": self.made.data_collator} if importlib.util.find_spec("swift.llm") else {}
        with template.packing(self.made, True):
            made = part("trainer")(
                model=self.small, args=args, train_dataset=Rows(rows), template=self.made, **collated
            )
        self.small.config.use_cache = self.small.config.text_config.use_cache = (
            False  # as loading a model to train does
        )
        return made

    def run(self, samples, arguments):
        """ms-swift's own trainer to be trained on samples, one a micro-step: with a model of its own, unpacked."""
        small = training.model(self.small)
        for name in ("model_meta", "model_info", "model_dir"):
            setattr(small, name, getattr(self.small, name))
        plain = {"remove_unused_columns": False, "tuner_backend": "peft", "tuner_type": "full", "check_model": False}
        known = {field.name for field in dataclasses.fields(part("training"))}
        args = part("training")(**{k: v for k, v in {**plain, **arguments}.items() if k in known})
        collated = {"data_collator": self.made.data_collator} if importlib.util.find_spec("swift.llm") else {}
        rows = {"train_dataset": training.Fresh(samples), "eval_dataset": training.Fresh(samples[:2])}
        made = part("trainer")(model=small, args=args, template=self.made, **rows, **collated)
        small.config.use_cache = small.config.text_config.use_cache = False  # as loading a model to train does
        return made


class Rows(list[Any]):
    """Packs as a dataset: each item a pack, of which the collator may take out what it wants."""

    def __getitem__(self, index):
        return [dict(sample) for sample in super().__getitem__(index)]


class Lengths:
    """A dataset that tells its samples' lengths, under the name that this release asks for."""

    def __init__(self, items, lengths):
        self.items, self.lengths = items, lengths

    def __getitem__(self, key):
        return list(self.lengths) if isinstance(key, str) else self.items[key]

    def __len__(self):
        return len(self.items)


class Directly:
    """Stands for the queues to the encoding processes: what is put is encoded at once, in order."""

    def __init__(self, encode):
        self.encode, self.done = encode, []

    def put(self, numbered):
        number, sample = numbered
        self.done.append((number, self.encode(sample)))

    def get(self, timeout=None):
        return self.done.pop(0)


@contextlib.contextmanager
def rank_of(rank, world):
    """torch.distributed as one of `world` ranks sees it."""
    import torch.distributed as dist

    seen = {"is_initialized": lambda: True, "get_rank": lambda: rank, "get_world_size": lambda: world}
    with replaced(dist, **seen):
        yield


@contextlib.contextmanager
def on_cpu():
    """A run on a CPU, which does not tell the progress callback how much memory is taken."""
    import torch

    with replaced(torch.cpu, max_memory_reserved=lambda device=None: 0):
        yield
