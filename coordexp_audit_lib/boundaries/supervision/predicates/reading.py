"""What a Channel-B target is made of, read from its tokens: the rollout's records and fates, then the appended ones."""

from __future__ import annotations

import msgspec

from coordexp_audit_lib.boundaries.supervision.predicates.roles import Layout, layout, text_of
from coordexp_audit_lib.boundaries.supervision.surfaces import Sample, SegmentB, Thing
from coordexp_audit_lib.kit.coordjson import Entry, Order

MATCHED, FALSE, DROPPED, APPENDED = "matched", "false positive", "dropped", "appended"


class Reading(msgspec.Struct, frozen=True):
    """fates: of each record. gts: for each record the ground truth it stands for, -1 for none. seam: the byte where the
    appended text starts. unclaimed: matches that the pipeline reports and that fit no record or no ground truth.
    """

    view: Layout
    fates: list[str]
    gts: list[int]
    seam: int
    unclaimed: list[list[int]]

    def with_fate(self, *fates: str) -> list[int]:
        return [i for i, f in enumerate(self.fates) if f in fates]


def read(segment: SegmentB, sample: Sample, order: Order) -> Reading:
    """Fates follow the matches that the pipeline reports by position; whether those are right is judged elsewhere."""
    view = layout(segment.ids, order)
    seam = len(text_of(segment.ids[: segment.prefix_len]))
    ours = [i for i, r in enumerate(view.records) if r.span[0] < seam]
    fates = [FALSE if r.box is not None else DROPPED for r in view.records]
    gts, unclaimed, free = [-1] * len(fates), list[list[int]](), list(range(len(sample.gt)))
    # A record that holds no usable box can't be matched, whatever is reported of it: nothing is repaired.
    places = {tuple(view.slots(i)): i for i in ours if view.records[i].box is not None}
    for group in segment.prefix_groups:
        record = places.get(tuple(group.pos))
        gt = next((j for j in free if sample.gt[j].bbox == group.bins), None)
        if record is None or gt is None:
            unclaimed.append(group.pos)
            continue
        fates[record], gts[record] = MATCHED, gt
        free.remove(gt)
    for i in range(len(ours), len(fates)):
        fates[i] = APPENDED
        gt = next((j for j in free if same(view.records[i], sample.gt[j])), None)
        if gt is not None:
            gts[i] = gt
            free.remove(gt)
    return Reading(view, fates, gts, seam, unclaimed)


def same(record: Entry, thing: Thing) -> bool:
    return record.valid and record.desc == thing.desc and record.values == thing.bbox
