"""04: the assistant output boundary."""
