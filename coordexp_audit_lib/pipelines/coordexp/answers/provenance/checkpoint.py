"""Checkpoints: one step of a real Trainer that the project's own class wraps, and what stands in its folder."""

import contextlib
import functools
import os
import shutil
from typing import Any

from coordexp_audit_lib.kit import checkpoint
from coordexp_audit_lib.pipelines.api import binds
from coordexp_audit_lib.pipelines.coordexp import symbols


@binds("provenance.save", wrap=symbols.WITH_FINAL_CHECKPOINT)
def save(request, here):
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM, Trainer, TrainingArguments
    from transformers.trainer_callback import DefaultFlowCallback

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=64, num_key_value_heads=1, tie_word_embeddings=False, **sizes))
    if request["shard_bytes"]:
        kept = functools.partial(model.save_pretrained, max_shard_size=request["shard_bytes"])
        setattr(model, "save_pretrained", kept)  # noqa: B010
    out = os.path.join(here.scratch, "provenance_save")
    shutil.rmtree(out, ignore_errors=True)
    short: dict[str, Any] = {"max_steps": 1, "per_device_train_batch_size": 1, "use_cpu": True, "disable_tqdm": True}
    saving = {"save_strategy": "steps", "save_steps": 1000, "save_only_model": request["save_only_model"]}
    arguments = TrainingArguments(output_dir=out, report_to=[], **short, **saving)
    ids = torch.arange(8)
    with open(os.devnull, "w", encoding="utf-8") as sink, contextlib.redirect_stdout(sink):
        trainer = here.wrap(Trainer)(model=model, args=arguments, train_dataset=[{"input_ids": ids, "labels": ids}])
        # ms-swift, once loaded, puts callbacks of its own into every trainer, which need its own arguments and a GPU.
        for callback in list(trainer.callback_handler.callbacks):
            if type(callback).__module__.startswith("swift"):
                trainer.remove_callback(callback)
        trainer.add_callback(DefaultFlowCallback)
        here.call(trainer.train)
    return checkpoint.held(os.path.join(out, "checkpoint-1"))
