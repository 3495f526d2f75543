"""Every config that the tree ships can be resolved: each file that it names as a parent is there, and no ring of them.

A leaf whose parent was moved or renamed starts no run, and nobody notices until somebody needs it: a smoke config that
can't be loaded tests nothing, and an ablation whose base is gone can't be repeated.

Example: `smoke/tiny.yaml` extends `../profiles/big.yaml`; the folder was renamed to `../profile`, and `tiny.yaml` was
forgotten."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.config.predicates import inheritance
from coordexp_audit_lib.boundaries.config.predicates.inheritance import ConfigFile
from coordexp_audit_lib.boundaries.config.surfaces import INHERITANCE, InheritanceRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem


@claim(severity="P1", kind="S", remedy="Name the parent where it stands now, or take the config out of the tree.")
def parents_exist(ctx: Context) -> Iterator[Problem]:
    shipped = ctx.contract["config.shipped"]
    files = ctx.value(INHERITANCE, InheritanceRequest(shipped["folder"], shipped["keys"])).files
    ctx.fact("config files", len(files))
    ctx.fact("of these with a parent", sum(bool(f.parents) for f in files))
    yield from inheritance.parents_exist(files, ctx)


def _without(files: list[ConfigFile]) -> list[ConfigFile]:
    """The files but the first that another extends."""
    parent = next(p for f in files for p, _ in f.parents)
    return [f for f in files if f.path != parent]


def _ringed(files: list[ConfigFile]) -> list[ConfigFile]:
    """The files, with the first parent extending its child."""
    child = next(f for f in files if f.parents)
    return [ConfigFile(f.path, [(child.path, 1)]) if f.path == child.parents[0][0] else f for f in files]


fault(parents_exist, "parent_renamed", INHERITANCE, "a parent is not in the tree")(
    answered(files=lambda a: _without(a.files))
)
fault(parents_exist, "parent_ring", INHERITANCE, "a parent extends its child")(
    answered(files=lambda a: _ringed(a.files))
)
