"""Every training config that the tree ships is accepted by the tree's own loader.

A config that its own schema refuses starts no run, and nobody notices until somebody needs it: a value that a check
beside it rules out, a key that was renamed, a setting that became mandatory. What a paper names as its config is then
not what was run.

Example: the base config asks for `score_mode: confidence_postop`, and the schema takes `constant` only."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.config.surfaces import SHIPPED, ShippedRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem


@claim(severity="P1", kind="B", remedy="Bring the config and the schema together, or take the config out of the tree.")
def shipped_load(ctx: Context) -> Iterator[Problem]:
    shipped = ctx.contract["config.shipped"]
    configs = ctx.value(SHIPPED, ShippedRequest(shipped["folder"], shipped["needs"])).configs
    ctx.fact("training configs that no other extends", len(configs))
    for config in configs:
        ctx.judged()
        if config.refused:
            message, where = "the tree's own loader refuses a config that the tree ships", Where(config.path)
            yield Problem(message, config.path, "accepted", config.refused, where=where)


fault(shipped_load, "value_ruled_out", SHIPPED, "the schema does not take a value that a shipped config has")(
    answered(configs=lambda a: [replace(a.configs[0], refused="score_mode must be 'constant'"), *a.configs[1:]])
)
fault(shipped_load, "key_became_mandatory", SHIPPED, "every shipped config lacks a key that became mandatory")(
    answered(configs=lambda a: [replace(c, refused="custom.object_field_order must be provided") for c in a.configs])
)
