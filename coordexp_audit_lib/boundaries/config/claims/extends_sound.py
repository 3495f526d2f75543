"""A cycle or a missing parent is an error that shows the chain; in a sound chain a file's own value wins over its
parents', and of several parents' values the last parent's.

If a parent wins, or is skipped because its name is misspelt, the run has the base's objective under the leaf's name; if
the first of several parents wins, that of the part that was to be replaced.

Example: root, middle and leaf all set `debug.leaf`; the value that loads is the leaf's."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.cases.edits import text_of
from coordexp_audit_lib.boundaries.config.cases.variations import Shape
from coordexp_audit_lib.boundaries.config.faults import overlooks
from coordexp_audit_lib.boundaries.config.predicates.chains import Followed, followed
from coordexp_audit_lib.boundaries.config.surfaces import CHAIN, LOAD, ChainRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.nested import lookup, merge

PRECEDENCE = {"root": "root", "middle": "middle", "leaf": "leaf"}
LAST_WINS = {"own": "leaf", "one": "third", "two": "second", "three": "first", "above": "base"}


@claim(
    severity="P1",
    kind="B",
    remedy="Carry the chain of files while resolving, and print it in both errors; merge parents first.",
)
def extends_sound(ctx: Context) -> Iterator[Violation | Problem]:
    bench = Bench(ctx)
    bench.must_load()
    for shape in broken_chains(bench):
        yield from shape.judged(ctx, "A config with")
    yield from _precedence(ctx)
    yield from _order(ctx)


extends_sound.on(Followed, followed)


def broken_chains(bench: Bench) -> Iterator[Shape]:
    """Cycles of one, two and three files, and parents that do not exist, one and two hops away."""
    names = ("audit_first.yaml", "audit_second.yaml", "audit_third.yaml")
    for length in (1, 2, 3):
        ring = names[:length]
        files = _linked(bench, list(itertools.pairwise((*ring, ring[0]))))
        yield Shape(f"a cycle of {length} file(s)", "configs/audit/audit_first.yaml", files, ring)
    for length in (1, 2):
        line = (*names[:length], "audit_absent.yaml")
        files = _linked(bench, list(itertools.pairwise(line)))
        yield Shape(f"a missing parent {length} hop(s) away", "configs/audit/audit_first.yaml", files, line)


def _linked(bench: Bench, links: list[tuple[str, str]]) -> dict[str, str]:
    """Files that each extend the next; the first is a whole config, so that nothing else is wrong with it."""
    return {
        f"configs/audit/{name}": text_of(bench.chain.merged if i == 0 else {}, [parent])
        for i, (name, parent) in enumerate(links)
    }


def _precedence(ctx: Context) -> Iterator[Problem]:
    """Three files that set the same keys, one less in each child: the value set nearest the leaf stays."""
    names = [f"configs/audit/audit_{level}.yaml" for level in ("leaf", "middle", "root")]
    keys = list(PRECEDENCE)
    files = {}
    for i, (name, level) in enumerate(zip(names, reversed(keys), strict=True)):
        parent = [posixpath.basename(n) for n in names[i + 1 : i + 2]]
        files[name] = text_of({"debug": dict.fromkeys(keys[2 - i :], level)}, parent)
    answer = ctx.ask(CHAIN, ChainRequest(names[0], files))
    ctx.judged()
    got = "refused" if answer.content is None else lookup(answer.content.merged, ("debug",))
    if got != PRECEDENCE:
        message = "In a chain of three files a key does not keep the value that was set nearest the leaf."
        yield Problem(message, names[0], PRECEDENCE, got, files)


def _order(ctx: Context) -> Iterator[Problem]:
    """A leaf of three parents, the last of which has a parent too: of what several set, the last one's stays."""
    sets = {
        "leaf": {"own": "leaf"},
        "first": dict.fromkeys(("own", "one", "two", "three", "above"), "first"),
        "second": dict.fromkeys(("own", "one", "two"), "second"),
        "third": dict.fromkeys(("own", "one"), "third"),
        "base": dict.fromkeys(("own", "above"), "base"),
    }
    parents = {"leaf": ("first", "second", "third"), "third": ("base",)}
    files = {
        f"configs/audit/audit_{name}.yaml": text_of({"debug": own}, [f"audit_{p}.yaml" for p in parents.get(name, ())])
        for name, own in sets.items()
    }
    leaf = next(iter(files))
    answer = ctx.ask(CHAIN, ChainRequest(leaf, files))
    ctx.judged()
    got = "refused" if answer.content is None else lookup(answer.content.merged, ("debug",))
    if got != LAST_WINS:
        message = "Of the values that several parents set, it is not the last parent's that stays."
        yield Problem(message, leaf, LAST_WINS, got, files)


fault(extends_sound, "missing_parent_skipped", LOAD, "a missing parent is skipped")(overlooks(r"no such file"))
fault(extends_sound, "cycle_cut", LOAD, "the file that closes a cycle is passed over")(overlooks(r"a cycle of parents"))


@fault(extends_sound, "parents_win", CHAIN, "a parent's value wins over the leaf's own")
def parents_win(request: ChainRequest, honest: Honest) -> Any:
    found = honest(request)
    merged: dict[str, Any] = {}
    for file in found.files:
        merged = merge(merged, file.raw)
    return msgspec.structs.replace(found, merged=merged)


@fault(extends_sound, "first_parent_wins", CHAIN, "of several parents the first one's value stays")
def first_parent_wins(request: ChainRequest, honest: Honest) -> Any:
    """The parents of every file are read from the last to the first."""
    found = honest(request)
    turned = {f.path: text_of(f.raw, f.extends[::-1]) for f in found.files}
    return msgspec.structs.replace(found, merged=honest(ChainRequest(request.config, turned)).merged)
