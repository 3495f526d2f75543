"""A trainer of the target's own class on a CPU: its own `__init__` chain, a real ms-swift template, a small real model.

Only the upstream bases' `__init__` (of `swift` and `transformers`) is left out, for it wants datasets, devices and
output folders. Configs are plain mappings, as the project's own entrypoint sets them after construction. Used by
the supervision, rollout and template bindings.
"""

import contextlib
import importlib.util
import math
import random
import sys
import types
from typing import Any

PROMPT = "Locate every object."
COORD_0, BINS = 151670, 1000
VOCABULARY = 152704
SPREAD = 0.2
_WORLDS: "dict[str, World]" = {}


class World:
    """What every trainer of one worker shares: tokenizer, model, template."""

    def __init__(self, tokenizer, model, template):
        self.tokenizer, self.model, self.template = tokenizer, model, template


def world(here):
    """The shared parts, made on first use (about ten seconds, most of them imports)."""
    if here.scratch not in _WORLDS:
        settle()
        tokenizer = load_tokenizer(here.scratch)
        model = tiny_model()
        _WORLDS[here.scratch] = World(tokenizer, model, make_template(tokenizer, model))
    return _WORLDS[here.scratch]


def settle():
    """One thread, so that no number depends on the cores; and keep freed blocks, for mapping logits anew is dear."""
    import ctypes

    import torch

    torch.set_num_threads(1)
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 1 << 30)
        mallopt(-1, 2000000000)


def load_tokenizer(scratch):
    """The library's own builder of the real Qwen BPE."""
    from pathlib import Path

    from coordexp_audit_lib.kit import tokenizer

    return tokenizer.fast(tokenizer.build(Path(scratch)))


def tiny_model(seed=0):
    """A Qwen3-VL of two text layers and one vision layer, float32, random weights from `seed`."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    text = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 32768,
        "rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True},
        "initializer_range": SPREAD,
    }
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "patch_size": 16,
        "out_hidden_size": 32,
        "deepstack_visual_indexes": [0],
        "num_position_embeddings": 64,
    }
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=151655,
        video_token_id=151656,
        vision_start_token_id=151652,
        vision_end_token_id=151653,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3VLForConditionalGeneration(config).float()


def make_template(tokenizer, model, max_length=32768):
    """ms-swift's `qwen3_vl` template over a processor that is put together from parts, not downloaded."""
    import torch
    from swift.llm import get_template
    from transformers import Qwen2VLImageProcessor

    ensure_image_fetcher()
    images = Qwen2VLImageProcessor(patch_size=16, merge_size=2, temporal_patch_size=2)
    info = types.SimpleNamespace(
        config=model.config, task_type="causal_lm", max_model_len=max_length, model_dir="", torch_dtype=torch.float32
    )
    meta = types.SimpleNamespace(is_multimodal=True, model_type="qwen3_vl")
    processor = types.SimpleNamespace(tokenizer=tokenizer, image_processor=images, model_info=info, model_meta=meta)
    template = get_template("qwen3_vl", processor, max_length=max_length)
    template.model = model
    template.set_mode("train")
    return template


def ensure_image_fetcher():
    """Stand in for `qwen_vl_utils.fetch_image` where that package, or the torchvision it wants, is missing."""
    if "qwen_vl_utils" in sys.modules or all(map(importlib.util.find_spec, ("qwen_vl_utils", "torchvision"))):
        return
    module: Any = types.ModuleType("qwen_vl_utils")
    module.fetch_image = lambda element, **_: element["image"].convert("RGB")
    module.fetch_video = None
    sys.modules["qwen_vl_utils"] = module


@contextlib.contextmanager
def quiet_bases(cls):
    """The upstream classes of `cls`'s method resolution order with an `__init__` that does nothing."""
    kept = {}
    for base in cls.__mro__:
        if base.__module__.split(".")[0] in ("swift", "transformers") and "__init__" in vars(base):
            kept[base] = base.__init__
            base.__init__ = lambda self, *args, **kwargs: None
    try:
        yield
    finally:
        for base, original in kept.items():
            base.__init__ = original


def make_trainer(cls, parts, *, step=0, seed=0, stage2=None, matching=None, order="desc_first"):
    """A trainer whose own constructors ran; `parts` is a World or None where no model is needed."""
    with quiet_bases(cls):
        trainer = cls()
    trainer.args = types.SimpleNamespace(
        seed=seed,
        per_device_train_batch_size=1,
        world_size=1,
        process_index=0,
        gradient_accumulation_steps=1,
        logging_steps=1,
        output_dir="",
    )
    trainer.state = types.SimpleNamespace(global_step=step)
    trainer.stage2_ab_cfg = stage2 if stage2 is not None else {"schedule": {"b_ratio": 0.5}}
    trainer.rollout_matching_cfg = matching or {}
    trainer.object_field_order = order
    if parts is not None:
        trainer.model, trainer.template = parts.model, parts.template
        trainer.accelerator = types.SimpleNamespace(device=parts.model.device)
    return trainer


def sample(gt, image=0, width=1000, height=1000):
    """A dataset sample as the trainers receive it: messages, and the ground truth as `assistant_payload`.

    gt: list of {"desc", "bbox": 4 bins}. image: side of a generated RGB image in pixels, a multiple of 32; 0 for none.
    """
    content = ("<image>" if image else "") + PROMPT
    objects = [{"desc": o["desc"], "bbox_2d": ["<|coord_%d|>" % k for k in o["bbox"]]} for o in gt]
    made = {
        "messages": [{"role": "user", "content": content}],
        "assistant_payload": {"objects": objects},
        "width": width,
        "height": height,
    }
    if image:
        made["images"] = [picture(image)]
    return made


def picture(side):
    """A square image whose pixels depend on its side only."""
    from PIL import Image

    noise = random.Random(side)
    return Image.frombytes("RGB", (side, side), bytes(noise.randrange(256) for _ in range(3 * side * side)))


def prompt_ids(template, one):
    """The ids before the assistant's first token, as a rollout server would report them."""
    with_answer = dict(one)
    with_answer["messages"] = [*one["messages"], {"role": "assistant", "content": [0]}]
    encoded = template.encode(with_answer, return_length=True)
    labels = encoded["labels"]
    first = next(i for i, label in enumerate(labels) if label != -100)
    return [int(t) for t in encoded["input_ids"][:first]]


def short(number):
    """Four significant digits: enough to compare, and no more than two runs share; None where it is not finite."""
    value = float(number)
    return float("%.4g" % value) if math.isfinite(value) else None
