"""Data for the figures of the rollout boundary."""
