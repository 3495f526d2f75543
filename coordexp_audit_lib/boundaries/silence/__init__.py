"""12: failures must be seen."""
