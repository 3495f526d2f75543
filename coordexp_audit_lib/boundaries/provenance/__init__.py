"""Boundary 10: what a run leaves behind of itself, and whether it is enough to run it again."""

from coordexp_audit_lib.boundaries.provenance.reference.writer import write_manifest

__all__ = ["write_manifest"]
