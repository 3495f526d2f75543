"""Guards for a training program: each returns quietly, or raises `InvariantViolation` before the harm is done.

    from coordexp_audit_lib.guards import check_config, check_packed_batch
    check_config(config)                      # [config.unknown_key_rejected] rollout_matching.decode_bach_size: …
    check_packed_batch(batch)                 # torch tensors or arrays; cheap enough for every step

A guard judges with the predicates that the audit judges with; it defines none. `coordexp_audit_lib.callback` puts them
into a `transformers` trainer. Importing this package needs msgspec, numpy and pyyaml, and takes no torch.
"""

from coordexp_audit_lib.boundaries.metrics.reference.telemetry import Stage2Telemetry
from coordexp_audit_lib.core.errors import InvariantViolation
from coordexp_audit_lib.guards.batches import check_packed_batch, check_record
from coordexp_audit_lib.guards.calls import check_model_call
from coordexp_audit_lib.guards.inputs import check_config, check_template, check_tokenizer, load_config
from coordexp_audit_lib.guards.outputs import check_checkpoint, check_metrics
from coordexp_audit_lib.guards.pins import pins_of
from coordexp_audit_lib.guards.rollouts import (
    check_rollout_batch,
    check_rollout_prefix,
    check_rollout_response,
    check_supervision,
)

__all__ = [
    "InvariantViolation",
    "Stage2Telemetry",
    "check_checkpoint",
    "check_config",
    "check_metrics",
    "check_model_call",
    "check_packed_batch",
    "check_record",
    "check_rollout_batch",
    "check_rollout_prefix",
    "check_rollout_response",
    "check_supervision",
    "check_template",
    "check_tokenizer",
    "load_config",
    "pins_of",
]
