"""The oracle's answers: plans, encoded and collated batches, a small model's forward, and how evaluation is packed."""
