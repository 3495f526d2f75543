"""LLaMA-Factory's own data processor, collator and trainer over a small real Qwen3-VL, made as `run_sft` makes them.

Standard library only at import; runs in LLaMA-Factory's interpreter.
"""

import functools
import importlib
import importlib.machinery
import importlib.util
import os
import tempfile
import types

from coordexp_audit_lib.kit import parts, stand_ins, training
from coordexp_audit_lib.kit.profile import IGNORE_INDEX

TEMPLATE = "qwen3_vl_nothink"
KEPT = (  # of a config; the rest is of a machine, of data that are not here, or of a model that is not
    *("template", "default_system", "tool_format", "enable_thinking", "preserve_thinking", "cutoff_len"),
    *("train_on_prompt", "mask_history", "packing", "neat_packing", "ignore_pad_token_for_loss", "disable_shuffling"),
)
ATTENTION = {"varlen": "flash_attention_2", "sdpa": "sdpa"}
MULTIPLE = 8  # tokens, of which `run_sft` pads each batch to a multiple


def settings_of(path):
    """The options of a YAML or JSON file as `llamafactory-cli train` takes it, by name; {} without a file."""
    if path is None:
        return {}
    import yaml

    with open(path, encoding="utf-8") as file:
        read = yaml.safe_load(file)  # JSON is YAML
    if not isinstance(read, dict):
        raise ValueError("%s holds no options of llamafactory-cli train by name" % os.path.basename(path))
    if read.get("stage", "sft") != "sft":
        raise ValueError("stage %s can't be asked with: sft can" % read["stage"])
    return read


def imported(name):
    """A module of LLaMA-Factory's. Where torchaudio, which it imports for samples with sound, is not installed, an
    empty module stands for it meanwhile."""
    stands = {}
    if importlib.util.find_spec("torchaudio") is None:
        empty = types.ModuleType("torchaudio")
        empty.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
        stands = {"torchaudio": empty}
    with stand_ins.visible(stands):
        return importlib.import_module("llamafactory." + name)


def ready():
    """Import what takes longest, once for all workers that are forked."""
    for name in ("hparams", "data", "model.patcher", "train.sft.trainer"):
        imported(name)


def columns(rows):
    """Examples as `datasets.map` hands them to a processor."""
    return {key: [row[key] for row in rows] for key in rows[0]}


def rows_of(told):
    """What a processor returns, row by row."""
    return [{key: values[i] for key, values in told.items()} for i in range(len(told["input_ids"]))]


class World:
    """What every question of one worker shares. settings: those of the config; without one it is asked with
    `neat_packing`, which keeps packed samples apart. small: the model."""

    def __init__(self, scratch, settings, configured):
        self.scratch, self.settings, self.configured = scratch, settings, configured
        self.words, self.small = parts.tokenizer(scratch), parts.model()
        self.processor = parts.processor(scratch, self.words)
        self.said = {k: settings[k] for k in KEPT if settings.get(k) is not None}
        model_args, data_args, *_ = self.parsed()
        self.packs, self.neat = bool(data_args.packing), bool(data_args.neat_packing)
        imported("model.patcher").patch_processor(self.processor, self.words, model_args)
        self.template = imported("data.template").get_template_and_fix_tokenizer(self.words, data_args)

    def parsed(self, **more):
        """Its own parser's five groups of arguments."""
        usual = {"template": TEMPLATE, **({} if self.configured else {"neat_packing": True})}
        folder = tempfile.mkdtemp(dir=self.scratch)
        here = {"model_name_or_path": "none", "dataset": "none", "stage": "sft", "do_train": True, "use_cpu": True}
        quiet = {"output_dir": folder, "finetuning_type": "full", "report_to": "none", "overwrite_output_dir": True}
        given = {**usual, **self.said, **here, **quiet, **more}
        if given.get("packing") is False:
            given.pop("neat_packing", None)  # which sets `packing`
        return imported("hparams").get_train_args(given)

    def encoder(self, packs, room=None):
        """The processor of examples, of packs or of each by itself. room: tokens that a pack or sample may have."""
        more = {} if room is None else {"cutoff_len": room + 1 if packs else room}  # a pack has one token of padding
        if packs:
            more.update(packing=True, neat_packing=self.neat)
        else:
            more.update(packing=False)
        data_args = self.parsed(**more)[1]
        make = imported("data.loader")._get_dataset_processor
        return make(data_args, "sft", self.template, self.words, self.processor)

    def collator(self, packs, attention="sdpa"):
        """As `run_sft` makes it for a model with this attention."""
        import torch

        kind = imported("data").SFTDataCollatorWith4DAttentionMask
        return kind(
            template=self.template,
            model=self.small,
            pad_to_multiple_of=MULTIPLE,
            label_pad_token_id=IGNORE_INDEX,
            block_diag_attn=packs and self.neat,
            neat_packing=packs and self.neat,
            attn_implementation=attention,
            compute_dtype=torch.float32,
            tokenizer=self.words,
            processor=self.processor,
        )

    @functools.cached_property
    def kind(self):
        return imported("train.sft.trainer").CustomSeq2SeqTrainer

    def trainer(self, rows, collator, model=None, evaluated=None, **arguments):
        """`CustomSeq2SeqTrainer` as `run_sft` makes it, over encoded rows."""
        still = {"learning_rate": 0.0, "weight_decay": 0.0, "max_steps": 1, "logging_steps": 1, "save_strategy": "no"}
        given = {**still, "per_device_train_batch_size": 1, "disable_tqdm": True, "bf16": False, **arguments}
        given.update(report_to="none", **({} if evaluated is None else {"eval_dataset": "none"}))
        _, _, training_args, finetuning_args, _ = self.parsed(**given)
        return self.kind(
            model=self.small if model is None else model,
            args=training_args,
            finetuning_args=finetuning_args,
            data_collator=collator,
            train_dataset=training.Fresh(rows),
            eval_dataset=None if evaluated is None else training.Fresh(evaluated),
            tokenizer=self.words,
            processor=self.processor,
        )
