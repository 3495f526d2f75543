"""Read from `source.collectives`; this name goes when its users have moved."""

from coordexp_audit_lib.source.collectives import Collective, Scan, ScanRequest, scan, scan_module

__all__ = ["Collective", "Scan", "ScanRequest", "scan", "scan_module"]
