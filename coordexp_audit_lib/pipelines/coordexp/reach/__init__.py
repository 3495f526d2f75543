"""Whether an audited config's run reaches a place or a key of a CoordExp tree, and how that is known."""

from coordexp_audit_lib.pipelines.coordexp.reach.audited import Audited, audited

__all__ = ["Audited", "audited"]
