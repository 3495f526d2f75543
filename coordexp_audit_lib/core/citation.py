"""Citations: where a demand is written down, in one form for every claim."""

from __future__ import annotations

from fnmatch import fnmatch

import msgspec


class Citation(msgspec.Struct, frozen=True):
    """A place in somebody's text or code that demands what a claim demands.

    repository: `owner/name`. path: of a file in it. requirement: the heading, section or symbol there. commit: a full
    or abbreviated hash, or a release's tag, at which it was read. scope: the configs that the demand is about, as a
    pattern of their paths; "": all.
    """

    repository: str
    path: str
    requirement: str
    commit: str
    scope: str = ""

    def covers(self, config: str) -> bool:
        """Whether the demand is about that config."""
        return not self.scope or fnmatch(config, self.scope)

    def __str__(self) -> str:
        return f"{self.repository}@{self.commit}:{self.path} ({self.requirement})"
