"""kept + dropped (by reason) + incomplete tail = records seen.

How many records a rollout lost, and why, drives the structure multiplier and is the only sign in a log that the model
forgets the format. A record that vanishes uncounted makes a decaying run look sound.

Example: two good records, one with three bins and one that the length limit cut off are 2 kept + 1 dropped + 1
tail; a stray `5` between two good records is 2 kept + 1 dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator

from coordexp_audit_lib.boundaries.coordjson.cases.asking import salvaged
from coordexp_audit_lib.boundaries.coordjson.cases.texts import STRAYS
from coordexp_audit_lib.boundaries.coordjson.predicates import parsing
from coordexp_audit_lib.boundaries.coordjson.surfaces import PARSE, Parsed
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, asked, fault
from coordexp_audit_lib.core.problem import Problem

STRAY = re.compile(rf"(?:\[|\}}, )(?:{'|'.join(map(re.escape, STRAYS))}), \{{")


@claim(
    severity="P0",
    root="coordjson.agrees_with_reference",
    kind="B",
    remedy="Count each record of the chosen container once, when it is kept, dropped or cut off.",
)
def salvage_accounts(ctx: Context) -> Iterator[Problem]:
    yield from salvaged(ctx, lambda case, parsed: parsing.accounts(parsed, case.seen or 0), each=False)


def _tail_twice(parsed: Parsed) -> dict[str, int]:
    return {**parsed.dropped, "other": parsed.dropped.get("other", 0) + parsed.incomplete_tail}


fault(
    salvage_accounts,
    "uncounted",
    PARSE,
    "records with a wrong key order vanish without being counted",
    also=("coordjson.agrees_with_reference",),
)(answered(dropped=lambda parsed: {k: n for k, n in parsed.dropped.items() if k != "order_violation"}))
fault(
    salvage_accounts,
    "stray_entry_voids",
    PARSE,
    "an entry of the array that is no record makes the whole text one without a container",
    also=("coordjson.agrees_with_reference",),
)(asked(text=lambda request: "" if request.mode == "salvage" and STRAY.search(request.text) else request.text))
fault(salvage_accounts, "tail_counted_twice", PARSE, "a record that is cut off counts as dropped too")(
    answered(dropped=_tail_twice)
)
fault(salvage_accounts, "total_apart", PARSE, "the total of dropped records is not the sum of its reasons")(
    answered(dropped_total=lambda parsed: 2 * sum(parsed.dropped.values()))
)
