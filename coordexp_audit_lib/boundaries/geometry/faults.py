"""What the faults of several claims do: change a struct's fields, or the geometries of a record."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.geometry.predicates.records import GEOMETRY_KEYS

changed = msgspec.structs.replace


def objects(
    record: dict[str, Any], edit: Callable[[list[Any]], list[Any]], keys: Collection[str] = GEOMETRY_KEYS
) -> dict[str, Any]:
    """A record whose geometries of these kinds have gone through `edit`."""
    made = [{k: edit(v) if k in keys else v for k, v in item.items()} for item in record["objects"]]
    return {**record, "objects": made}
