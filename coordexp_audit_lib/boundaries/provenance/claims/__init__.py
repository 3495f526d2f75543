"""The claims of this boundary, one a file."""
