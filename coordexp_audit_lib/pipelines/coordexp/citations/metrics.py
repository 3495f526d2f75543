"""Where CoordExp's specification demands what the claims of boundary 09 demand."""

from coordexp_audit_lib.pipelines.coordexp.citing import audit, document, newest, spec, stage2

OBSERVABLE = audit("Stage-2 rollout behavior is observable for diagnosis")
AGGREGATES = stage2("Channel-B vLLM rollouts honor repeat-aware termination settings")
STRICT_DROP = stage2("Bbox-only v1 guardrails are enforced")
SPARSE = spec("trainer-metrics-components", "Sparse gauge aggregation avoids gradient-accumulation dilution")

CITATIONS = {
    "metrics.required_keys": (OBSERVABLE, STRICT_DROP),
    "metrics.only_when_executed": (OBSERVABLE,),
    "metrics.counters_are_counts": (AGGREGATES, SPARSE),
    "metrics.rates_divide": (AGGREGATES,),
    "metrics.reasons_add_up": (STRICT_DROP,),
    "metrics.identity_not_averaged": (stage2("Channel-B rollout seeding is deterministic and logged"),),
    "metrics.no_dilution": (SPARSE,),
    "metrics.evaluation_order_free": (spec("detection-evaluator", "Location-first greedy matching"),),
    "metrics.rollout_evaluation": (
        document("training/METRICS_LOSSES.md", "Stage-2 Rollout-Matching Metrics (Eval)"),
        document("training/METRICS_LOSSES.md", "Matching quality (rollout-level)"),
    ),
    "metrics.shards_merged": (newest("inference-engine", "Run-level counters and summary"),),
    "metrics.reduced_by_key": (AGGREGATES,),
    "metrics.per_step_not_cumulative": (AGGREGATES,),
    "metrics.finite": (stage2("Hybrid objective preserves JSON structure CE and adds bbox geometry losses"),),
    "metrics.schema_stable": (STRICT_DROP,),
}

# What said how metrics of all kinds are aggregated went; what is left is of counters of duplicates, and of losses.
_COUNTERS = spec("trainer-metrics-components", "Channel-B duplicate-collapse metrics are explicit and aggregation-safe")
_COORDINATED = stage2("Stage-2 AB distributed step coordination MUST be explicit and shared across channels")
CHANGES = {
    "2026-05": {
        "metrics.counters_are_counts": (_COUNTERS,),
        "metrics.reduced_by_key": (_COORDINATED, _COUNTERS),
        "metrics.evaluation_order_free": (),
        # names f1 a standard metric of the evaluation, and its mAP one beside it
        "metrics.rollout_evaluation": (newest("rollout-matching-sft", "Eval-step supports COCO mAP when enabled"),),
    }
}

PERMITTED = {
    "": {"metrics.b_ratio_consistent": "the realized ratio is documented as one of a rolling window"},
    "2026-05": {"metrics.evaluation_order_free": "how predictions are matched is described no more"},
}

BEYOND = {
    "": {
        "metrics.only_when_executed": (
            ("rollout/(f1|precision|recall)", "it names the metrics of time and throughput alone"),
        )
    },
    "2026-05": {"metrics.rollout_evaluation": ((r"^(?!f1\b)", "of the evaluation's own rates it names f1 alone"),)},
}
