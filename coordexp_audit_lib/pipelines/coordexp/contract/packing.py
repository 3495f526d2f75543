"""What CoordExp promises of packing: the family of the models that it packs for, and its 1000 coordinate tokens."""

from coordexp_audit_lib.kit.tokenizer import COORD_0, COORD_BINS

CONTRACT = {"packing.profile": f"qwen3_vl,first_coordinate={COORD_0},coordinates={COORD_BINS}"}
