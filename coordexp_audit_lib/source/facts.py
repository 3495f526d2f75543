"""What is asked about an upstream symbol, and what is seen of it: the same facts from source and from live objects."""

from __future__ import annotations

from typing import Literal

import msgspec

ParameterKind = Literal["positional", "normal", "keyword", "args", "kwargs"]
Status = Literal["found", "gone", "outside", "undecided"]


class Ask(msgspec.Struct, frozen=True):
    """One symbol, `package.module:Class.method`, and what is wanted of it.

    homes: names that it has in other releases. call: whether its signature is wanted. fields: of a dataclass.
    members: of a class, instance attributes included. words: string constants, routes and payload keys among them, in
    its body. expressions: Python expressions in its body. keys: of the mapping that it is.
    """

    symbol: str
    homes: tuple[str, ...] = ()
    call: bool = False
    fields: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    expressions: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


class Parameter(msgspec.Struct, frozen=True):
    """positional: positional only. normal: by position or name. keyword: by name only. args, kwargs: the rest."""

    name: str
    kind: ParameterKind
    required: bool


class Level(msgspec.Struct, frozen=True):
    """One signature that a call meets; a method that hands `**kwargs` to `super()` has several, one behind another.

    own: keywords that it hands on beside its `**kwargs`, so that a caller who gives them too breaks the call.
    """

    symbol: str
    parameters: list[Parameter]
    own: list[str] = []


class FieldSeen(msgspec.Struct, frozen=True):
    """A dataclass field; default is empty where there is none."""

    name: str
    type: str
    default: str


class Seen(msgspec.Struct, frozen=True):
    """What a release has of a symbol.

    status: `outside`: it comes, or may come, from another distribution. reached: the name under which it is had, the
    asked one or another. home: where it is defined. bound: `class` (a static or class method), `self` or empty. levels:
    None where its signature is not decidable. uses_self: its body reads its first parameter. members, words,
    expressions, keys: those of the asked that are there. outside: bases in other distributions. why: of a status.
    """

    symbol: str
    status: Status
    reached: str = ""
    home: str = ""
    path: str = ""
    line: int = 0
    kind: str = ""
    bound: str = ""
    levels: list[Level] | None = None
    uses_self: bool = False
    fields: list[FieldSeen] = []
    members: list[str] = []
    words: list[str] = []
    expressions: list[str] = []
    keys: list[str] = []
    outside: list[str] = []
    why: str = ""
