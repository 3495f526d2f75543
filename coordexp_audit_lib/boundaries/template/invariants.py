"""The claims of boundary 05. Importing their modules declares them, in the catalogue's order."""

from __future__ import annotations

# isort: off
from coordexp_audit_lib.boundaries.template import invariants_tokens  # noqa: F401
from coordexp_audit_lib.boundaries.template import invariants_sequence  # noqa: F401
