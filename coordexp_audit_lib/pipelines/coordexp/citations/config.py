"""Where CoordExp demands what the claims of boundary 02 demand."""

import msgspec

from coordexp_audit_lib.pipelines.coordexp.citing import audit, code, matching, spec, stage2

STRICT = stage2("Stage-2 config sections are parsed by schema-derived strict contracts")
BUDGET = stage2("Channel-B step mode is step-budgeted in raw rollouts and learns-to-completion under packing")
ONE_HOP = stage2("Stage-2 AB profile hierarchy is canonical and one-hop")
EXPLICIT = stage2("Stage-2 AB downstream profiles explicitly pin high-signal knobs")
ORDER = spec("object-field-ordering", "Object field order is config-driven and strict")
NAMESPACE = stage2("Stage-2 AB canonical rollout namespace is normalized before trainer injection")
STAGE2 = "configs/stage2*"  # whose clauses speak of Stage-2 AB only

LENGTHS = (
    code("src/config/schema.py", "TrainingConfig.from_mapping"),
    code(
        "src/trainers/rollout_matching_sft.py", "RolloutMatchingSFTTrainer._enforce_hf_rollout_max_position_embeddings"
    ),
)

CITATIONS = {
    "config.unknown_key_rejected": (STRICT, audit("Objective-changing failures are fail-fast")),
    "config.unknown_section_key_rejected": (STRICT,),
    "config.removed_key_rejected": (
        STRICT,
        BUDGET,
        matching("Legacy rollout_buffer configs fail fast"),
        matching("Rollout generation supports vLLM backends (colocate default, server optional)"),
    ),
    "config.required_key": tuple(msgspec.structs.replace(c, scope=STAGE2) for c in (BUDGET, EXPLICIT)),
    "config.value_range": (STRICT, ORDER),
    "config.coord_mode_mandatory": (spec("coord-token-mode", "Coord-token mode is mandatory"),),
    "config.batch_divisible": (msgspec.structs.replace(BUDGET, scope=STAGE2),),
    "config.length_coherent": tuple(msgspec.structs.replace(c, scope=STAGE2) for c in LENGTHS),
    "config.packing_backend": (code("src/sft.py", "_validate_attention_backend_for_packing"),),
    "config.deterministic": (code("src/config/loader.py", "ConfigLoader.load_materialized_training_config"),),
    "config.profile_one_hop": (ONE_HOP,),
    "config.profile_explicit": (EXPLICIT,),
    "config.parents_exist": (code("src/config/loader.py", "ConfigLoader.load_yaml_with_extends"),),
    "config.preflight_contract": (NAMESPACE, STRICT),
}

PERMITTED = {
    "config.extends_sound": "the loader promises an error, not the chain; the one-hop rule is about Stage-2 leaves only"
}
