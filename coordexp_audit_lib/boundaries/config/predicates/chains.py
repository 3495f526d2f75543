"""How a config file becomes one mapping: parents first, the leaf last, and which shapes of chain are allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from coordexp_audit_lib.boundaries.config.predicates.inheritance import parent_path
from coordexp_audit_lib.boundaries.config.predicates.values import Broken, broken
from coordexp_audit_lib.boundaries.config.surfaces import Chain, SourceFile
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.kit.nested import get, merge
from coordexp_audit_lib.source.parsing import yaml_value

Read = Callable[[str], str | None]

_ABSENT: Any = object()


class ChainBroken(Exception):
    """The chain of parents cannot be followed."""

    def __init__(self, path: str, what: str, remedy: str) -> None:
        self.broken = broken(path, what, remedy, "config.extends_sound")
        super().__init__(str(self.broken))


class Followed:
    """A config's chain of parents, from its leaf on, with what its pipeline promises. read: as of `resolve`."""

    def __init__(self, read: Read, leaf: str, contract: Mapping[str, Any]) -> None:
        self.read, self.leaf, self.contract = read, leaf, contract

    @cached_property
    def chain(self) -> Chain:
        """The chain.

        Raises:
            ChainBroken: see `resolve`.
        """
        return resolve(self.read, self.leaf)


def followed(one: Followed, ledger: Ledger) -> Iterator[Problem]:
    """The chain can be followed to its end; counts chains."""
    ledger.judged()
    try:
        one.chain  # noqa: B018
    except ChainBroken as error:
        yield error.broken.problem


def by_profile(claim: str) -> Callable[[Followed, Ledger], Iterator[Problem]]:
    """How the chain of a stage-2 leaf decides a claim about its shape; counts leaves."""

    def of_chain(one: Followed, ledger: Ledger) -> Iterator[Problem]:
        if not is_profile(one.leaf, one.contract):
            raise Undecided(f"{one.leaf} is no stage-2 leaf")
        try:
            chain = one.chain
        except ChainBroken as error:
            raise Undecided(f"its parents can't be followed: {error}") from error
        ledger.judged()
        yield from (b.problem for b in check_profile(chain, one.contract) if b.claim == claim)

    return of_chain


def is_profile(path: str, contract: Mapping[str, Any]) -> bool:
    """Whether a file stands where stage-2 leaves do."""
    return path.startswith(contract["config.profile"]["folders"]) and path.endswith(".yaml")


DEEPEST = 50  # files, each of which extends the next


def resolve(read: Read, leaf: str) -> Chain:
    """Follow the parents of `leaf`; `read` gives the text of a path, or None where there is no file.

    Raises:
        ChainBroken: a cycle, a missing parent, or a file that is no mapping.
    """
    files: dict[str, SourceFile] = {}
    merged = _resolve(read, leaf, (), files, {})
    return Chain(list(files.values()), merged)


def _resolve(
    read: Read, path: str, above: tuple[str, ...], files: dict[str, SourceFile], known: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """known: what was resolved before: a parent that many files share is resolved once."""
    if path in known:
        return known[path]
    shown = " -> ".join((*above, path)[-DEEPEST:])
    if len(above) > DEEPEST:
        raise ChainBroken(path, f"more than {DEEPEST} files extend one another: {shown}", "write one flat file")
    if path in above:
        raise ChainBroken(path, f"a cycle of parents: {shown}", "take one `extends` out of the cycle")
    content = read(path)
    if content is None:
        raise ChainBroken(path, f"no such file, in the chain {shown}", "correct the `extends` that names it")
    raw = yaml_value(content) or {}
    if not isinstance(raw, dict):
        raise ChainBroken(path, f"the file holds no mapping, in the chain {shown}", "write a mapping")
    parents = raw.pop("extends", None)
    names = [str(p) for p in parents] if isinstance(parents, list) else [] if parents is None else [str(parents)]
    files.setdefault(path, SourceFile(path, names, raw))
    merged: dict[str, Any] = {}
    for name in names:
        merged = merge(merged, _resolve(read, parent_path(path, name), (*above, path), files, known))
    known[path] = merge(merged, raw)
    return known[path]


def check_profile(chain: Chain, contract: Mapping[str, Any]) -> Iterator[Broken]:
    """A stage-2 leaf has one parent, the base, which has none, and states the run's knobs by itself."""
    leaf, profile = chain.files[0], contract["config.profile"]
    if not is_profile(leaf.path, contract):
        return
    parent = profile["parent"]
    shown = "; ".join(f"{f.path} -> {', '.join(f.extends)}" for f in chain.files if f.extends)
    if leaf.extends != [parent] or any(f.extends for f in chain.files[1:]):
        what = f"a stage-2 leaf extends exactly {parent}, which extends nothing; found {shown or 'no parent'}"
        yield broken(leaf.path, what, "write what the other files set into the leaf", "config.profile_one_hop")
    for key in profile["explicit"]:
        if get(leaf.raw, key, _ABSENT) is _ABSENT:
            what = f"a stage-2 leaf states it by itself, and {leaf.path} does not"
            yield broken(key, what, "set it in the leaf", "config.profile_explicit")
