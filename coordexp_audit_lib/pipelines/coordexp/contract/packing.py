"""What CoordExp promises of packing: the family of the models that it packs for, and its 1000 coordinate tokens."""

from coordexp_audit_lib.kit.tokenizer import COORD_0, COORD_BINS

# Whether a trainer joins rows by itself, past the packing of the dataset and of rollouts.
JOINS = "packing.trainer_joins"
BY_DEFAULT = "packing.eval_by_default"  # evaluation is packed where a config is silent
CONTRACT = {
    JOINS: False,
    BY_DEFAULT: False,
    "packing.profile": f"qwen3_vl,first_coordinate={COORD_0},coordinates={COORD_BINS}",
    "packing.in_order": True,  # a pack holds its samples in the order of the dataset
    # The packers that a run may take, by the names that `boundaries.packing.cases` gives them.
    "packing.packers": ("static packing", "dynamic packing", "post-rollout packing"),
}
# "Stage-1 dataset-level packing is static-only" (packing-dataset, since 2026-02-23, 8eb2606): what else stands in the
# tree, no run may take; and evaluation is packed by default (5289315), whatever the older requirement above it says.
PACKERS = "packing.packers"
CHANGES = {
    "before 2026-02-11": {PACKERS: ("dynamic packing", "post-rollout packing")},
    "2026-02-11": {PACKERS: ("dynamic packing", "post-rollout packing")},
    "2026-02-24": {BY_DEFAULT: True, PACKERS: ("static packing", "post-rollout packing")},
    "2026-05": {JOINS: True},
}
