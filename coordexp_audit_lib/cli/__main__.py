"""`coordexp-audit`, and `python -m coordexp_audit_lib.cli`."""

import atexit
import os
import sys
from typing import NoReturn


def script() -> NoReturn:
    """Run the command and leave. What was read of a tree is left to the system: Python takes a second to free it."""
    try:
        from coordexp_audit_lib.cli.commands import main
    except KeyboardInterrupt:
        print("coordexp-audit: interrupted", file=sys.stderr)
        os._exit(130)
    status = main()
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # Python tells of it as it always does
        sys.exit(status)
    os._exit(status)


if __name__ == "__main__":
    script()
