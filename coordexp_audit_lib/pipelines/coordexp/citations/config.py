"""Where CoordExp demands what the claims of boundary 02 demand."""

import msgspec

from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.pipelines.coordexp.citing import audit, document, matching, newest, spec, stage2

STRICT = stage2("Stage-2 config sections are parsed by schema-derived strict contracts")
BUDGET = stage2("Channel-B step mode is step-budgeted in raw rollouts and learns-to-completion under packing")
ONE_HOP = stage2("Stage-2 AB profile hierarchy is canonical and one-hop")
EXPLICIT = stage2("Stage-2 AB downstream profiles explicitly pin high-signal knobs")
ORDER = spec("object-field-ordering", "Object field order is config-driven and strict")
NAMESPACE = stage2("Stage-2 AB canonical rollout namespace is normalized before trainer injection")
STAGE2 = "configs/stage2*"  # whose clauses speak of Stage-2 AB only

# Of every config, whatever its stage.
KEYS = document("standards/CODE_STYLE.md", "8.1 Strict Schema-Derived Validation (Unknown Keys)")
PACKED = document("standards/UPSTREAM.md", "Packing & Streaming Modes")


def _stage2(*cited: Citation) -> tuple[Citation, ...]:
    return tuple(msgspec.structs.replace(c, scope=STAGE2) for c in cited)


CITATIONS = {
    "config.unknown_key_rejected": (STRICT, audit("Objective-changing failures are fail-fast")),
    "config.unknown_section_key_rejected": (*_stage2(STRICT), KEYS),
    "config.removed_key_rejected": (
        *_stage2(
            STRICT,
            BUDGET,
            matching("Legacy rollout_buffer configs fail fast"),
            matching("Rollout generation supports vLLM backends (colocate default, server optional)"),
        ),
        KEYS,
    ),
    "config.required_key": _stage2(BUDGET, EXPLICIT),
    "config.value_range": _stage2(STRICT, ORDER),  # the order of fields alone would be demanded of Stage 1 too
    "config.coord_mode_mandatory": (spec("coord-token-mode", "Coord-token mode is mandatory"),),
    "config.batch_divisible": _stage2(BUDGET),
    "config.packing_backend": (PACKED,),
    "config.profile_one_hop": (ONE_HOP,),
    "config.profile_explicit": (EXPLICIT,),
    "config.preflight_contract": (NAMESPACE, STRICT),
}

# Since 2026-03 what must fit is a requirement, and so are sound values of the coordinate loss, at whichever stage.
_LENGTHS = newest("rollout-matching-sft", "Evaluation rollout backend is fixed to vLLM")
_COORD_LOSS = newest("coord-aux-loss", "Canonical config surface is `coord_soft_ce_w1`")
CHANGES = {
    "2026-05": {
        "config.length_coherent": _stage2(_LENGTHS),
        "config.value_range": (*_stage2(STRICT, ORDER), _COORD_LOSS),
    }
}

PERMITTED = {
    "": {
        "config.extends_sound": "the loader promises an error, not the chain; the one-hop rule is about Stage-2 leaves",
        "config.length_coherent": "a note on troubleshooting names lengths that must fit; nothing has them compared",
        "config.deterministic": "no requirement says against which folder a prompt file is looked up",
        "config.values_kept": "requirements speak of keys and ranges, not of what becomes of a value that is accepted",
        "config.parents_exist": "no requirement speaks of a leaf whose parent is not there",
        "config.shipped_load": "no requirement speaks of configs that their own loader refuses",
        "config.preflight_carries": "requirements name settings of the server, not that the launcher hands them on",
    }
}
