"""How CoordExp's own text and code are cited, as read at the reference commit."""

from functools import partial

from coordexp_audit_lib.core.citation import Citation

REPOSITORY, COMMIT = "Pein2017/CoordExp", "b46e74f"


def spec(capability: str, requirement: str) -> Citation:
    """A requirement of one of the project's OpenSpec capabilities."""
    return Citation(REPOSITORY, f"openspec/specs/{capability}/spec.md", requirement, COMMIT)


stage2 = partial(spec, "stage2-ab-training")
matching = partial(spec, "rollout-matching-sft")
audit = partial(spec, "training-pipeline-audit")


def code(path: str, symbol: str) -> Citation:
    """A function of the project that states a demand which no specification writes down."""
    return Citation(REPOSITORY, path, symbol, COMMIT)
