"""The project's own check of a batch before the forward, in the mixin that its trainers run it in.

Stand-ins: the trainer below the mixin, which notes that it was called; and the model, an object with its vocabulary.
"""

import types

from coordexp_audit_lib.kit.profile import QWEN3_VL
from coordexp_audit_lib.pipelines.api import binds
from coordexp_audit_lib.pipelines.coordexp import symbols


class Went(Exception):
    """The batch came to the forward."""


class Below:
    """Stands for upstream's trainer."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        raise Went


@binds("packing.own_check", check=symbols.BATCH_CONTRACT, mixin=symbols.CHECKED_BATCHES)
def own_check(request, here):
    size = request["vocabulary"]
    rows = types.SimpleNamespace(weight=types.SimpleNamespace(shape=(size, 1)))
    config = types.SimpleNamespace(vocab_size=size, text_config=None)
    model = types.SimpleNamespace(config=config, get_input_embeddings=lambda: rows)
    trainer = type("Trainer", (here.mixin, Below), {})()
    images = types.SimpleNamespace(merge_size=QWEN3_VL.merge_size)
    processor = types.SimpleNamespace(image_processor=images)
    trainer.template = types.SimpleNamespace(image_token_id=QWEN3_VL.image_pad, processor=processor)
    for _ in range(request["turn"] - 1):
        given(here, trainer, model, request["sound"])
    given(here, trainer, model, request["batch"])
    return {"accepted": True}


def given(here, trainer, model, batch):
    """One step with a batch; a refusal is the target's."""

    def step():
        try:
            trainer.compute_loss(model, tensors(batch))
        except Went:
            return

    here.call(step)


def tensors(batch):
    import torch

    made = {k: torch.tensor(v, dtype=getattr(torch, batch["dtypes"][k])) for k, v in batch["ints"].items()}
    if batch["pixel_rows"]:
        made["pixel_values"] = torch.zeros(batch["shapes"]["pixel_values"])
    made["pack_num_samples"] = torch.tensor([len(batch["members"])])
    return made
