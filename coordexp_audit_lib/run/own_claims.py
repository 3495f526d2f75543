"""Claims that come from outside: a file of them, or the modules that installed packages name as entry points.

They are code of the auditor's, not of the audited pipeline's, and run in the audit's own process.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

from coordexp_audit_lib.boundaries import BOUNDARIES, load
from coordexp_audit_lib.core.claim import Claim, claims
from coordexp_audit_lib.core.errors import UsageError

GROUP = "coordexp_audit.claims"


def load_claims(files: Sequence[Path]) -> list[Claim]:
    """Import what installed packages name, then the files; the claims that these declare.

    Raises:
        UsageError: a file can't be imported, declares none, or one that belongs to no boundary.
    """
    entries = metadata.entry_points(group=GROUP)
    if not files and not entries:
        return []
    load()  # so that what is declared after this is theirs
    found: list[Claim] = []
    for entry in entries:
        found += _declared_by(entry.value, partial(importlib.import_module, entry.module))
    for path in files:
        found += _declared_by(str(path), partial(_executed, path))
    return found


def _declared_by(where: str, imported: Callable[[], object]) -> list[Claim]:
    before = {c.id for c in claims()}
    try:
        imported()
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"it can't be imported: {type(error).__name__}: {error}", where=where) from error
    made = [c for c in claims() if c.id not in before]
    names = [b.name for b in BOUNDARIES]
    for c in made:
        if c.boundary not in names:
            what, remedy = f"{c.id} belongs to no boundary", f"let its id begin with one of {', '.join(names)}"
            raise UsageError(what, where=where, remedy=remedy)
    return made


def _executed(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(f"own_claims_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError("there is no such file of claims", where=str(path), remedy="give a Python file")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
