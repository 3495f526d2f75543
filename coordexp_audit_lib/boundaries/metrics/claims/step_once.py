"""A training step stands in a log once: one process writes it.

Where every rank writes, or two runs share a folder, each step counts twice in what is read off the log: means and
curves mix two runs, and the checkpoint that is chosen by them may be the other run's. A run that was resumed goes back
in its steps once, which is told apart and no fault.

Example: two lines with `"global_step": 5` one after the other, that differ in nothing but their speed."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.metrics.cases import of_short_run
from coordexp_audit_lib.boundaries.metrics.predicates import writers
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import artifact_claim

step_once = artifact_claim(
    id="metrics.step_once",
    doc=__doc__,
    severity="P1",
    remedy="Write from the process of rank 0 alone, and give each run an output folder of its own.",
    spec=(
        Citation(
            "huggingface/transformers", "src/transformers/trainer_callback.py", "TrainerState.log_history", "v4.57.6"
        ),
        Citation("modelscope/ms-swift", "swift/trainers/callback.py", "ProgressCallbackNew.on_log", "v3.10.3"),
    ),
    on={Log: writers.step_once},
    asks=of_short_run,
)
