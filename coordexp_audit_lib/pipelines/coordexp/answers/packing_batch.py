"""Packed batches: who answers in a CoordExp tree. Standard library only at import; the rest is the target's own.

The template is ms-swift's `qwen3_vl` with the real BPE and an image processor made from its config; the model behind
it has no weights, for the template asks it for positions only. `torchvision` is not needed: ms-swift takes
`fetch_image` of `qwen_vl_utils`, and for images whose sides are multiples of 32 that returns what it is given.
"""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import sys
import tempfile
import types
from typing import Any

from coordexp_audit_lib.pipelines.api import binds
from coordexp_audit_lib.pipelines.coordexp.answers.packing import EXECUTORS, MIXIN, SELECT, WRAPPERS, Lengths, drained

COLLATORS = (
    "src.data_collators.batch_extras_collator:build_batch_extras_collator",
    "src.data_collators.dataset_metrics:build_dataset_metrics_collator",
)
_KEPT: dict[str, Any] = {}


def part(name):
    """One of the audit's real parts."""
    return importlib.import_module("coordexp_audit_lib.kit." + name)


def template_of(here):
    """ms-swift's `qwen3_vl` template in training mode, made once."""
    if "template" in _KEPT:
        return _KEPT["template"]
    if "qwen_vl_utils" not in sys.modules and not all(map(importlib.util.find_spec, ("qwen_vl_utils", "torchvision"))):
        stand_in: Any = types.ModuleType("qwen_vl_utils")
        stand_in.fetch_image = lambda ele, **kw: ele["image"].convert("RGB")
        stand_in.fetch_video = None  # imported by name beside it; no sample here has a video
        sys.modules["qwen_vl_utils"] = stand_in
    import torch
    from swift.llm.template.register import get_template
    from transformers import Qwen2VLImageProcessor, Qwen3VLConfig, Qwen3VLForConditionalGeneration

    config = Qwen3VLConfig(
        text_config=dict(
            vocab_size=152_672,
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=16,
            rope_scaling={"rope_type": "default", "mrope_section": [4, 2, 2]},
        ),
        vision_config=dict(
            depth=1, hidden_size=32, intermediate_size=32, num_heads=2, out_hidden_size=32, deepstack_visual_indexes=[0]
        ),
    )
    processor = types.SimpleNamespace(
        tokenizer=part("tokenizer").fast(part("tokenizer").build(cache_of(here))),
        image_processor=Qwen2VLImageProcessor(
            patch_size=16, merge_size=2, temporal_patch_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3
        ),
        model_info=types.SimpleNamespace(
            config=config, task_type="causal_lm", max_model_len=32_768, model_dir="", torch_dtype=torch.float32
        ),
        model_meta=types.SimpleNamespace(is_multimodal=True),
    )
    template = get_template("qwen3_vl", processor, max_length=32_768, truncation_strategy="raise")
    template.set_mode("train")
    with torch.device("meta"):
        template.model = Qwen3VLForConditionalGeneration(config)
    _KEPT["template"] = template
    return template


def cache_of(here):
    """The user's cache if it already holds the merges; else the scratch folder: nothing else is written to."""
    tokenizer = part("tokenizer")
    if tokenizer.kept_file(tokenizer.ranks_path(), tokenizer.cache_folder()).is_file():
        return tokenizer.cache_folder()
    return pathlib.Path(here.scratch)


def chat(sample):
    """A request's sample as ms-swift wants it."""
    from PIL import Image

    draw = part("picture").pixels
    return {
        "messages": [{"role": role, "content": text} for role, text in sample["turns"]],
        "images": [Image.fromarray(draw(p["number"], p["width"], p["height"])) for p in sample["pictures"]],
    }


def encoded_samples(here, samples):
    template = template_of(here)
    template.packing = template.padding_free = False
    return [here.call(template.encode, chat(s), return_length=True) for s in samples]


def digests(pixel_values):
    """A digest of each pixel row, with the image processor's normalisation undone."""
    rows = ((pixel_values.double() * 0.5 + 0.5) * 255).round().clamp(0, 255).to("cpu")
    return part("picture").row_digests(rows.int())


@binds("packing.encode", wrapper=(WRAPPERS + "build_packed_dataset",))
def encode(request, here):
    found = []
    for e in encoded_samples(here, request["samples"]):
        grid, pixels = e.get("image_grid_thw"), e.get("pixel_values")
        found.append(
            {
                "input_ids": list(e["input_ids"]),
                "labels": list(e["labels"]),
                "length": int(e["length"]),
                "grid": [] if grid is None else grid.tolist(),
                "pixel_rows": [] if pixels is None else digests(pixels),
            }
        )
    return {"encoded": found}


@binds(
    "packing.batch",
    build=(WRAPPERS + "build_static_packed_dataset", WRAPPERS + "build_packed_dataset"),
    collator=COLLATORS,
    mixin=(*(e + MIXIN for e in EXECUTORS), "?"),
    select=(*SELECT, "?"),
)
def batch(request, here):
    template = template_of(here)
    samples = encoded_samples(here, request["samples"])
    for i, sample in enumerate(samples):
        sample["sample_id"] = i
    template.packing = template.padding_free = True
    length = request["packing_length"]
    extra = {"padding_to": request["padding_to"]} if request["padding_to"] else {}

    def collate(batch):  # as the trainer does with its rollout segments
        return template.data_collator(batch, **extra)

    if request["path"] == "post_rollout":
        segments: list[Any] = [(s, {}, int(s["length"])) for s in samples]
        packs = [[s for s, _, _ in pack] for pack in drained(here, segments, length)]
        made = [([s["sample_id"] for s in pack], collate, pack) for pack in packs]
    else:
        through = here.collator(template, collate)
        made = [([s["sample_id"] for s in pack], through, [pack]) for pack in wrapped(here, samples, template, length)]
    return {"batches": [facts(members, here.call(how, batch)) for members, how, batch in made]}


def wrapped(here, samples, template, length):
    """The packs of the project's dataset wrapper. Each holds copies: the collator takes fields out of samples."""

    class Encoded(Lengths):
        def __init__(self):
            self.samples = samples

    with tempfile.TemporaryDirectory(dir=here.scratch) as cache:
        wanted = here.fitting(
            here.build,
            packing_length=length,
            min_fill_ratio=0.01,
            drop_last=False,
            packing_drop_last=False,
            cache_dir=cache,
            fingerprint={"asked_by": "audit"},
            world_size=1,
            length_precompute_workers=1,
        )
        made = here.call(here.build, Encoded(), template, **wanted)
        return [made[i] for i in range(len(made))] if hasattr(made, "__len__") else list(made)


def facts(members, collated):
    """A batch's tensors as facts: integers in full, pixel rows by digest."""
    import torch

    tensors = {k: v for k, v in collated.items() if isinstance(v, torch.Tensor)}
    pixels = tensors.get("pixel_values")
    return {
        "members": members,
        "ints": {k: v.tolist() for k, v in tensors.items() if not v.is_floating_point()},
        "shapes": {k: list(v.shape) for k, v in tensors.items()},
        "dtypes": {k: str(v.dtype).replace("torch.", "") for k, v in tensors.items()},
        "pixel_rows": None if pixels is None else digests(pixels),
    }
