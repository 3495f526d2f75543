"""Whole audits: notebooks, recordings, proofs, comparisons."""
