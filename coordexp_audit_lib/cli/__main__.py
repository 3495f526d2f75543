"""`python -m coordexp_audit_lib.cli`."""

import sys

from coordexp_audit_lib.cli.commands import main

sys.exit(main())
