"""The outputs of several ranks become one file with each row once, in the input's order, its trace beside it, and
counts that add up; what is not whole is refused.

A row that is there twice or not at all changes the score without a word; rows in the order of the ranks stand beside
other images' ground truth wherever a reader goes by the line.

Example: rank 0 wrote the rows 0, 2, 4 and rank 1 the rows 1, 3. If rank 1 stopped after row 1, the merge refuses."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.predicates import detections
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation

WHOLE = {
    "in turns": [[0, 2, 4, 6], [1, 3, 5]],
    "in blocks": [[0, 1, 2], [3, 4, 5], [6]],
    "as they were done": [[5, 0, 3], [4, 1, 2]],
    "one has none": [[0, 1], []],
    "more than nine ranks": [[n] for n in range(11)],
}


@claim(
    severity="P1",
    kind="B",
    remedy="Carry each row's number in the input, sort by it, and compare with what was written.",
)
def shards_merged(ctx: Context) -> Iterator[Violation]:
    for name, rows in WHOLE.items():
        shards = [s.Shard(part, len(part), {"empty_pred": n + 1}) for n, part in enumerate(rows)]
        for p in detections.merged(shards, ctx.value(s.MERGE, s.MergeRequest(shards)), ctx):
            yield p.violation(name)
    for name, shards in _broken().items():
        ctx.judged()
        answer = ctx.ask(s.MERGE, s.MergeRequest(shards))
        if answer.content is not None:
            message = "outputs that are not whole are merged without a word"
            yield Violation(message, name, "a refusal", answer.content.rows, {"shards": [one.rows for one in shards]})


def _broken() -> dict[str, list[s.Shard]]:
    sound = [s.Shard([0, 2], 2), s.Shard([1, 3], 2)]
    return {
        "a row twice": [sound[0], s.Shard([1, 2], 2)],
        "a rank that did not end": [sound[0], replace(sound[1], complete=False)],
        "a row less than was written": [sound[0], replace(sound[1], rows=[1])],
    }


@fault(shards_merged, "in_rank_order", s.MERGE, "the rows of one rank stand behind those of the other")
def in_rank_order(request: s.MergeRequest, honest: Honest) -> s.MergedRows:
    rows = [row for shard in request.shards for row in shard.rows]
    made: s.MergedRows = honest(request)
    return replace(made, rows=rows, traces=rows)


@fault(shards_merged, "twice_is_kept", s.MERGE, "a row that two ranks wrote is taken from the first")
def twice_is_kept(request: s.MergeRequest, honest: Honest) -> s.MergedRows:
    seen: set[int] = set()
    shards = []
    for shard in request.shards:
        rows = [r for r in shard.rows if r not in seen]
        seen |= set(rows)
        shards.append(replace(shard, rows=rows, emitted=shard.emitted - (len(shard.rows) - len(rows))))
    made: s.MergedRows = honest(s.MergeRequest(shards))
    return made


@fault(shards_merged, "counts_of_the_last", s.MERGE, "the counts are those of the last rank")
def counts_of_the_last(request: s.MergeRequest, honest: Honest) -> s.MergedRows:
    made: s.MergedRows = honest(request)
    return replace(made, errors=request.shards[-1].errors)
