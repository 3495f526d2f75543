"""What of a tree runs from an entry point under one config, told without running it."""

from coordexp_audit_lib.source.reach.graph import Graph, Spot
from coordexp_audit_lib.source.reach.program import Node, Program
from coordexp_audit_lib.source.reach.settings import Settings, Switch, Written, schema_defaults, written_names

__all__ = ["Graph", "Node", "Program", "Settings", "Spot", "Switch", "Written", "schema_defaults", "written_names"]
