"""What the book says is violated in LLaMA-Factory, shown without the audit; run by the Python that it is installed in.

    PYTHONPATH=. python tools/confirm_llamafactory.py

Parser, template, processors, collator and trainer are LLaMA-Factory's own, made as its `run_sft` makes them; the
tokenizer is Qwen's, the model a small random Qwen3-VL. Where torchaudio is not installed an empty module stands for it.
"""

import copy
import importlib.machinery
import importlib.util
import logging
import sys
import tempfile
import types
import warnings

from coordexp_audit_lib.kit import parts, picture, varlen


def arguments(folder, **more):
    from llamafactory.hparams import get_train_args

    given = {"model_name_or_path": "none", "dataset": "none", "stage": "sft", "do_train": True, "use_cpu": True}
    quiet = {"report_to": "none", "output_dir": folder, "finetuning_type": "full", "template": "qwen3_vl_nothink"}
    return get_train_args({**given, **quiet, **more})


def example(text, images=()):
    asked = {"role": "user", "content": "<image>" * len(images) + "Which?"}
    told = {"_prompt": [asked], "_response": [{"role": "assistant", "content": text}], "_system": "", "_tools": ""}
    return {**told, "_images": list(images), "_videos": [], "_audios": []}


class World:
    def __init__(self, folder):
        from llamafactory.data.template import get_template_and_fix_tokenizer
        from llamafactory.model.patcher import patch_processor

        self.folder, self.words, self.small = folder, parts.tokenizer(folder), parts.model()
        self.processor = parts.processor(folder, self.words)
        model_args, data_args, *_ = arguments(folder)
        patch_processor(self.processor, self.words, model_args)
        self.template = get_template_and_fix_tokenizer(self.words, data_args)

    def rows(self, examples, **more):
        from llamafactory.data.loader import _get_dataset_processor

        data_args = arguments(self.folder, **more)[1]
        made = _get_dataset_processor(data_args, "sft", self.template, self.words, self.processor)
        told = made.preprocess_dataset({k: [one[k] for one in examples] for k in examples[0]})
        return [{k: v[i] for k, v in told.items()} for i in range(len(told["input_ids"]))]

    def collator(self, neat, attention):
        import torch
        from llamafactory.data import SFTDataCollatorWith4DAttentionMask

        mine = {"template": self.template, "model": self.small, "tokenizer": self.words, "processor": self.processor}
        how = {"block_diag_attn": neat, "neat_packing": neat, "attn_implementation": attention}
        plain = {"pad_to_multiple_of": 8, "label_pad_token_id": -100, "compute_dtype": torch.float32}
        return SFTDataCollatorWith4DAttentionMask(**mine, **how, **plain)

    def trainer(self, rows, collator, **more):
        from llamafactory.train.sft.trainer import CustomSeq2SeqTrainer

        still = {"learning_rate": 0.0, "max_steps": 1, "logging_steps": 1, "save_strategy": "no", "disable_tqdm": True}
        _, _, training_args, finetuning_args, _ = arguments(
            self.folder, per_device_train_batch_size=1, **{**still, **more}
        )
        return CustomSeq2SeqTrainer(
            model=self.small,
            args=training_args,
            finetuning_args=finetuning_args,
            data_collator=collator,
            train_dataset=[copy.copy(row) for row in rows],
            tokenizer=self.words,
            processor=self.processor,
        )


def text_only(world):
    print("1. two samples in one neat pack: tokens, shape of the mask, what the model says under sdpa")
    pictured = [example("A cup.", [picture.image(1, 64, 64)]), example("Two.")]
    for name, examples in (("with a picture", pictured), ("of text alone", [example("A cup."), example("Two.")])):
        (row,) = world.rows(examples, neat_packing=True, cutoff_len=80)
        batch = world.collator(True, "sdpa")([row])
        shape = tuple(batch["attention_mask"].shape)
        try:
            said = f"loss {float(world.small(**batch).loss):.2f}"
        except RuntimeError as error:
            said = f"{type(error).__name__}: {error}"
        print("  ", f"{name}: {batch['input_ids'].shape[1]} tokens, {shape}, {said}")


def accumulation(world):
    import torch

    rows = world.rows([example("Yes it is."), example("cup " * 60)])
    collator = world.collator(False, "sdpa")
    trainer = world.trainer(rows, collator, gradient_accumulation_steps=2)
    totals = []
    for row in rows:
        batch = collator([dict(row)])
        logits = world.small(**{k: v for k, v in batch.items() if k != "labels"}).logits[0, :-1].float()
        labels = batch["labels"][0, 1:]
        total = torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
        totals.append((float(total.detach()), int((labels != -100).sum())))
    trainer.train()
    logged = float(next(one["loss"] for one in trainer.state.log_history if "loss" in one))
    by_token, alike = sum(t for t, _ in totals) / sum(n for _, n in totals), sum(t / n for t, n in totals) / 2
    print("2. one step of two micro-steps with", [n for _, n in totals], "supervised tokens")
    print("  ", f"logged {logged:.4f}; tokens weigh alike {by_token:.4f}; micro-steps weigh alike {alike:.4f}")
    print("  ", "model_accepts_loss_kwargs of its trainer:", trainer.model_accepts_loss_kwargs)


def cut(world):
    long = [example("cup " * 3000)]
    whole = world.rows(long, cutoff_len=100_000)[0]["input_ids"]
    short = world.rows(long)[0]["input_ids"]
    print("3. an answer of 3000 words under the default cutoff_len")
    print("  ", f"{len(whole)} tokens become {len(short)}; the last one is {world.words.decode([short[-1]])!r}")


def kept_apart(world):
    """Logits of each sample in a neat pack against those of it alone, under sdpa and the varlen kernel's stand-in."""
    examples = [example("A cup.", [picture.image(1, 96, 64)]), example("Two of them."), example("No.")]
    (row,) = world.rows(examples, neat_packing=True, cutoff_len=96)
    print("4. a neat pack of three samples: largest difference of a logit from the sample alone")
    for name, attention in (("sdpa", "sdpa"), ("varlen", "flash_attention_2")):
        with varlen.attending(world.small, name):
            packed = world.small(**world.collator(True, attention)([dict(row)])).logits[0]
            apart = 0.0
            for one in world.rows(examples):
                n, ids = len(one["input_ids"]), row["input_ids"]
                at = next(i for i in range(len(ids)) if ids[i : i + n] == one["input_ids"])
                alone = world.small(**world.collator(False, attention)([dict(one)])).logits[0, :n]
                apart = max(apart, float((packed[at : at + n] - alone).abs().max()))
        print("  ", f"{name}: {apart:.2g}")


def main():
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import transformers  # noqa: F401 - it asks for torchaudio by itself

    if importlib.util.find_spec("torchaudio") is None:
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")
        sys.modules["torchaudio"].__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder)
        text_only(world)
        accumulation(world)
        cut(world)
        kept_apart(world)


if __name__ == "__main__":
    main()
