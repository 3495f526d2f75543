"""`python -m coordexp_audit_lib.cli`."""

import sys

from coordexp_audit_lib.cli.main import main

sys.exit(main())
