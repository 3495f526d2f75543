"""Releases that are named together fit each other: the versions that one requires of another are those that are named,
and what its code imports of the other, or gives to its classes by name, is there.

Each release may keep its contracts with the project, and the two of them not with one another: ms-swift imports from
vLLM and transformers wherever it likes. What is missing stops the run, or sends it behind a fallback.

Example: ms-swift 3.10.3 requires transformers below 4.58, and gives `best_of` to vLLM's `SamplingParams`, which vLLM
0.33 does not take."""

from __future__ import annotations

from collections.abc import Callable

from coordexp_audit_lib.boundaries.upstream.artifact.pairs import Judged, Pair, fits, fitted
from coordexp_audit_lib.boundaries.upstream.predicates.installed import swift
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil
from coordexp_audit_lib.source.archive import Files
from coordexp_audit_lib.source.package import Source

release_pairs = artifact_claim(
    id="upstream.release_pairs",
    doc=__doc__,
    severity="P0",
    remedy="install releases that fit each other: those that the project was written for, or newer ones of both",
    spec=(swift("setup.py", "install_requires"),),
    on={Pair: fits, Judged: fitted},
)

SERVED = "class Params:\n    def __init__(self, n=1, best_of=None):\n        pass\n"
USES = "from served import Params\n\ndef prepare():\n    return Params(n=1, best_of=2)\n"


def _release(name: str, version: str, code: str, requires: str = "") -> Source:
    told = f"Requires-Dist: {requires}\n" if requires else ""
    texts = {f"{name}/__init__.py": code, f"{name}.dist-info/METADATA": f"Name: {name}\nVersion: {version}\n{told}\n"}
    return Source(name, name, version, "wheel", Files(texts, lambda path: texts[path].encode(), name))


def _sound() -> Pair:
    return Pair(_release("using", "1.2.3", USES, "served<2"), _release("served", "1.9", SERVED))


def _with(code: str, version: str = "1.9") -> Callable[[Pair], Pair]:
    return lambda sound: Pair(sound.user, _release("served", version, code))


spoil(release_pairs, "version_refused", "the other release is newer than is required", _sound)(_with(SERVED, "2.0"))
spoil(release_pairs, "class_gone", "what is imported is not there", _sound)(_with("class Settings:\n    pass\n"))
spoil(release_pairs, "keyword_gone", "a keyword that is given is not taken", _sound)(
    _with(SERVED.replace(", best_of=None", ""))
)
