"""What the proofs of the house share."""

from __future__ import annotations

import pytest

from coordexp_audit_lib.targets.reference import Memory


@pytest.fixture(scope="session")
def memory() -> Memory:
    """The unbroken reference's answers: the proofs ask it the same questions."""
    return {}
