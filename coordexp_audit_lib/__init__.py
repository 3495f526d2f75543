"""Reproducibility-grade audit of V-LLM grounding training pipelines of the CoordExp kind."""

__version__ = "0.1.0"
