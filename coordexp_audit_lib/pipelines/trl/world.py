"""TRL's own `SFTTrainer` over a small real Qwen3-VL: text that it tokenizes, packs and collates by itself.

Standard library only at import; runs in TRL's interpreter.
"""

import importlib
import os
import tempfile

from coordexp_audit_lib.kit import influence, parts, replies, training
from coordexp_audit_lib.kit.profile import IGNORE_INDEX

ROUNDING = 1e-4  # of float32 losses of about ten
STILL = {"learning_rate": 0.0, "weight_decay": 0.0, "max_steps": 1, "logging_steps": 1, "gradient_checkpointing": False}
QUIET = {"report_to": [], "disable_tqdm": True, "save_strategy": "no", "use_cpu": True, "bf16": False}
LIMIT = 1024  # `SFTConfig.max_length`, where nothing is said


def settings_of(path):
    """The options of a YAML file as `trl sft --config` takes it, by name; {} without a file."""
    if path is None:
        return {}
    import yaml

    with open(path, encoding="utf-8") as file:
        read = yaml.safe_load(file)
    if not isinstance(read, dict):
        raise ValueError("%s holds no options of trl sft by name" % os.path.basename(path))
    return read


class World:
    """What every question of one worker shares. settings: those of the config. small: the model.

    configured: whether there is a config. Its settings count then, and TRL's defaults for what it leaves out.
    """

    def __init__(self, scratch, settings, configured):
        self.scratch, self.settings, self.configured = scratch, settings, configured
        self.words, self.small = parts.tokenizer(scratch), parts.model()
        self.processor = parts.processor(scratch, self.words)
        self.sft = importlib.import_module("trl.trainer.sft_trainer")

    def assistant_only(self):
        """`assistant_only_loss` of the config, TRL's default (False) where it says nothing; True without a config."""
        return bool(self.settings.get("assistant_only_loss", not self.configured))

    def trainer(self, chats, **more):
        """`SFTTrainer` as a script makes it, over chats of text."""
        from datasets import Dataset
        from trl import SFTConfig

        folder = tempfile.mkdtemp(dir=self.scratch)
        asked = {"assistant_only_loss": self.assistant_only(), "max_length": None}
        given = {"per_device_train_batch_size": 1, **asked, **more}
        return self.sft.SFTTrainer(
            model=self.small,
            args=SFTConfig(output_dir=folder, **STILL, **QUIET, **given),
            train_dataset=Dataset.from_list([{"messages": chat} for chat in chats]),
            processing_class=self.words,
        )

    def run(self, chats, arguments):
        """`SFTTrainer` as a script makes it, to be trained: with a model of its own; evaluated on the first chats."""
        from datasets import Dataset
        from trl import SFTConfig

        rows = [{"messages": chat} for chat in chats]
        return self.sft.SFTTrainer(
            model=training.model(),
            args=SFTConfig(**arguments, assistant_only_loss=self.assistant_only(), max_length=None),
            train_dataset=Dataset.from_list(rows),
            eval_dataset=Dataset.from_list(rows[:2]),
            processing_class=self.words,
        )

    def ran(self, trainer, batch):
        """One forward by the trainer's own loss.

        Where it computes the loss of the hidden states, no logits are made. Then the model is called with the same
        tensors once more; the loss keeps the trainer's value, and the way back leads through those logits.
        """
        given, calls = {k: v for k, v in batch.items()}, []
        hook = self.small.register_forward_pre_hook(lambda m, a, kwargs: calls.append(dict(kwargs)), with_kwargs=True)
        self.small.train()
        try:
            made = replies.ran(self.small, batch["labels"], lambda: trainer.compute_loss(self.small, given))
        finally:
            hook.remove()
        if not calls[0].get("fused_lm_head"):
            return made
        with influence.watching(self.small) as seen:
            self.small(**{k: v for k, v in calls[0].items() if k not in ("fused_lm_head", "labels")})
        through = mean(seen.logits, made.labels)
        if abs(float(made.loss) - float(through)) > ROUNDING * abs(float(through)):
            through = through + (made.loss.detach() - through.detach())
        return replies.Ran(seen, through, made.labels)


def mean(logits, labels):
    """The cross-entropy of the labels [L] that are supervised, as the mean over them."""
    import torch

    return torch.nn.functional.cross_entropy(logits[0, :-1].float(), labels[1:], ignore_index=IGNORE_INDEX)
