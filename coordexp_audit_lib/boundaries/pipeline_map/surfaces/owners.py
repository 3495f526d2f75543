"""Where each owner of a stage stands."""

from __future__ import annotations

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.core.surface import surface
from coordexp_audit_lib.source.names import Index
from coordexp_audit_lib.source.tree import Located, Tree

FOLDER = "src"  # where an owner may have moved to


class OwnerNames(msgspec.Struct, frozen=True):
    """names: `module:symbol` at the reference commit, then at other commits."""

    names: list[str]


class OwnersRequest(msgspec.Struct, frozen=True):
    owners: list[OwnerNames]


class ResolvedOwner(msgspec.Struct, frozen=True):
    """asked: the name at the reference commit. status: `found`, `moved` (another name, or found by its last name alone
    in one place of the tree), `missing`."""

    asked: str
    status: str
    path: str = ""
    line: int = 0
    symbol: str = ""
    digest: str = ""


class Owners(msgspec.Struct, frozen=True):
    owners: list[ResolvedOwner]


def owners(tree: Tree, request: OwnersRequest) -> Owners:
    """Find each owner under its names, then by its last name alone."""
    places = Index(tree, FOLDER)
    return Owners([_resolve(tree, o.names, places) for o in request.owners])


def _resolve(tree: Tree, names: list[str], places: Index) -> ResolvedOwner:
    for i, name in enumerate(names):
        located = _located(tree, name)
        if located:
            return _standing(names[0], "moved" if i else "found", located)
    found = places.only(names[0])
    return _standing(names[0], "moved", found) if found else ResolvedOwner(names[0], "missing")


def _located(tree: Tree, name: str) -> Located | None:
    try:
        return tree.locate(name)
    except SurfaceFailed:  # the file does not parse: it owns nothing that can be pointed at
        return None


def _standing(asked: str, status: str, at: Located) -> ResolvedOwner:
    return ResolvedOwner(asked, status, at.path, at.line, at.symbol, at.digest)


OWNERS = surface(
    "pipeline_map.owners", OwnersRequest, Owners, "each owner's file, line, symbol and digest", static=owners
)
