"""A stage-2 leaf under prod/ or smoke/ extends exactly ../base.yaml; chains and double parents are refused and the
chain is shown.

With one hop a reader finds every value of a run in two files. A longer chain lets a change to a file in between alter
the objective of runs that do not name it.

Example: a leaf that extends another leaf must be refused, and the error must show both names."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from coordexp_audit_lib.boundaries.config.cases.bench import Bench, profile_bench
from coordexp_audit_lib.boundaries.config.cases.edits import text_of
from coordexp_audit_lib.boundaries.config.cases.variations import Shape
from coordexp_audit_lib.boundaries.config.faults import overlooks
from coordexp_audit_lib.boundaries.config.predicates.chains import Followed, by_profile
from coordexp_audit_lib.boundaries.config.predicates.inheritance import parent_path
from coordexp_audit_lib.boundaries.config.surfaces import LOAD
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Undecided


@claim(
    severity="P2",  # what such a leaf trains is what its chain says; it is harder to see
    kind="B",
    remedy="Check the whole chain of a leaf, not only its own `extends`, and print it in the error.",
)
def profile_one_hop(ctx: Context) -> Iterator[Violation]:
    profile = ctx.contract["config.profile"]
    if not profile["parent"]:
        raise Undecided(profile["free"])
    bench = profile_bench(ctx)
    bench.must_load()
    for shape in shapes(bench, profile["parent"]):
        yield from shape.judged(ctx, "A stage-2 leaf with")


profile_one_hop.on(Followed, by_profile("config.profile_one_hop"))


def shapes(bench: Bench, parent: str) -> Iterator[Shape]:
    """Stage-2 leaves with other parents than exactly the base."""
    leaf = bench.chain.files[0]
    folder = posixpath.dirname(leaf.path)
    above, base = posixpath.dirname(folder), parent_path(leaf.path, parent)
    middle = {posixpath.join(above, "audit_middle.yaml"): text_of(bench.chain.merged, [posixpath.basename(base)])}
    smoke = posixpath.join(above, "smoke", "audit_leaf.yaml")
    two, one, sibling = [parent, "../audit_middle.yaml"], ["../audit_middle.yaml"], ["audit_sibling.yaml"]
    beside = {posixpath.join(folder, sibling[0]): text_of(leaf.raw, leaf.extends)}

    def below(path: str, parents: list[str]) -> dict[str, str]:
        return {path: text_of(leaf.raw if parents else bench.chain.merged, parents)}

    for what, path, parents, more in (
        ("two parents", leaf.path, two, middle),
        ("a file between it and the base", leaf.path, one, middle),
        ("another leaf as its parent", leaf.path, sibling, beside),
        ("no parent", leaf.path, [], {}),
        ("two parents, under smoke", smoke, two, middle),
    ):
        yield Shape(what, path, {**below(path, parents), **more}, (posixpath.basename(path), *parents))
    known = next((f for f in bench.chain.files if f.path == base), None)
    if known is not None:
        longer = {base: text_of(known.raw, known.extends or ["audit_root.yaml"])}
        longer[parent_path(base, "audit_root.yaml")] = text_of({"debug": {"enabled": False}})
        yield Shape("a base that has a parent itself", leaf.path, longer, ())


fault(profile_one_hop, "two_hops_tolerated", LOAD, "stage-2 leaves may have any parents")(
    overlooks(r"a stage-2 leaf extends exactly")
)
fault(profile_one_hop, "base_may_extend", LOAD, "the parents of the base are not looked at")(
    overlooks(r"a stage-2 leaf extends exactly", lambda request: request.config not in request.files)
)
