"""How often `batch` is wrong: right batches of every layout, family and form, then batches with one fault each.

    PYTHONPATH=. python benchmarks/any_batch.py [NUMBER] [SEED]

Prints how many right ones had a finding (by layout and claim), how many faults were silent, or told without the field
that is at fault (by fault), and the processor time of one call.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

import numpy as np

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.run.batches import audit_batch
from tests.packing import broken, generated


def right(number: int, seed: int) -> Counter[tuple[str, str]]:
    """False alarms by (layout, claim)."""
    alarms: Counter[tuple[str, str]] = Counter()
    for i in range(number):
        made = generated.right(np.random.default_rng([seed, i]))
        found = audit_batch(made.tensors).findings
        alarms.update((made.layout, f.invariant) for f in found if f.status in ("violated", "error"))
    return alarms


def wrong(number: int, seed: int) -> tuple[Counter[str], Counter[str]]:
    """Faults that are silent, and those that are told without the field at fault."""
    silent: Counter[str] = Counter()
    elsewhere: Counter[str] = Counter()
    each = -(-number // len(broken.FAULTS))
    for k, (name, (change, claims, said)) in enumerate(broken.FAULTS.items()):
        for _, tensors in broken.some(change, each, seed=1_000_000 * (seed + 1) + 50_000 * k):
            found = audit_batch(tensors).findings
            told = [(f.invariant, v.message) for f in found for v in f.violations]
            if not told:
                silent[name] += 1
            elif not any(i in claims and any(s in m for s in said) for i, m in told):
                elsewhere[name] += 1
    return silent, elsewhere


def main() -> None:
    number, seed = int((sys.argv[1:2] or ["10000"])[0]), int((sys.argv[2:3] or ["0"])[0])
    boundaries.load(["packing", "template"], ("claims",))
    started = time.process_time()
    alarms = right(number, seed)
    taken = time.process_time() - started
    layouts, families = len(generated.LAYOUTS), len(generated.FAMILIES)
    print(f"right: {number} batches of {layouts} layouts and {families} families, {alarms.total()} findings")
    print(f"       {1000 * taken / number:.1f} ms a batch, the making of it included")
    for (layout, claim), count in alarms.most_common():
        print(f"       {count:6d} {layout}: {claim}")
    silent, elsewhere = wrong(number, seed)
    made = -(-number // len(broken.FAULTS)) * len(broken.FAULTS)
    print(f"wrong: {made} batches with one of {len(broken.FAULTS)} faults, {silent.total()} silent")
    print(f"       {elsewhere.total()} told without the field that is at fault")
    for what, counts in (("silent", silent), ("elsewhere", elsewhere)):
        for name, count in counts.most_common():
            print(f"       {count:6d} {what}: {name}")


if __name__ == "__main__":
    main()
