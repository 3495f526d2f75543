"""What CoordExp promises of its Stage-2 trainer."""

from __future__ import annotations

from typing import Any

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

CONTRACT: dict[str, Any] = {
    "supervision.modules": {"text": 2, "boxes": 2, "coordinates": 1},
    "supervision.counters": COUNTERS,  # names of a step's counters in the log
    "supervision.candidate_top_k": 5,  # `rollout_matching.candidate_top_k` of the shipped Stage-2 configs
    "supervision.helper_keys": HELPER_KEYS,  # of a batch, for the trainer alone
    "supervision.iterations": 3,  # forwards that Channel-A may be asked for
    "supervision.views": 1,  # rollouts of a sample that one Channel-B step asks for
    # What a target begins with: the rollout's own tokens, or the accepted objects as the serializer writes them.
    "supervision.prefix": "rollout",
    # What of an object that no ground truth matches may be supervised: nothing, or its structure.
    "supervision.extras": "nothing",
    # What becomes of a target whose closure is not found; it is counted in either case.
    "supervision.unclosed": "dropped",
    # Whether a closure is its brace with the end of the turn after it, or the brace alone where no turn ends: the
    # template ends every turn.
    "supervision.closure_with_end": True,
    # Whether SmoothL1 compares a box's corners as they are, or sorted: a slot may then be moved to the other corner.
    "supervision.sorted_corners": False,
}
_CLEAN = {
    **{"supervision.prefix": "clean", "supervision.extras": "structure", "supervision.unclosed": "kept"},
    **{"supervision.closure_with_end": False, "supervision.sorted_corners": True},
    "supervision.modules": MODULES,
}
CHANGES = {
    "2026-03-08": _CLEAN,  # 5bef190
    "2026-03-11": {"supervision.views": 2},  # b3f2ca1: an anchor and an explorer
    "2026-03-21": {"supervision.iterations": 1},  # 03420c2
}
