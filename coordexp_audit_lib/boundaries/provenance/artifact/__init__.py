"""Readers of the folder that a run left behind, which is not trusted."""
