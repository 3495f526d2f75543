"""What must be true: of plans, of a packed batch, of its positions, and of its segments in a real model."""
