"""The claims of boundary 08, one a file."""
