"""02: config strictness and coherence."""
