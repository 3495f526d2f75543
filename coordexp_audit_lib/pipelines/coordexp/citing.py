"""How CoordExp's own text is cited: as read at the reference commit, and what became of it at later eras.

Only what is written to be demanded is cited: requirements, and rules of the documents. What code does demands nothing.
"""

from collections.abc import Iterable, Mapping
from functools import partial

import msgspec

from coordexp_audit_lib.core.citation import Citation

REPOSITORY, COMMIT, NEWEST = "Pein2017/CoordExp", "b46e74f", "cd05f3b"
# Era -> the commit at which its citations were read. Any other era is judged by what the reference commit says.
COMMITS = {"2026-05": NEWEST}

Cited = tuple[Citation, ...]


def spec(capability: str, requirement: str) -> Citation:
    """A requirement of one of the project's OpenSpec capabilities."""
    return Citation(REPOSITORY, f"openspec/specs/{capability}/spec.md", requirement, COMMIT)


def document(path: str, heading: str) -> Citation:
    """A section of the project's documents."""
    return Citation(REPOSITORY, f"docs/{path}", heading, COMMIT)


def change(name: str, capability: str, requirement: str) -> Citation:
    """A requirement of a change that no capability has taken up: on its way, or archived without."""
    return Citation(REPOSITORY, f"openspec/changes/{name}/specs/{capability}/spec.md", requirement, COMMIT)


def newest(capability: str, requirement: str, change: str = "") -> Citation:
    """A requirement that the reference commit does not have: of a capability, or of a change on its way into one."""
    folder = f"openspec/changes/{change}/specs" if change else "openspec/specs"
    return Citation(REPOSITORY, f"{folder}/{capability}/spec.md", requirement, NEWEST)


stage2 = partial(spec, "stage2-ab-training")
matching = partial(spec, "rollout-matching-sft")
audit = partial(spec, "training-pipeline-audit")


_ONE_HOP = stage2("Stage-2 AB profile hierarchy is canonical and one-hop")
_EXPLICIT = stage2("Stage-2 AB downstream profiles explicitly pin high-signal knobs")
_OBJECTIVE = stage2("Hybrid objective preserves JSON structure CE and adds bbox geometry losses")
_REUSE = stage2("Channel-B reuses rollout-matching infra (strict parse/match + mandatory FN append)")
_SOFTCTX = stage2("Channel-A performs iterative soft self-context via N× full-forwards (no rollout)")
_AGGREGATES = stage2("Channel-B vLLM rollouts honor repeat-aware termination settings")
_SPARSE = spec("trainer-metrics-components", "Sparse gauge aggregation avoids gradient-accumulation dilution")
_CONTRACT = "docs/data/JSONL_CONTRACT.md"
_PACKS = "openspec/changes/stage1-static-packing/specs/packing-dataset/spec.md"

# Era -> (file, requirement) at the reference commit -> what says it in that era; None where nothing does any more. A
# file alone stands for all that is cited of it.
MOVED: dict[str, dict[tuple[str, str], tuple[str, str] | None]] = {
    "2026-05": {
        (_ONE_HOP.path, _ONE_HOP.requirement): (
            _ONE_HOP.path,
            "Stage-2 AB profile hierarchy supports the current shared-base layout",
        ),
        (_EXPLICIT.path, _EXPLICIT.requirement): (
            _EXPLICIT.path,
            "Stage-2 AB canonical profiles resolve high-signal knobs after inheritance",
        ),
        (_OBJECTIVE.path, _OBJECTIVE.requirement): (
            _OBJECTIVE.path,
            "Hybrid objective preserves Channel-A anchoring and uses clean-prefix Channel-B supervision",
        ),
        (_REUSE.path, _REUSE.requirement): (
            _REUSE.path,
            "Channel-B reuses rollout-matching infra with typed final insertion ordering",
        ),
        (_SOFTCTX.path, _SOFTCTX.requirement): (
            "openspec/specs/teacher-forcing-unified-loss-registry/spec.md",
            "Stage-2 Channel-A uses GT context only",
        ),
        (_AGGREGATES.path, _AGGREGATES.requirement): None,
        (_SPARSE.path, _SPARSE.requirement): None,
        (_CONTRACT, ""): ("docs/data/CONTRACT.md", ""),
        (_PACKS, ""): ("openspec/specs/packing-dataset/spec.md", ""),
    }
}


def in_era(cited: Mapping[str, Cited], era: str, changes: Mapping[str, Cited]) -> dict[str, Cited]:
    """What was read at the reference commit, as it stands in an era; `changes` are read at that era's own commit."""
    if era not in COMMITS:
        return dict(cited)
    moved = {claim: tuple(_moved(found, era)) for claim, found in cited.items()}
    return {**moved, **{claim: tuple(_stamped(c, era) for c in found) for claim, found in changes.items()}}


def _moved(found: Iterable[Citation], era: str) -> Iterable[Citation]:
    for cited in found:
        moves = MOVED.get(era, {})
        key = next((k for k in ((cited.path, cited.requirement), (cited.path, "")) if k in moves), None)
        target = (cited.path, cited.requirement) if key is None else moves[key]
        if target is not None:
            path, requirement = target
            named = {"path": path, "requirement": requirement or cited.requirement}
            yield _stamped(msgspec.structs.replace(cited, **named), era)


def _stamped(cited: Citation, era: str) -> Citation:
    return msgspec.structs.replace(cited, commit=COMMITS[era])
