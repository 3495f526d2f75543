"""What CoordExp promises of packing: the family of the models that it packs for, and its 1000 coordinate tokens."""

CONTRACT = {"packing.profile": "qwen3_vl,first_coordinate=151670,coordinates=1000"}
