"""The requests that checks and figures put: the same request gives the same recorded answer."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.pipeline_map import contract
from coordexp_audit_lib.boundaries.pipeline_map.key_scan import KeyReadsRequest, StageQuestion
from coordexp_audit_lib.boundaries.pipeline_map.keys import keys_of
from coordexp_audit_lib.boundaries.pipeline_map.owners import OWNERS, owners_of
from coordexp_audit_lib.boundaries.pipeline_map.resolve import (
    EntrypointFiles,
    EntrypointsRequest,
    OwnerNames,
    OwnersRequest,
    ResolvedOwner,
)
from coordexp_audit_lib.boundaries.pipeline_map.stages import ENTRYPOINTS, FORWARDERS, UPSTREAM_SECTIONS, stages_of
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.errors import AuditError


def entrypoints(ctx: Context) -> EntrypointsRequest:
    return EntrypointsRequest([EntrypointFiles(e.id, e.launcher, config_in(ctx, e.config)) for e in ENTRYPOINTS])


def config_in(ctx: Context, config: str) -> str:
    """The config's name in the target; the anchored name where the target has none, so that its absence is found."""
    try:
        return ctx.target.config_path(config)
    except AuditError:
        return config


def keys(ctx: Context) -> contract.KeysRequest:
    return contract.KeysRequest(ctx.target.config_path(ctx.config))


def names_of(stage: str, entrypoint: str) -> list[tuple[str, ...]]:
    return [o.names for o in owners_of(stage, entrypoint)]


def owners() -> OwnersRequest:
    """Each owner once, in the order of the table."""
    return OwnersRequest([OwnerNames(list(names)) for names in dict.fromkeys(o.names for o in OWNERS)])


def resolved_owners(ctx: Context) -> dict[str, ResolvedOwner]:
    """The reference commit's name of each owner -> where it stands."""
    return {o.asked: o for o in ctx.value(contract.OWNERS, owners()).owners}


def key_reads() -> KeyReadsRequest:
    stages = [
        StageQuestion(
            e.id, s.id, [OwnerNames(list(n)) for n in names_of(s.id, e.id)], [k.path for k in keys_of(s.id, e.id)]
        )
        for e in ENTRYPOINTS
        for s in stages_of(e.id)
    ]
    return KeyReadsRequest(stages, OwnerNames(list(FORWARDERS)), list(UPSTREAM_SECTIONS))
