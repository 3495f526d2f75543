"""The reference pipeline's core paths are this library itself."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from coordexp_audit_lib.boundaries.silence.surfaces import SUPPRESSIONS, Scan, ScanRequest, scan_tree
from coordexp_audit_lib.core.surface import answers
from coordexp_audit_lib.source.tree import Tree


@answers(SUPPRESSIONS)
def suppressions_of_this_library(request: ScanRequest) -> Scan:
    """Scan this package, whose folder stands for the core paths."""
    return _scanned(request)


@lru_cache(maxsize=1)  # a running program's own source stays as it is
def _scanned(request: ScanRequest) -> Scan:
    return scan_tree(Tree(Path(__file__).parents[2]), request)
