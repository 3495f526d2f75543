"""nbval's sanitize file, read as nbval reads it: a rule that it would drop in silence is an error."""

from __future__ import annotations

import re
from pathlib import Path

from coordexp_audit_lib.core.errors import AuditError


def read_rules(path: Path) -> list[tuple[str, str]]:
    """The rules that nbval reads from the file, pattern and replacement.

    Raises:
        AuditError: a line is neither a comment, nor a section's name, nor part of a rule that nbval read; or a pattern
            does not compile.
    """
    from nbval.plugin import get_sanitize_patterns

    text = path.read_text(encoding="utf-8")
    rules: list[tuple[str, str]] = get_sanitize_patterns(text)
    read = [f"{key}: {value}" for rule in rules for key, value in zip(("regex", "replace"), rule, strict=True)]
    for number, line in enumerate(text.splitlines(), 1):
        if read and line == read[0]:
            read.pop(0)
        elif line.strip() and not line.startswith("#") and not re.fullmatch(r"\[\w+\]", line):
            remedy = "write `regex: PATTERN` and, on the next line, `replace: TEXT`"
            raise AuditError(f"nbval would not read this line: {line!r}", where=f"{path.name}:{number}", remedy=remedy)
    for pattern, _ in rules:
        try:
            re.compile(pattern)
        except re.error as error:
            raise AuditError(f"not a pattern: {error}", where=path.name, remedy="mend it") from error
    return rules
