"""Boundary 09: what a run logs about itself, and how it is accumulated over micro-steps and ranks."""
