"""What the tensors of a packed batch are called in the frameworks that pack.

ms-swift, TRL and transformers (`cu_seq_lens_q`, `seq_idx`), LLaMA-Factory and axolotl (a numbered `attention_mask`),
verl, Megatron-LM and Megatron-Bridge (`tokens`, `loss_mask`, `cu_seqlens_q_padded`), NeMo Automodel, AReaL, torchtune
and torchtitan (`input_pos`, `document_ids`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

ALIASES: dict[str, tuple[str, ...]] = {
    "input_ids": ("tokens", "packed_input_ids", "token_ids", "input_tokens"),
    "labels": ("targets", "target", "target_ids", "packed_labels"),
    "position_ids": ("positions", "packed_position_ids", "pos_ids", "input_pos"),
    "text_position_ids": ("text_positions",),
    "cu_seq_lens_q": ("cu_seqlens_q", "cu_seqlens", "cu_seq_lens", "cu_seqlen"),
    "cu_seq_lens_k": ("cu_seqlens_k", "cu_seqlens_kv", "cu_seq_lens_kv"),
    "cu_seq_lens_padded": ("cu_seqlens_q_padded", "cu_seqlens_padded", "cu_seq_lens_q_padded"),
    "max_length_q": ("max_seqlen_q", "max_seqlen", "max_seq_len_q", "max_seq_len"),
    "max_length_k": ("max_seqlen_k", "max_seqlen_kv", "max_seq_len_k", "max_length_kv"),
    "attention_mask": ("attn_mask", "attention_masks", "mask"),
    "seq_idx": ("sequence_idx",),
    "document_ids": ("segment_ids", "sequence_ids", "doc_ids", "sample_ids", "document_id", "segment_id"),
    "lengths": ("seq_lens", "seqlens", "seq_lengths", "sequence_lengths", "length", "seq_len"),
    "loss_mask": ("loss_masks", "response_mask"),
    "image_grid_thw": ("image_grids_thw", "images_grid_thw"),
    "pixel_values": ("images_pixel_values", "pixel_values_images"),
    "video_grid_thw": ("video_grids_thw", "videos_grid_thw"),
    "pixel_values_videos": ("video_pixel_values",),
    "second_per_grid_ts": ("video_second_per_grid", "second_per_grids"),
}
# Known, and not judged by themselves; `dialects` reads some of them.
SEEN = frozenset(
    {
        *("token_type_ids", "rope_deltas", "loss_scale", "channel", "cu_seqlens_kv_padded"),
        *("cu_seqlens_k_padded", "cache_position", "idx", "index", "logits_to_keep", "use_cache", "image_sizes"),
        # Megatron-Bridge and NeMo Automodel
        *("cu_seqlens_argmin", "cu_seqlens_unpadded", "cu_seqlens_unpadded_argmin", "cu_seqlens_q_unpadded"),
        *("cu_seqlens_padded_argmin", "seq_lens_padded", "seqlens_padded", "padding_mask", "qkv_format", "token_count"),
        *("total_tokens", "cp_size", "num_samples", "attention_mask_2d"),
        # verl, AReaL and TRL: of rollouts
        *("responses", "prompts", "prompt_mask", "completion_mask", "assistant_masks", "prompt_ids", "completion_ids"),
        *("advantages", "returns", "values", "rewards", "logprobs", "versions", "old_log_probs", "ref_log_prob"),
        *("rollout_log_probs", "token_level_scores", "token_level_rewards", "old_per_token_logps"),
        *("ref_per_token_logps", "num_items"),
    }
)
_CANONICAL = {alias: name for name, aliases in ALIASES.items() for alias in aliases}


class Named(msgspec.Struct, frozen=True):
    """Tensors under the names that judges use. renamed: name -> what it was called. unknown: names that mean nothing
    here, sorted. others: what is known and no tensor of a judge, by its name."""

    tensors: dict[str, Any]
    renamed: dict[str, str]
    unknown: list[str]
    others: dict[str, Any] = {}


def named(tensors: Mapping[str, Any], known: tuple[str, ...]) -> Named:
    """The tensors by the judges' names; a nested name (`packed_seq_params.cu_seqlens_q`) counts by its last part.

    Args:
        known: the judges' names. One that is there goes before its aliases; of several aliases the first counts, and
            the others are unknown.
    """
    found: dict[str, Any] = {}
    renamed: dict[str, str] = {}
    unknown: list[str] = []
    others: dict[str, Any] = {}
    for name, tensor in sorted(tensors.items(), key=lambda item: item[0] not in known):
        last = name.rpartition(".")[2]
        ours = last if last in known else _CANONICAL.get(last, "")
        if ours and ours not in found:
            found[ours] = tensor
            renamed |= {ours: name} if name != ours else {}
        elif last in SEEN:
            others[name] = tensor
        else:
            unknown.append(name)
    return Named(found, renamed, sorted(unknown), others)
