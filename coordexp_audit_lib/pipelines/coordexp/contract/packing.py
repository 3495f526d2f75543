"""What CoordExp promises of packing: the family of the models that it packs for, and its 1000 coordinate tokens."""

from coordexp_audit_lib.kit.tokenizer import COORD_0, COORD_BINS

# Whether a trainer joins rows by itself, past the packing of the dataset and of rollouts.
JOINS = "packing.trainer_joins"
CHANGES = {"2026-05": {JOINS: True}}
CONTRACT = {JOINS: False, "packing.profile": f"qwen3_vl,first_coordinate={COORD_0},coordinates={COORD_BINS}"}
