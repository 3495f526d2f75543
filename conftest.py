"""Closes two traps of nbval for whoever runs `pytest --nbval` here: nothing to compare, and rules that are not read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.report.outputs import check
from coordexp_audit_lib.report.sanitize import read_rules


def pytest_configure(config: pytest.Config) -> None:
    rules = config.getoption("nbval_sanitize_with", None)
    if rules:
        try:
            read_rules(Path(rules))
        except (AuditError, OSError) as error:
            raise pytest.UsageError(str(error)) from error


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> None:
    """A notebook without outputs would pass without comparing anything."""
    if file_path.suffix == ".ipynb" and parent.config.getoption("nbval", False):
        check(json.loads(file_path.read_text(encoding="utf-8")), file_path.name)
