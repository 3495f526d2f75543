"""The claims of silence, one a file."""
