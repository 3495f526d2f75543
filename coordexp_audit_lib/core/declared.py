"""Pipelines that an adapter declares: what it says of one, as data, and the pipeline that the engine makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.errors import SurfaceUnbound, UsageError
from coordexp_audit_lib.core.pipeline import Pipeline

PROFILE = ".profile"  # `<boundary>.profile` of a contract is the declared one
OF_ADAPTERS = ("template.labels_asked_of", "packing.lacks")  # keys of a contract that only an adapter has


class Answered(msgspec.Struct, frozen=True):
    """The place of what answers a surface: the pipeline's own function where the adapter names it, else the adapter's.

    path: relative, with `/`. line: from 1. symbol: `module:qualname`. digest: of the source.
    """

    path: str
    line: int
    symbol: str
    digest: str


class Declaration(msgspec.Struct, frozen=True):
    """What an adapter says of its pipeline.

    file: the adapter's name. digest: of its text. distributions: packages whose versions count. profile: as
    `kit.profile.named` takes it. policies: those that it keeps (`boundaries.policies`). contract: more values that
    claims read. repository: its public one, `owner/name`. demands: by claim, the path, requirement and commit in that
    repository that demand it; None: whoever wrote the adapter demands every universal claim. preload: packages to
    import and `module:function` to call before workers are forked. surfaces: what answers each.
    """

    name: str
    title: str
    file: str
    digest: str
    distributions: list[str] = []
    profile: str = ""
    policies: list[str] = []
    contract: dict[str, Any] = {}
    repository: str = ""
    demands: dict[str, tuple[str, str, str]] | None = None
    preload: list[str] = []
    surfaces: dict[str, Answered] = {}


class Promised(dict[str, Any]):
    """A contract by name; what it does not say leaves a claim that reads it unbound."""

    def __init__(self, values: Mapping[str, Any], profile: str) -> None:
        super().__init__(values)
        self.profile = profile

    def get(self, key: str, default: Any = None) -> Any:
        if key.endswith(PROFILE) and key not in self:
            return self.profile or default
        return super().get(key, default)

    def __missing__(self, key: str) -> Any:
        if key.endswith(PROFILE) and self.profile:
            return self.profile
        remedy = "say it in the adapter's contract"
        raise SurfaceUnbound("the adapter does not say what the pipeline promises there", where=key, remedy=remedy)


class Demands(Mapping[str, tuple[Citation, ...]]):
    """Citations for the claims that a declaration demands; of those that it demands as a whole, the adapter itself."""

    def __init__(self, said: Declaration) -> None:
        self.said = said
        self.cited = {claim: (Citation(said.repository, *where),) for claim, where in (said.demands or {}).items()}

    def __getitem__(self, claim: str) -> tuple[Citation, ...]:
        if self.said.demands is None:
            return (Citation(self.said.name, self.said.file, "whoever wrote it demands it", self.said.digest),)
        return self.cited[claim]

    def get(self, claim: str, default: Any = None) -> Any:
        return self[claim] if self.said.demands is None or claim in self.cited else default

    def __iter__(self) -> Any:
        return iter(self.cited)

    def __len__(self) -> int:
        return len(self.cited)


class Declared(Pipeline):
    """A pipeline that is known by what its adapter says."""

    variable, configs, repository, preload = "", (), "", ""

    def __init__(self, said: Declaration, answers: Path = Path()) -> None:
        self.said, self.answers = said, answers
        self.name, self.title, self.repository = said.name, said.title or said.name, said.repository
        self.distributions = tuple(said.distributions)
        self.recordings = self.reference = Path()

    def owns(self, root: Path) -> bool:
        return False

    def wanted(self) -> str:
        return "an adapter"

    def era(self, root: Path) -> str:
        return ""

    def config_in(self, root: Path, config: str) -> str:
        raise UsageError("the pipeline keeps no configs in a tree", where=config, remedy="give the file to --config")

    def contract(self, era: str = "") -> Mapping[str, Any]:
        return Promised(self.said.contract, self.said.profile)

    def keeps(self, policy: str) -> bool:
        return policy in self.said.policies

    def citations(self, era: str = "") -> Mapping[str, tuple[Citation, ...]]:
        return Demands(self.said)

    def permitted(self, era: str = "") -> Mapping[str, str]:
        return {}
