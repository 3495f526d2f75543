"""The command line: `coordexp-audit COMMAND`."""

from coordexp_audit_lib.cli.main import main

__all__ = ["main"]
