"""The reference's own template: records become conversations become tokens, within a limit, under a system prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from coordexp_audit_lib.boundaries.template.contract import Encoded, Record
from coordexp_audit_lib.core.evidence import digest
from coordexp_audit_lib.core.surface import Refuse
from coordexp_audit_lib.kit import chat, picture

FIXED = Record([("cup", [12, 34, 256, 480]), ("t-shirt.", [300, 310, 640, 999])])
UNREADABLE = "no such picture"


def prompts(ordering: str, field_order: str, variant: str) -> tuple[str, str]:
    """System and user prompt for these settings."""
    first, second = ("desc", "one geometry") if field_order == "desc_first" else ("one geometry", "desc")
    order = "from top to bottom, then from left to right" if ordering == "sorted" else "in any order"
    names = " Use the class names of COCO only." if variant == "coco_80" else ""
    system = (
        f"You list objects as CoordJSON: {first} before {second}, coordinates as <|coord_0|> to <|coord_999|>.{names}"
    )
    return system, f"List every object, {order}, {first} before {second}.{names}"


def answer(record: Record, field_order: str) -> str:
    """The assistant's CoordJSON text."""
    items = []
    for desc, box in record.objects:
        fields = [f'"desc": {json.dumps(desc, ensure_ascii=False)}', f'"bbox_2d": [{", ".join(map(coord, box))}]']
        items.append("{" + ", ".join(fields if field_order == "desc_first" else fields[::-1]) + "}")
    return '{"objects": [' + ", ".join(items) + "]}"


def coord(k: int) -> str:
    return f"<|coord_{k}|>"


class Template:
    """A chat template with settings that a caller may change for a while.

    Args:
        system: the system prompt; empty for no system turn. max_length: in tokens. strategy: beyond it.
    """

    def __init__(self, system: str, max_length: int | None = None, strategy: str = "raise") -> None:
        self.system, self.max_length, self.strategy = system, max_length, strategy
        self.mode, self.packing, self.padding_free = "train", False, False

    @contextmanager
    def changed(self, **settings: Any) -> Iterator[None]:
        """These settings for as long as the block lasts, whatever happens in it."""
        before = {name: getattr(self, name) for name in settings}
        vars(self).update(settings)
        try:
            yield
        finally:
            vars(self).update(before)

    def encode(self, record: Record, user: str, field_order: str = "desc_first", taught: bool = True) -> Encoded:
        """One record as tokens; without the assistant's answer, but with its header, where it is not `taught`.

        Raises:
            Refuse: the record is longer than the limit. What is supervised is never cut.
        """
        grids = [[1, h // picture.PATCH, w // picture.PATCH] for w, h in record.pictures]
        turns = [("system", self.system)] if self.system else []
        turns.append(("user", chat.SLOT * len(grids) + user))
        turns.append(("assistant", answer(record, field_order) if taught else ""))
        ids, labels = chat.render(turns, grids)
        if not taught:
            ids, labels = ids[:-2], [chat.IGNORE_INDEX] * (len(ids) - 2)  # the turn's end is still to be written
        if self.max_length is not None and len(ids) > self.max_length:
            raise Refuse(
                f"the sample has {len(ids)} tokens, above the limit of {self.max_length}: filter it out or raise "
                "global_max_length",
                "MaxLengthError",
            )
        return Encoded(ids, labels, grids)

    def state(self) -> dict[str, str]:
        """Every setting as text, prompts by digest."""
        told = {n: str(getattr(self, n)) for n in ("max_length", "strategy", "mode", "packing", "padding_free")}
        return {**told, "system": digest(self.system)}


def answer_at(labels: Sequence[int]) -> int:
    """Where the supervised part begins; the length if there is none."""
    return next((i for i, y in enumerate(labels) if y != chat.IGNORE_INDEX), len(labels))
