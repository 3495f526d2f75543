"""The claims of the config boundary. Importing their modules declares them, in the catalogue's order."""

from __future__ import annotations

# isort: off
from coordexp_audit_lib.boundaries.config import keys  # noqa: F401
from coordexp_audit_lib.boundaries.config import ranges  # noqa: F401
from coordexp_audit_lib.boundaries.config import coherence  # noqa: F401
from coordexp_audit_lib.boundaries.config import profiles  # noqa: F401
