"""Where CoordExp demands that failures be seen."""

from coordexp_audit_lib.pipelines.coordexp.citing import spec

CITATIONS = {
    "silence.no_blanket_suppression": (
        spec("silent-failure-policy", "Core execution paths do not swallow unexpected exceptions"),
        spec("silent-failure-policy", "Blanket suppression is forbidden by direct CI scanning"),
    )
}

PERMITTED = {
    "": {"silence.errors_actionable": "an actionable message is demanded only of an error that replaces a caught one"}
}
