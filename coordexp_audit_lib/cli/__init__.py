"""The command line: `coordexp-audit COMMAND`."""

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    from coordexp_audit_lib.cli.commands import main as run  # late, so that who asks for less waits for less

    return run(argv)
