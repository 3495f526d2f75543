"""Where the notebooks and the book's prose lie: beside the package in a checkout, inside it when installed."""

from __future__ import annotations

from pathlib import Path

from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.evidence import digest

PACKAGE = Path(__file__).resolve().parents[1]


def folder(name: str) -> Path:
    """The folder `notebooks` or `book`.

    Raises:
        UsageError: neither place has it.
    """
    for place in (PACKAGE.parent / name, PACKAGE / f"_{name}"):
        if place.is_dir() and any(place.iterdir()):
            return place
    raise UsageError(f"the installation has no {name}", where=str(PACKAGE), remedy="install again, or run from a clone")


def fingerprint() -> str:
    """A digest of this library's modules: a run is only gone on with by the code that began it."""
    modules = sorted(PACKAGE.rglob("*.py"))
    return digest([[m.relative_to(PACKAGE).as_posix(), digest(m.read_bytes())] for m in modules])
