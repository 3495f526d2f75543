"""The command line: `coordexp-audit COMMAND`."""

from coordexp_audit_lib.cli.commands import main

__all__ = ["main"]
