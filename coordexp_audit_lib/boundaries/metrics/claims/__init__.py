"""The claims about what a run logs: one file each."""
