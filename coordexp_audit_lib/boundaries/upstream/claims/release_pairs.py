"""Releases that are named together fit each other: the versions that one requires of another are those that are named,
and what its code imports of the other, or gives to its classes by name, is there.

Each release may keep its contracts with the project, and the two of them not with one another: ms-swift imports from
vLLM and transformers wherever it likes. What is missing stops the run, or sends it behind a fallback.

Example: ms-swift 3.10.3 requires transformers below 4.58, and gives `best_of` to vLLM's `SamplingParams`, which vLLM
0.33 does not take."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.upstream.artifact.pairs import Judged, Pair, fits, fitted
from coordexp_audit_lib.boundaries.upstream.predicates.installed import swift
from coordexp_audit_lib.core.claim import artifact_claim

release_pairs = artifact_claim(
    id="upstream.release_pairs",
    doc=__doc__,
    severity="P0",
    remedy="install releases that fit each other: those that the project was written for, or newer ones of both",
    spec=(swift("setup.py", "install_requires"),),
    on={Pair: fits, Judged: fitted},
)
