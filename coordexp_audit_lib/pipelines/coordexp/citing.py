"""How CoordExp's own text and code are cited, as read at the reference commit."""

from functools import partial

from coordexp_audit_lib.core.citation import Citation

REPOSITORY, COMMIT, NEWEST = "Pein2017/CoordExp", "b46e74f", "cd05f3b"


def spec(capability: str, requirement: str) -> Citation:
    """A requirement of one of the project's OpenSpec capabilities."""
    return Citation(REPOSITORY, f"openspec/specs/{capability}/spec.md", requirement, COMMIT)


def newest(capability: str, requirement: str, change: str = "") -> Citation:
    """A requirement that the reference commit does not have: of a capability, or of a change on its way into one."""
    folder = f"openspec/changes/{change}/specs" if change else "openspec/specs"
    return Citation(REPOSITORY, f"{folder}/{capability}/spec.md", requirement, NEWEST)


stage2 = partial(spec, "stage2-ab-training")
matching = partial(spec, "rollout-matching-sft")
audit = partial(spec, "training-pipeline-audit")


def code(path: str, symbol: str) -> Citation:
    """A function of the project that states a demand which no specification writes down."""
    return Citation(REPOSITORY, path, symbol, COMMIT)
