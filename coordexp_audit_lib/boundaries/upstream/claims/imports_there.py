"""What the source imports of the installed packages is there.

A name that a release moved or dropped stops the run where it is imported, or, where that happens inside a function,
hours after the start.

Example: `from transformers import AutoModelForVision2Seq` under a release that has it no more."""

from __future__ import annotations

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.upstream.cases import of_imports
from coordexp_audit_lib.boundaries.upstream.predicates.environment import Taken, all_there
from coordexp_audit_lib.boundaries.upstream.predicates.installed import REMEDY
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.fault import spoil

imports_there = artifact_claim(
    id="upstream.imports_there", doc=__doc__, severity="P1", remedy=REMEDY, on={Taken: all_there}, asks=of_imports
)


def _sound() -> Taken:
    return Taken({"torch:nn": Where("train.py", 3, "")}, {"torch:nn": "there"})


spoil(imports_there, "name_gone", "a release has dropped what is imported", _sound)(
    lambda seen: replace(seen, seen={"torch:nn": "gone"})
)
