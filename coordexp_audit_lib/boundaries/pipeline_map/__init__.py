"""01: which module owns each stage, and which config keys drive it."""
