"""The wall around a target: worker, supervisor, processes, limits."""
