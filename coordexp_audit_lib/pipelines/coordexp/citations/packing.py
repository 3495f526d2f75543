"""Where CoordExp demands the claims on packing."""

from functools import partial

from coordexp_audit_lib.pipelines.coordexp.citing import change, matching, spec

FIELDS = spec("packing-dataset", "Multimodal field preservation and position_ids")
SELECTION = matching("Stage-2 post-rollout packing selection uses deterministic ms-swift-like binpacking")
ROLLOUTS = matching("Post-rollout packing is supported under rollout-matching training")
static = partial(change, "stage1-static-packing", "packing-dataset")

CITATIONS = {
    "packing.capacity": (spec("packing-dataset", "Oversized sample handling"), SELECTION),
    "packing.each_once": (
        spec("packing-dataset", "Bin-packing with carry-over buffer"),  # of what is underfilled the last alone may go
        static("Static pack-plan mode yields a countable packed dataset"),  # what is too long is logged
    ),
    "packing.ddp_aligned": (static("Static packing enforces deterministic DDP remainder semantics (pad vs drop)"),),
    "packing.fill_at_least_fifo": (SELECTION,),
    "packing.fields_aligned": (FIELDS,),
    "packing.cu_seqlens": (FIELDS,),
    "packing.positions_restart": (FIELDS,),
    "packing.no_cross_boundary_label": (FIELDS, ROLLOUTS),
    "packing.vision_in_order": (FIELDS,),
    "packing.segments_isolated": (FIELDS,),
    "packing.loss_equivalent": (ROLLOUTS,),
    "packing.eval_unpacked": (spec("packing-dataset", "Eval default off"),),
}

PERMITTED = {
    "": {
        "packing.own_check": "its check of batches is a precaution; no requirement says which batches it must see",
        "packing.stable_order": "the clause on order governs what is selected after rollouts, not dynamic packing",
    }
}

BEYOND = {
    "": {
        "packing.loss_equivalent": (
            ("a step of Channel-", "it wants each sample's masks right, and leaves open how packs of one step weigh"),
        )
    }
}
