"""What a worker of another machine does with a part of a data file: it has nothing loaded yet."""

from __future__ import annotations

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.geometry.artifact.judging import FilePart
from coordexp_audit_lib.boundaries.geometry.artifact.parts import Span, judge_span


def judge_anywhere(span: Span) -> FilePart:
    """Judge a part of a file, once the claims are there."""
    boundaries.load(["geometry"])
    return judge_span(span)
