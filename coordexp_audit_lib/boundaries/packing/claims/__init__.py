"""The claims on packing, one a file."""
