"""The role of every token of an assistant text: structure, desc, coordinate, closure; and the object it belongs to.

Roles are first given to bytes, then to tokens: a BPE token that covers bytes of two roles, or of two objects,
straddles.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import msgspec

from coordexp_audit_lib.kit.coordjson import Container, Entry, Order, salvage
from coordexp_audit_lib.kit.profile import QWEN3_VL, Profile
from coordexp_audit_lib.kit.tokenizer import COORD_0, COORD_BINS, byte_symbols, encode, qwen

STRUCTURE, DESC, COORDINATE, CLOSURE = "structure", "desc", "coordinate", "closure"
ROLES = (STRUCTURE, DESC, COORDINATE, CLOSURE)
VOCABULARY: Profile = replace(QWEN3_VL, first_coordinate=COORD_0, coordinates=COORD_BINS)
"""Of the tokenizer that texts are asked with."""


@lru_cache(maxsize=4096)
def piece(token: int) -> bytes:
    """The bytes that a token stands for; none for an id that the vocabulary lacks."""
    text = str(qwen().id_to_token(token) or "")
    symbols = _bytes_of_symbols()
    special = VOCABULARY.pad is not None and token >= VOCABULARY.pad  # the first that stands for its own name
    return text.encode() if special else bytes(symbols[c] for c in text)


@lru_cache(maxsize=1)
def _bytes_of_symbols() -> dict[str, int]:
    return {symbol: b for b, symbol in byte_symbols().items()}


def text_of(ids: list[int]) -> bytes:
    return b"".join(piece(t) for t in ids)


def shown(token: int) -> str:
    """A token as text; a part of a character shows as the replacement sign."""
    return piece(token).decode("utf-8", "replace")


def is_coordinate(token: int) -> bool:
    first = VOCABULARY.first_coordinate
    return first is not None and first <= token < first + VOCABULARY.coordinates


def canonical(ids: list[int]) -> list[int]:
    """The tokens that the same text has when it is tokenized as one; a text that is no UTF-8 stays as it is."""
    try:
        return encode(text_of(ids).decode("utf-8"))
    except UnicodeDecodeError:
        return ids


def around(ids: list[int], seam: int) -> list[int]:
    """The tokens that touch the byte before and the byte behind the seam."""
    at, found = 0, []
    for t in ids:
        end = at + len(piece(t))
        if at <= seam <= end and end > seam - 1 and at < seam + 1:
            found.append(t)
        at = end
    return found


class Token(msgspec.Struct, frozen=True):
    """roles: those that its bytes have, in the order of the bytes. objects: the records that its bytes belong to.

    outside: some of its bytes belong to no record (the container's brackets, the commas between records).
    """

    id: int
    span: tuple[int, int]
    roles: tuple[str, ...]
    objects: tuple[int, ...]
    outside: bool

    @property
    def role(self) -> str:
        """The one role, or the roles joined by `+`."""
        return "+".join(self.roles)

    @property
    def straddles(self) -> bool:
        return len(self.roles) > 1 or len(self.objects) > 1

    def inside(self, index: int) -> bool:
        """All its bytes belong to that record."""
        return self.objects == (index,) and not self.outside


class Layout(msgspec.Struct, frozen=True):
    """The tokens of an assistant text with their roles, and its records in order."""

    text: bytes
    tokens: list[Token]
    container: Container | None

    @property
    def records(self) -> list[Entry]:
        return self.container.entries if self.container else []

    def of(self, index: int) -> list[int]:
        """Positions of the tokens that touch a record."""
        return [p for p, t in enumerate(self.tokens) if index in t.objects]

    def between(self, index: int) -> list[int]:
        """Positions of the tokens that cover a byte between the record before and this one; none for the first."""
        if not 0 < index < len(self.records):
            return []
        start, end = self.records[index - 1].span[1], self.records[index].span[0]
        return [p for p, t in enumerate(self.tokens) if t.span[0] < end and t.span[1] > start]

    def slots(self, index: int) -> list[int]:
        """Positions of a record's coordinate tokens; what a desc spells is none."""
        start, end = self.records[index].geometry_span
        tokens = ((p, self.tokens[p]) for p in self.of(index))
        return [p for p, t in tokens if t.roles == (COORDINATE,) and start <= t.span[0] < end]

    def closing(self) -> list[int]:
        """Positions of the token with the outermost closing brace, and of `<|im_end|>` after it."""
        if self.container is None or self.container.end is None:
            return []
        brace = self.container.end - 1
        first = [p for p, t in enumerate(self.tokens) if t.span[0] <= brace < t.span[1]]
        end = [p for p, t in enumerate(self.tokens) if t.id == VOCABULARY.turn_end and t.span[0] > brace]
        return first + end[:1]


def layout(ids: list[int], order: Order) -> Layout:
    """Read an assistant text token by token."""
    text = text_of(ids)
    found = salvage(text, order)
    roles, owner = bytearray(len(text)), [-1] * len(text)
    for index, record in enumerate(found.entries if found else []):
        owner[slice(*record.span)] = [index] * (record.span[1] - record.span[0])
        if record.desc_span:
            roles[slice(*record.desc_span)] = bytes([1]) * (record.desc_span[1] - record.desc_span[0])
    if found and found.end is not None:
        roles[found.end - 1 :] = bytes([3]) * (len(text) - found.end + 1)
    tokens, at = [], 0
    for t in ids:
        end = at + len(piece(t))
        touched = (2,) if is_coordinate(t) else tuple(dict.fromkeys(roles[at:end]))
        owners = set(owner[at:end])
        names = tuple(ROLES[r] for r in touched)
        tokens.append(Token(t, (at, end), names, tuple(sorted(owners - {-1})), -1 in owners))
        at = end
    return Layout(text, tokens, found)
