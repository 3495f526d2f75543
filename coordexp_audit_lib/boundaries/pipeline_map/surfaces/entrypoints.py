"""What each launcher starts, and whether it and its config stand."""

from __future__ import annotations

import msgspec

from coordexp_audit_lib.core.surface import surface
from coordexp_audit_lib.source.shell import Start, refused, starts
from coordexp_audit_lib.source.tree import Tree


class EntrypointFiles(msgspec.Struct, frozen=True):
    id: str
    launcher: str
    config: str


class EntrypointsRequest(msgspec.Struct, frozen=True):
    entrypoints: list[EntrypointFiles]


class StartedEntrypoint(msgspec.Struct, frozen=True):
    """starts: what the launcher starts by itself and through the scripts and modules that it starts, in order.

    refused_at: the line of the launcher at which its shell stops, 0 where it reads all.
    """

    id: str
    launcher: str
    launcher_exists: bool
    config: str
    config_exists: bool
    starts: list[Start]
    refused_at: int = 0


class Entrypoints(msgspec.Struct, frozen=True):
    entrypoints: list[StartedEntrypoint]


def entrypoints(tree: Tree, request: EntrypointsRequest) -> Entrypoints:
    """Read the launchers' text; none is run."""
    found = []
    for e in request.entrypoints:
        stands = tree.exists(e.launcher)
        told = starts(tree, e.launcher) if stands else []
        stops = refused(tree.text(e.launcher)) if stands else 0
        found.append(StartedEntrypoint(e.id, e.launcher, stands, e.config, tree.exists(e.config), told, stops))
    return Entrypoints(found)


ENTRYPOINTS = surface(
    "pipeline_map.entrypoints",
    EntrypointsRequest,
    Entrypoints,
    "what each launcher starts, read from its text",
    static=entrypoints,
)
