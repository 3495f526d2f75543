"""Contracts with upstream symbols, as a pipeline writes them down: which symbols it uses, and what it relies on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from coordexp_audit_lib.source.facts import Ask

BOUNDARY = "upstream"


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
    it. strangers: parameters that it must not have, for without them a call computes something else. The rest: see
    `Ask`; a member, word, expression or key that is not there is a change.
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
    strangers: tuple[str, ...] = ()

    @property
    def ask(self) -> Ask:
        """What is to be asked of a release, to judge the part."""
        fields = tuple(f.name for f in self.fields)
        called = self.call is not None
        return Ask(self.symbol, self.homes, called, fields, self.members, self.words, self.expressions, self.keys)


class Contract(msgspec.Struct, frozen=True):
    """One surface of the matrix. distribution: as on PyPI. claim: its id. used: by which files."""

    id: str
    distribution: str
    claim: str
    title: str
    used: str
    parts: tuple[Part, ...]


def read(written: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> tuple[Contract, ...]:
    """Contracts from a pipeline's plain values, in their order.

    Args:
        written: distribution -> id -> `claim` (without the boundary), `title`, `used`, and parts by symbol: those that
            the pipeline `imports`, and those that it `uses` otherwise. A part's values are text: `or` (homes: modules
            or symbols), `call` (`(_, name, keyword=)`, `cls(…)`, `none(…)`), `fields` (`name: type = default; …`),
            `members`, `words`, `keys`, `strangers` (names between spaces), `expressions` (between `; `).
    """
    return tuple(
        Contract(id, distribution, f"{BOUNDARY}.{c['claim']}", c["title"], c["used"], tuple(_parts(c)))
        for distribution, listed in written.items()
        for id, c in listed.items()
    )


def chosen(contracts: Iterable[Contract], distribution: str = "", claim: str = "") -> list[Contract]:
    """Those with a distribution, or of a claim; all by default."""
    return [c for c in contracts if distribution in ("", c.distribution) and claim in ("", c.claim)]


def asks(contracts: Iterable[Contract]) -> list[Ask]:
    """What is to be asked of a release, to judge them: part by part."""
    return [part.ask for contract in contracts for part in contract.parts]


def _parts(contract: Mapping[str, Any]) -> Iterator[Part]:
    for how, symbols in contract.items():
        for symbol, said in symbols.items() if how in ("imports", "uses") else ():
            qualname = symbol.partition(":")[2]
            homes = (h if ":" in h or not qualname else f"{h}:{qualname}" for h in said.get("or", "").split())
            yield Part(
                symbol,
                tuple(homes),
                _call(said["call"]) if "call" in said else None,
                tuple(map(_field, filter(None, said.get("fields", "").split("; ")))),
                tuple(said.get("members", "").split()),
                tuple(said.get("words", "").split()),
                tuple(filter(None, said.get("expressions", "").split("; "))),
                tuple(said.get("keys", "").split()),
                how == "imports",
                tuple(said.get("strangers", "").split()),
            )


def _call(text: str) -> Call:
    on, _, inside = text.partition("(")
    given = [g.strip() for g in inside.removesuffix(")").split(",") if g.strip()]
    positions = tuple(g for g in given if not g.endswith("="))
    keywords = tuple(g.removesuffix("=") for g in given if g.endswith("="))
    return Call(len(positions), keywords, on == "cls", on == "none", () if "_" in positions else positions)


def _field(text: str) -> Field:
    head, relied, default = text.partition(" = ")
    name, _, type = head.partition(": ")
    return Field(name, type, default if relied else None)
