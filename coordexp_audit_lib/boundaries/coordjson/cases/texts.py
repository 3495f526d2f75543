"""Texts to ask about, each with what the contract says of it: valid, broken, junk around, cut off, adversarial."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.coordjson.surfaces import Thing
from coordexp_audit_lib.kit import coordjson
from coordexp_audit_lib.kit.coordjson import Order, array, container

FRAGMENTS = (
    *("person", *' "\\/{}[]:,\n\t\x01é', "中文", "🐈‍⬛", "\u2028", "'", "<|coord_7|>", "<|im_end|>"),
    *('{"objects": [', "]}", '"desc": "', '"bbox_2d": [', "\\u0041", "null", "0"),
)
DESCS = (
    *("person", 'a "quoted" sign', "back\\slash\\", "} ] { [ in a row", "line\nbreak\tand tab", "🐈‍⬛ and 中文", "é"),
    *("looks like <|coord_7|>", "ends<|im_end|>", '{"objects": [', '"desc": "x", "bbox_2d": [<|coord_1|>]', "]}"),
    *("\\", '"', "a\u2028b", "\x01", "\\u0041", "t-shirt.", "a, b", "{'objects': []}", "STOP sign"),
)
INTEGERS = "bare integers"  # in the place of coordinate tokens: a class that a later contract reads
STRAYS = ("5", '"cat"', "null", "[]", "<|coord_1|>")
"""Entries of the array that are no records."""
NO_BLANKS = ("\u00a0", "\u2028", "\u3000", "\x85", "\x0b", "\x0c", "\x1f")
"""What Python calls a blank and JSON does not."""
FLIPPED: dict[Order, Order] = {"desc_first": "geometry_first", "geometry_first": "desc_first"}


class Case(msgspec.Struct, frozen=True):
    """A text, the class that it belongs to, and what must come of it.

    kept: the descs that salvage must keep, in order; None where the contract leaves it open. seen: how many records
    of the first container the text shows, complete or not.
    """

    kind: str
    text: str
    order: Order
    kept: tuple[str, ...] | None = None
    seen: int | None = None


def members(order: Order, desc: str | None, *geometries: tuple[str, str]) -> str:
    """A record from JSON texts of its values; `desc` None leaves the key out."""
    pairs = [f'"{key}": {value}' for key, value in geometries]
    if desc is not None:
        pairs.insert(0 if order == "desc_first" else len(pairs), f'"desc": {desc}')
    return "{" + ", ".join(pairs) + "}"


def record(desc: str, order: Order, shift: int = 0) -> str:
    """A valid record with a box."""
    return coordjson.record(desc, "bbox_2d", (shift + k for k in (0, 20, 300, 899)), order)


def things(rng: random.Random, count: int) -> tuple[Thing, ...]:
    """Random records: descs from fragments that hurt, boxes and polygons with bins from 0 to 999."""
    made = []
    for _ in range(count):
        desc = "".join(rng.choice(FRAGMENTS) for _ in range(rng.randint(1, 6))).strip() or "thing"
        poly = rng.random() < 0.4
        size = 2 * rng.randint(3, 8) if poly else 4
        values = tuple(rng.choice((0, 999, rng.randint(0, 999))) for _ in range(size))
        made.append(Thing(desc, "poly" if poly else "bbox_2d", values))
    return tuple(made)


def listed_things() -> list[tuple[Thing, ...]]:
    """No record, each listed desc by itself, and all of them in one container."""
    single = [(Thing(desc, "bbox_2d", (0, 5, 999, 42)),) for desc in DESCS]
    together = tuple(Thing(d, "poly", (i, 2, 3, 4, 999 - i, 0)) for i, d in enumerate(DESCS))
    return [(), *single, together]


def broken_records(order: Order) -> Iterator[tuple[str, str]]:
    """(class, text of a record that breaks the contract in exactly this way)."""
    good, other = ("bbox_2d", array((1, 2, 3, 4))), ("poly", array((1, 2, 3, 4, 5, 6)))
    yield "wrong key order", record("cat", FLIPPED[order])
    yield "wrong key order", members(FLIPPED[order], '"cat"', other)
    for extra in (("label", '"cat"'), ("score", "0.9"), ("Desc", '"cat"'), ("bbox", array((1, 2, 3, 4)))):
        yield "unknown key", members(order, '"cat"', good, extra)
        yield "unknown key", members(order, '"cat"', extra, good)
    yield "duplicate key", members(order, '"cat"', good, good)
    yield "duplicate key", members(order, '"cat"', ("desc", '"dog"'), good)
    yield "missing key", members(order, None, good)
    yield "missing key", members(order, '"cat"')
    yield "missing key", "{}"
    yield "two geometries", members(order, '"cat"', good, other)
    for key, sizes in (("bbox_2d", (0, 3, 5, 8)), ("poly", (0, 4, 5, 7))):
        for size in sizes:
            yield "wrong arity", members(order, '"cat"', (key, array(range(size))))
    for k in ("1000", "4321", "10000", "-1", "", "1.5"):
        bad = f"[<|coord_1|>, <|coord_{k}|>, <|coord_3|>, <|coord_4|>]"
        yield "coordinate out of range", members(order, '"cat"', ("bbox_2d", bad))
    quoted = '["<|coord_1|>", "<|coord_2|>", "<|coord_3|>", "<|coord_4|>"]'
    yield "quoted coordinates", members(order, '"cat"', ("bbox_2d", quoted))
    half = f'[<|coord_1|>, "<|coord_2|>", {array((3, 4))[1:]}'
    yield "quoted coordinates", members(order, '"cat"', ("bbox_2d", half))
    for numbers in ("[1, 2, 3, 4]", "[<|coord_1|>, <|coord_2|>, <|coord_3|>, 4]"):
        yield INTEGERS, members(order, '"cat"', ("bbox_2d", numbers))
    for numbers in ("[0.1, 0.2, 0.3, 0.4]", "7", "null"):
        yield "numeric coordinates", members(order, '"cat"', ("bbox_2d", numbers))
    nested = f"[{array((1, 2))}, {array((3, 4))}, {array((5, 6))}]"
    yield "nested coordinates", members(order, '"cat"', ("poly", nested))
    for desc in ('""', '"  "', '"\\n"'):
        yield "empty desc", members(order, desc, good)
    for desc in ("null", "5", "<|coord_5|>", '["cat"]', '{"objects": []}'):
        yield "desc is no string", members(order, desc, good)


def comma_records(order: Order) -> Iterator[str]:
    """Records with a comma too many, behind the last member or the last coordinate."""
    one = record("first", order)
    yield from (one[:-1] + ",}", one[:-1] + ", }", one.replace("|>]", "|>,]"), one.replace("|>]", "|>, ]"))


def misspelled_records(order: Order) -> Iterator[str]:
    """Records with a coordinate that is no token: zeros before it, digits of another script."""
    for spelling in ("007", "00", "0999", "\u0667", "\uff17"):
        spelled = f"[<|coord_{spelling}|>, <|coord_20|>, <|coord_300|>, <|coord_899|>]"
        yield members(order, '"cat"', ("bbox_2d", spelled))


def tempting_texts(order: Order) -> Iterator[Case]:
    """What a lenient reader mends or gives up on, and the contract has dropped: the other records are kept."""
    one, last = record("first", order), record("last", order, shift=50)
    for bad in comma_records(order):
        yield Case("trailing comma", container(bad, last), order, ("last",), 2)
    for bad in misspelled_records(order):
        yield Case("coordinate spelling", container(bad, last), order, ("last",), 2)
    for entry in STRAYS:
        yield Case("entry is no record", container(one, entry, last), order, ("first", "last"), 3)
        yield Case("entry is no record", container(entry, last), order, ("last",), 2)


def broken_texts(order: Order) -> Iterator[Case]:
    """Texts that strict mode must refuse, one class after the other."""
    one, two = record("cat", order), record("dog", order, shift=50)
    whole = container(one, two)
    for before in ("Answer: ", "```json\n", "x", "<|im_start|>", '"', "[", "{"):
        yield Case("text before", before + whole, order)
    for after in ("<|im_end|>", " done", "\n```", "}", ",", "]", "{"):
        yield Case("text after", whole + after, order)
    for kind, bad in broken_records(order):
        yield Case(kind, container(bad), order)
        yield Case(kind, container(one, bad), order)
    yield Case("unknown key", whole[:-1] + ', "version": 1}', order)
    yield Case("unknown key", '{"version": 1, ' + whole[1:], order)
    yield Case("duplicate key", whole[:-1] + ', "objects": []}', order)
    for text in ("{}", "[]", "null", f"[{one}]", one, '{"object_1": ' + one + "}"):
        yield Case("missing key", text, order)
    for value in ("{}", "null", '"cat"', "5", one):
        yield Case("objects is no array", f'{{"objects": {value}}}', order)
    for entry in STRAYS:
        yield Case("entry is no record", container(one, entry), order)
    for between in ("", " ", "\n", ", "):
        yield Case("second container", whole + between + container(two), order)
    for end in range(len(whole)):
        yield Case("truncation", whole[:end], order)
    for text in (container(one + two), container(f"{one};{two}"), whole.replace('"objects":', '"objects"')):
        yield Case("broken structure", text, order)


def lenient_texts(order: Order) -> Iterator[Case]:
    """Texts that a strict reader takes if it reads more than the contract writes."""
    whole = container(record("cat", order), record("dog", order, shift=50))
    for blank in NO_BLANKS:
        for text in (
            blank + whole,
            whole + blank,
            whole.replace(": ", ":" + blank),
            whole.replace("[{", f"[{blank}{{"),
        ):
            yield Case("a blank that JSON has not", text, order)
    for bad in comma_records(order):
        yield Case("trailing comma", container(bad), order)
    yield Case("trailing comma", whole[:-2] + ", ]}", order)
    for bad in misspelled_records(order):
        yield Case("coordinate spelling", container(bad), order)


def junk_texts(order: Order) -> Iterator[Case]:
    """A container with something around it; salvage keeps the first one's records."""
    one, two = record("first", order), record("second", order, shift=50)
    whole = container(one)
    before = ["Answer: ", "```json\n", "I see {a cat} and ", '{"objects": ', '{"objects": {}} ', '{"objects": 5} ']
    before += ["{ ", "{}", '{"object": []} ', "{{{", '{"result": ', "<|im_start|>assistant\n", '{"objects" ']
    for junk in (*before, one + " ", "[", "\\"):
        yield Case("text before", junk + whole, order, ("first",), 1)
    for junk in ("<|im_end|>", " done", "\n```", "}", "]}", ", ", container(two), " " + container(two), "{", '{"obj'):
        yield Case("text after", whole + junk, order, ("first",), 1)
    yield Case("text around", "Sure! " + whole + " and also " + container(two), order, ("first",), 1)
    for desc in ("]}", '{"objects": [', "} ] } ] {", 'a \\" b ]}', "ends with \\", '"}]}'):
        text = container(record(desc, order), two)
        yield Case("braces in desc", text, order, (desc, "second"), 2)
        yield Case("braces in desc", "Look: " + text + " }]}", order, (desc, "second"), 2)
    yield Case("empty container", container(), order, (), 0)
    yield Case("empty container", "Nothing: " + container() + container(one), order, (), 0)


def mixed_texts(order: Order) -> Iterator[Case]:
    """One bad record between two good ones: salvage drops it and keeps the others."""
    one, two = record("first", order), record("last", order, shift=50)
    for kind, bad in broken_records(order):
        yield Case(kind, container(one, bad, two), order, ("first", "last"), 3)
    for bad in ('{"desc" "cat"}', '{"desc": "cat",, "bbox_2d": []}', '{desc: "cat"}', '{"desc": "cat", "bbox_2d": [}'):
        yield Case("broken structure", container(one, bad, two), order, ("first", "last"), 3)


def cut_texts(order: Order) -> Iterator[Case]:
    """A text cut at every character from behind the array's `[` on, with what is whole before the cut."""
    first, second = record('a "{" b', order), members(order, '"roof"', ("poly", array((1, 2, 3, 4, 5, 6))))
    whole = container(first, second)
    opened = whole.index("[") + 1
    ends = (opened + len(first), opened + len(first) + 2 + len(second))
    for end in range(opened, len(whole)):
        kept = tuple(d for d, e in zip(('a "{" b', "roof"), ends, strict=True) if e <= end)
        yield Case("truncation", whole[:end], order, kept, (end > opened) + (end > ends[0] + 2))


def lost_texts(order: Order) -> Iterator[Case]:
    """Texts without a container: salvage reports the failure and keeps nothing."""
    one = record("cat", order)
    keyed = '{"object_1": ' + one + "}"
    for text in ("", "no objects", "[]", "<|im_end|>", one, f"[{one}]", keyed, '{"objects', "}]}"):
        yield Case("no container", text, order, (), 0)
    yield Case("extra top-level key", container(one)[:-1] + ', "version": 1}', order, (), 0)
    yield Case("extra top-level key", '{"version": 1, ' + container(one)[1:], order, (), 0)


def demanded(cases: Iterable[Case], contract: Mapping[str, Any]) -> Iterator[Case]:
    """The cases without those whose class the contract reads otherwise than as broken."""
    allowed = {INTEGERS} if contract.get("coordjson.integers") else set()
    return (case for case in cases if case.kind not in allowed)


def salvage_cases() -> Iterator[Case]:
    """Every text of which it is known what salvage must make, in both orders."""
    for order in coordjson.ORDERS:
        for source in (junk_texts, mixed_texts, cut_texts, lost_texts, tempting_texts):
            yield from source(order)
