"""Where CoordExp demands what the map's claims demand."""

from coordexp_audit_lib.pipelines.coordexp.citing import audit

_AUDIT = audit("Audit scope is anchored to operational entrypoints")

CITATIONS = {
    "pipeline_map.entrypoints_exist": (_AUDIT,),
    "pipeline_map.owners_resolve": (_AUDIT,),
    "pipeline_map.keys_exist": (_AUDIT,),
}

PERMITTED = {
    "": {
        "pipeline_map.packages_known": "no requirement lists the packages that a run needs",
        "pipeline_map.names_defined": "no requirement says that every name is defined; Python demands it in the end",
        "pipeline_map.keys_are_read": "its clause has keys listed; that each listed one is read is not in it",
        "pipeline_map.calls_fit": "no requirement says that every call fits its function; Python demands it in the end",
    }
}
