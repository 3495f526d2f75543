"""Boundary 07: which tokens the trainer supervises, and with which terms, shown by a real backward pass."""
