"""The claims of boundary 05, one a file."""
