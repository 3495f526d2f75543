"""A small Qwen3-VL: the published architecture, two text layers, one vision layer, random weights, the real vocabulary.

It runs on a CPU in about a tenth of a second and is what behavioural checks put their questions to. The weights
depend on the seed only. Their spread is ten times the published one's, so that the logits differ enough to tell a
gradient from noise.
"""

from __future__ import annotations

import copy
import ctypes
import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from coordexp_audit_lib.kit import picture, profile
from coordexp_audit_lib.kit.profile import IGNORE_INDEX
from coordexp_audit_lib.kit.tokenizer import COORD_0, COORD_BINS, IMAGE_PAD, VIDEO_PAD, VISION_END, VISION_START

VOCABULARY = 152_704
SPREAD = 0.2
FEW = 16_381  # of `hashed`, coordinates left out; a prime, so that tokens spread over them

assert COORD_0 + COORD_BINS <= VOCABULARY


def build(seed: int = 0, rows: int = VOCABULARY, tied: bool = False, family: str = "qwen3_vl") -> Any:
    """A float32 `Qwen3VLForConditionalGeneration` on the CPU, in training mode (imports transformers: seconds).

    rows: of its embedding. tied: whether the head is the embedding. family: or `qwen2_5_vl`.
    """
    return copy.deepcopy(_made(seed, rows, tied, family))


@lru_cache(maxsize=2)  # drawing the weights of the vocabulary takes as long as ten steps of training
def _made(seed: int, rows: int, tied: bool, family: str) -> Any:
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        import transformers
    hub: Any = transformers

    size = {"hidden_size": 32, "intermediate_size": 64}
    newest = family == "qwen3_vl"
    rope: dict[str, Any] = {"rope_type": "default", "mrope_section": [4, 2, 2]}
    text = {
        **{**size, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1},
        **{"vocab_size": rows, "max_position_embeddings": 32_768, "initializer_range": SPREAD},
        "rope_scaling": {**rope, "mrope_interleaved": True} if newest else rope,
        "tie_word_embeddings": tied,
        **({"head_dim": 16} if newest else {}),
    }
    more: dict[str, Any] = {"deepstack_visual_indexes": [0], "num_position_embeddings": 64}
    more = more if newest else {"fullatt_block_indexes": [0]}
    vision = {
        **{**size, "depth": 1, "num_heads": 2, "patch_size": profile.named(family).patch_size, "out_hidden_size": 32},
        **{"spatial_merge_size": picture.MERGE, **more},
    }
    ids = {"image_token_id": IMAGE_PAD, "video_token_id": VIDEO_PAD}
    ends = {"vision_start_token_id": VISION_START, "vision_end_token_id": VISION_END}
    prefix = "Qwen3VL" if newest else "Qwen2_5_VL"
    kind, made_of = getattr(hub, f"{prefix}ForConditionalGeneration"), getattr(hub, f"{prefix}Config")
    config = made_of(text_config=text, vision_config=vision, tie_word_embeddings=tied, **ids, **ends)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(config).float().train()


def token_types(function: Any, ids: Any, image: int = IMAGE_PAD, video: int = VIDEO_PAD) -> dict[str, Any]:
    """`mm_token_type_ids` for `function`, a model's `forward` or `get_rope_index`, if it takes them, as transformers 5
    does; in older releases pads alone tell where pictures are.

    ids: [B, L]. Returns: int32 [B, L], 0 for text, 1 for an image's pads, 2 for a video's; or nothing.
    """
    if "mm_token_type_ids" not in inspect.signature(function).parameters:
        return {}
    return {"mm_token_type_ids": (ids == image).int() + 2 * (ids == video).int()}


def settle() -> None:
    """`one_thread` for the rest of this process, as a worker wants it."""
    import torch

    keep_memory()
    torch.set_num_threads(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, so that results do not depend on the machine's cores; many small steps are faster so."""
    import torch

    before = torch.get_num_threads()
    keep_memory()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=1)
def keep_memory() -> bool:
    """Ask glibc to keep freed blocks, and say whether it took the advice.

    Logits of the real vocabulary take 70 MB and more, and mapping them anew for every step costs more than computing
    them.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(-3, 1 << 30) and mallopt(-1, 2_000_000_000))


@lru_cache(maxsize=2)
def small(seed: int = 0, family: str = "qwen3_vl") -> Any:
    """The model of that seed and family, built once per process. Callers must leave its weights as they are.

    Its head asks for no gradient: what reaches the logits goes on to the hidden states all the same, and the gradient
    of 152,704 rows, which nobody looks at, would cost as much as the rest of the pass.
    """
    made = build(seed, family=family)
    made.lm_head.weight.requires_grad_(False)
    return made


@lru_cache(maxsize=1)
def hashed() -> Any:
    """The model with so few rows that a pass takes a fifth of the time, each token and label at its `row_of`: for what
    shows whatever the tokens are. Built once per process; leave its weights as they are."""
    made = build(rows=FEW + COORD_BINS)
    made.lm_head.weight.requires_grad_(False)
    made.get_input_embeddings().register_forward_pre_hook(lambda module, args: (row_of(args[0]),))
    return made


def row_of(tokens: Any) -> Any:
    """Rows of `hashed`, int64 as the tokens or labels: coordinates are the last thousand, in order; of others several
    share one; what is ignored stays so."""
    coordinate = (tokens >= COORD_0) & (tokens < COORD_0 + COORD_BINS)
    return (tokens % FEW).where(~coordinate, tokens - COORD_0 + FEW).where(tokens != IGNORE_INDEX, IGNORE_INDEX)
