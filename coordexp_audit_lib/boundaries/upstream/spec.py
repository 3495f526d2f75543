"""How a contract with an upstream symbol is written down: as data."""

from __future__ import annotations

import msgspec

from coordexp_audit_lib.boundaries.upstream.facts import Ask


class Call(msgspec.Struct, frozen=True):
    """How the pipeline calls it.

    positional: how many arguments come by position (`self` not counted). keywords: given by name. On the class itself:
    with the instance left out (`of_class`, it must be static), or with None for it (`none_for_self`). order: what the
    positions must mean, where a parameter put between them would take another's place.
    """

    positional: int = 0
    keywords: tuple[str, ...] = ()
    of_class: bool = False
    none_for_self: bool = False
    order: tuple[str, ...] = ()


class Field(msgspec.Struct, frozen=True):
    """A dataclass field that is used. type: what is put in, empty for any. default: what is relied on; None if not."""

    name: str
    type: str = ""
    default: str | None = None


class Part(msgspec.Struct, frozen=True):
    """One symbol of a contract: `module:qualname` as the pipeline reaches it, and what it relies on.

    homes: names in other releases. imported: whether the pipeline itself imports it from there, so that a move breaks
    it. The rest: see `Ask`; a member, word, expression or key that is not there is a change.
    """

    symbol: str
    homes: tuple[str, ...] = ()
    call: Call | None = None
    fields: tuple[Field, ...] = ()
    members: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    expressions: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    imported: bool = True

    @property
    def ask(self) -> Ask:
        return Ask(
            self.symbol,
            self.homes,
            self.call is not None,
            tuple(f.name for f in self.fields),
            self.members,
            self.words,
            self.expressions,
            self.keys,
        )


class Contract(msgspec.Struct, frozen=True):
    """One surface of the matrix. distribution: as on PyPI. invariant: the claim it belongs to. used: by which files."""

    id: str
    distribution: str
    invariant: str
    title: str
    used: str
    parts: tuple[Part, ...]
