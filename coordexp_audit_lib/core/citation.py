"""Citations: where a demand is written down, in one form for every claim."""

from __future__ import annotations

import msgspec


class Citation(msgspec.Struct, frozen=True):
    """A place in somebody's text or code that demands what a claim demands.

    repository: `owner/name`. path: of a file in it. requirement: the heading, section or symbol there. commit: a full
    or abbreviated hash, or a release's tag, at which it was read.
    """

    repository: str
    path: str
    requirement: str
    commit: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.commit}:{self.path} ({self.requirement})"
