"""Where CoordExp demands what the claims on its assistant output demand."""

from functools import partial

from coordexp_audit_lib.pipelines.coordexp.citing import change, matching

# The change that brought the format; its capability has no file of its own yet.
_change = partial(change, "archive/2026-02-23-coordjson-objects-array-output")
form = partial(_change, "coordjson-output-format")
FORM = form("Each record is closed-schema and uses exactly one geometry field plus `desc`")
MODES = form("Conversion supports strict mode (fail-fast) and salvage mode (robust)")
CANONICAL = form("Canonical CoordJSON formatting is fixed for deterministic stages")
STRICT_DROP = _change("stage2-ab-training", "Channel-B record-level strict-drop behavior is explicit and measured")
NO_REPAIR = matching("Strict parsing drops invalid predicted objects (no repair)")

CITATIONS = {
    "coordjson.roundtrip": (CANONICAL,),
    "coordjson.strict_rejects": (FORM, MODES),
    "coordjson.salvage_first_container": (MODES,),
    "coordjson.salvage_never_repairs": (MODES, NO_REPAIR),
    "coordjson.salvage_accounts": (STRICT_DROP,),
    "coordjson.spans_exact": (
        matching("Coord-slot token indices are derived from token-aligned parsing (object-level validity)"),
    ),
    "coordjson.agrees_with_reference": (MODES, STRICT_DROP, NO_REPAIR),
}

PERMITTED = {
    "": {
        "coordjson.linear_time": "no requirement bounds the time that reading a text takes",
        "coordjson.transpiled_before_json": "the inference engine reads integers and pixels beside coordinate tokens",
    }
}
