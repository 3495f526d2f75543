"""ms-swift's `qwen3_vl` template over a processor that is put together from parts, not downloaded.

Standard library only at import time.
"""

from __future__ import annotations

import importlib
import importlib.util
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from coordexp_audit_lib.kit import picture, stand_ins

LONGEST = 32_768
IMAGES: dict[str, Any] = {
    "patch_size": picture.PATCH,
    "merge_size": picture.MERGE,
    "temporal_patch_size": picture.FRAMES,
}


def processor(tokenizer: Any, config: Any, images: Any = None) -> Any:
    """What the template asks of a processor.

    Args:
        tokenizer: a `transformers` fast tokenizer. config: a `Qwen3VLConfig`. images: another image processor.
    """
    import torch
    from transformers import Qwen2VLImageProcessor

    return types.SimpleNamespace(
        tokenizer=tokenizer,
        image_processor=images or Qwen2VLImageProcessor(**IMAGES),
        model_info=types.SimpleNamespace(
            config=config, task_type="causal_lm", max_model_len=LONGEST, model_dir="", torch_dtype=torch.float32
        ),
        model_meta=types.SimpleNamespace(is_multimodal=True, model_type="qwen3_vl"),
        image_token_id=config.image_token_id,
        video_token_id=config.video_token_id,
    )


def build(parts: Any, model: Any = None, kind: str = "qwen3_vl", **settings: Any) -> Any:
    """The template in training mode.

    Args:
        parts: what `processor` made. model: asked for positions only. kind: ms-swift's name of it. settings: of
            `get_template`; a sample that is too long raises by default.
    """
    stand_ins.loader()
    given = {"max_length": LONGEST, "truncation_strategy": "raise", **settings}
    if importlib.util.find_spec("swift.template"):  # ms-swift 4
        made = importlib.import_module("swift.template").get_template(parts, template_type=kind, **given)
    else:
        made = importlib.import_module("swift.llm").get_template(kind, parts, **given)
    made.model = model
    made.set_mode("train")
    return made


@contextmanager
def packing(template: Any, on: bool) -> Iterator[None]:
    """The template packed and padding-free, or neither, for as long as this lasts."""
    before = template.packing, template.padding_free
    template.packing = template.padding_free = on
    try:
        yield
    finally:
        template.packing, template.padding_free = before
