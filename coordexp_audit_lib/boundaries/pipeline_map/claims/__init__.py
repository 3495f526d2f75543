"""The claims of the pipeline map, one a file."""
