"""06: packing, collation and masks."""
