"""What must be true of what a run leaves behind, over plain values."""
