"""Boundary 07: which tokens the trainer supervises, with which terms, shown at the logits of a real forward and backward."""
