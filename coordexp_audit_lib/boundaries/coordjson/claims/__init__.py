"""The claims about the assistant output boundary, one a file."""
