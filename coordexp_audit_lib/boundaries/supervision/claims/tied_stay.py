"""Embeddings that are tied are one tensor, from the first step to the last.

Where the config ties input and output embeddings and the model trains two, a checkpoint is read back with one of them
in the place of both: what was trained is not what is evaluated. It comes of resizing one, of replacing a module, or of
an adapter that copies one. An adapter's program may mean it, so that this is told and stops nothing.

Example: `lm_head.weight` is replaced by a copy after `tie_weights`, and has other entries than `embed_tokens.weight`
at the end."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.supervision.cases.training import of_run
from coordexp_audit_lib.boundaries.supervision.predicates import running
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

tied_stay = artifact_claim(
    id="supervision.tied_stay",
    doc=__doc__,
    severity="P2",
    remedy="Call `tie_weights()` after the last change of either, or set `tie_word_embeddings` to false and save both.",
    on={running.Tied: running.tied_stay},
    asks=of_run(lambda run: run.tied, "the model does not tell both embeddings"),
)


def _sound() -> running.Tied:
    return running.Tied(declared=True, before=True, after=True, equal=True)


spoil(tied_stay, "came_apart", "the head becomes a tensor of its own in training", _sound)(
    lambda seen: running.Tied(declared=True, before=True, after=False, equal=False)
)
spoil(tied_stay, "never_tied", "the config ties them and the model has two", _sound)(
    lambda seen: running.Tied(declared=True, before=False, after=False, equal=False)
)
