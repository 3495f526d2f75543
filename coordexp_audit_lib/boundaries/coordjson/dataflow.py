"""Read from `source.sinks`; this name goes when its users have moved."""

from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.source import sinks
from coordexp_audit_lib.source.sinks import Scan, ScanRequest, Sink
from coordexp_audit_lib.source.tree import Tree

__all__ = ["Scan", "ScanRequest", "Sink", "scan"]


def scan(tree: Tree, request: ScanRequest) -> Scan:
    """Judge every strict parser call below the roots."""
    spoken = pipeline().contract()["coordjson.format"]
    return sinks.scan(tree, request, sinks.Format(frozenset(spoken["transpilers"]), frozenset(spoken["writers"])))
