"""The smallest real models of a family, of whatever transformers is installed: two text layers, one vision layer, a
vocabulary of 64. Standard library only at import time.

They are for questions about the model's code (masks, positions, caches), not about words: their tokens mean nothing.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import lru_cache
from typing import Any

from coordexp_audit_lib.kit.profile import BUILT_IN, Profile

FAMILIES = ("qwen3_vl", "qwen2_5_vl")
VOCABULARY, PATCH, FRAMES = 64, 4, 2
PIXEL_WIDTH = 3 * FRAMES * PATCH**2  # of a row of `pixel_values`
START, END, IMAGE, VIDEO = 60, 61, 62, 63
WIDTH, HEADS, SPREAD = 32, 2, 0.2


def profile(family: str) -> Profile:
    """The family's profile with the tokens of its tiny model."""
    made = replace(BUILT_IN[family], pad=0, turn_start=None, turn_end=None, vision_start=START, vision_end=END)
    return replace(made, image_pad=IMAGE, video_pad=VIDEO, patch_size=PATCH)


def build(family: str, seed: int = 0) -> Any:
    """A float32 `…ForConditionalGeneration` on the CPU, in evaluation mode (imports transformers: seconds).

    Args:
        family: one of `FAMILIES`.
    """
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        import transformers
    hub: Any = transformers
    prefix = {"qwen3_vl": "Qwen3VL", "qwen2_5_vl": "Qwen2_5_VL"}[family]
    config = getattr(hub, f"{prefix}Config")(
        text_config=_text(family), vision_config=_vision(family), tie_word_embeddings=False, **_ids()
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = getattr(hub, f"{prefix}ForConditionalGeneration")(config).float().eval()
        with torch.no_grad():
            for p in made.parameters():  # no weight is at a point where a fault could hide: biases 0, norms 1
                p.add_(torch.randn_like(p) * SPREAD)
    return made


def _ids() -> dict[str, int]:
    ends = {"vision_start_token_id": START, "vision_end_token_id": END}
    return {"image_token_id": IMAGE, "video_token_id": VIDEO, **ends}


def _text(family: str) -> dict[str, Any]:
    width = WIDTH // HEADS
    rope = {"rope_type": "default", "mrope_section": [4, 2, 2]}
    made = {
        **{"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 2, "vocab_size": VOCABULARY},
        **{"num_attention_heads": HEADS, "num_key_value_heads": 1, "max_position_embeddings": 1024},
        **{"rope_theta": 10_000.0, "initializer_range": SPREAD, "tie_word_embeddings": False},
        **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    }
    if family == "qwen3_vl":
        return {**made, "head_dim": width, "rope_scaling": {**rope, "mrope_interleaved": True}}
    return {**made, "rope_scaling": rope}


def _vision(family: str) -> dict[str, Any]:
    made = {
        **{"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "depth": 1, "num_heads": HEADS},
        **{"patch_size": PATCH, "spatial_merge_size": 2, "temporal_patch_size": FRAMES, "out_hidden_size": WIDTH},
        "initializer_range": SPREAD,
    }
    if family == "qwen3_vl":
        return {**made, "deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    return {**made, "window_size": 4 * PATCH, "fullatt_block_indexes": [0], "tokens_per_second": 2}


@lru_cache(maxsize=len(FAMILIES))
def kept(family: str) -> Any:
    """`build`, once per process. Callers must leave its weights as they are."""
    return build(family)
