"""What CoordExp promises of its Stage-2 trainer."""

from __future__ import annotations

COUNTERS = {
    "invalid": "stage2_ab/channel_b/invalid_rollout",
    "unclosed": "stage2_ab/channel_b/closure_supervision/N_drop",
    "dropped_records": "stage2_ab/channel_b/strict_drop/N_drop_invalid",
    "valid_records": "stage2_ab/channel_b/strict_drop/N_valid_pred",
}
HELPER_KEYS = (
    *("labels", "loss_scale", "text_position_ids", "channel", "compute_loss_func", "logits_to_keep"),
    *("num_items_in_batch", "_stage2_ab_channel", "_rollout_matching_meta", "_rollout_matching_batch_metrics"),
)

# Modules of the objective, with how many terms (at most two are asked about) each demands.
MODULES = {"token_ce": 2, "loss_duplicate_burst_unlikelihood": 1, "bbox_geo": 2, "bbox_size_aux": 2, "coord_reg": 2}
CHANGES = {era: {"supervision.modules": MODULES} for era in ("2026-03", "2026-05")}
CONTRACT = {
    "supervision.modules": {"text": 2, "boxes": 2, "coordinates": 1},
    "supervision.counters": COUNTERS,  # names of a step's counters in the log
    "supervision.candidate_top_k": 5,  # `rollout_matching.candidate_top_k` of the shipped Stage-2 configs
    "supervision.helper_keys": HELPER_KEYS,  # of a batch, for the trainer alone
}
