"""with save_only_model a checkpoint holds no optimizer, scheduler or generator state; its index is complete

A tensor that the index does not name is left at its random start when the checkpoint is loaded: what is evaluated is
not what was trained. State of the training loop triples a checkpoint, and tempts to resume a run that can't be resumed.

Example: two shards, and an index that lacks `lm_head.weight`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.provenance import cases
from coordexp_audit_lib.boundaries.provenance.artifact import reading
from coordexp_audit_lib.boundaries.provenance.artifact.reading import Saved
from coordexp_audit_lib.boundaries.provenance.artifact.run import RunFolder
from coordexp_audit_lib.boundaries.provenance.faults import saves
from coordexp_audit_lib.boundaries.provenance.predicates import checkpoints
from coordexp_audit_lib.boundaries.provenance.predicates.documents import RESOLVED
from coordexp_audit_lib.boundaries.provenance.surfaces import SAVE, Checkpoint, SaveRequest
from coordexp_audit_lib.core.claim import Context, Ledger, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem, Undecided


@claim(
    severity="P1",
    kind="A",
    remedy="save through the trainer's own path, which honours save_only_model and writes the index last",
)
def weights_only(ctx: Context) -> Iterator[Problem]:
    for name, request in {"one file": SaveRequest(), "shards": SaveRequest(shard_bytes=4096)}.items():
        checkpoint = ctx.value(SAVE, request)
        ctx.judged()
        yield from cases.about(checkpoints.weights_only(checkpoint, ctx, save_only_model=True), name)
        if request.shard_bytes and (len(checkpoint.tensors) < 2 or checkpoint.index is None):
            yield Problem("a checkpoint in several files has no index", name, "an index", sorted(checkpoint.tensors))
    ctx.fact("files of the last checkpoint", len(checkpoint.files))


def of_run(run: RunFolder, ledger: Ledger) -> Iterator[Problem]:
    names = reading.checkpoints(run.root)
    if not names:
        raise Undecided("the folder holds no checkpoint-* folder")
    key = run.contract["provenance.save_only_model"]
    only = run.setting(key)
    if not isinstance(only, bool):
        where = RESOLVED if run.is_own else "what the run left of its arguments"
        ledger.left_out("state of the training loop", f"{where} does not tell {key}")
    for name in names:
        yield from of_checkpoint(Saved(run.root, name, only is True), ledger)


def of_checkpoint(one: Saved, ledger: Ledger) -> Iterator[Problem]:
    """Counts the checkpoint; a problem names it first."""
    ledger.judged()
    held = reading.checkpoint(one.root, one.name)
    for p in checkpoints.weights_only(held, ledger, save_only_model=one.save_only_model):
        yield replace(p, subject=f"{one.name}/{p.subject}" if p.subject else one.name)


weights_only.on(RunFolder, of_run)
weights_only.on(Saved, of_checkpoint)


def _unindexed(made: Checkpoint) -> Checkpoint:
    if made.index is None:
        return made
    mapped = dict(sorted(made.index["weight_map"].items())[1:])
    return replace(made, index={**made.index, "weight_map": mapped})


fault(weights_only, "optimizer_kept", SAVE, "the optimizer's state is saved although save_only_model is set")(
    saves(lambda made: replace(made, files=[*made.files, "optimizer.pt", "rng_state_0.pth"]))
)
fault(weights_only, "tensor_not_indexed", SAVE, "the index lacks a tensor")(saves(_unindexed))
