"""Known-bad pipeline maps, one or more for each claim."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.pipeline_map import contract
from coordexp_audit_lib.boundaries.pipeline_map.key_scan import KeyReads, KeyReadsRequest
from coordexp_audit_lib.boundaries.pipeline_map.resolve import (
    Entrypoints,
    EntrypointsRequest,
    Owners,
    OwnersRequest,
    ResolvedOwner,
)
from coordexp_audit_lib.core.claim import fault
from coordexp_audit_lib.core.surface import Refuse


@fault(
    "pipeline_map.server_not_started",
    surface=contract.ENTRYPOINTS,
    caught_by=("pipeline_map.entrypoints_exist",),
    summary="the Stage-2 launcher starts training but no rollout server",
)
def server_not_started(request: EntrypointsRequest, honest: Callable[[EntrypointsRequest], Entrypoints]) -> Entrypoints:
    told = honest(request).entrypoints
    return Entrypoints([replace(e, starts=[s for s in e.starts if s.kind != "command"]) for e in told])


@fault(
    "pipeline_map.launcher_gone",
    surface=contract.ENTRYPOINTS,
    caught_by=("pipeline_map.entrypoints_exist",),
    summary="a launcher and the anchored config of its entrypoint are not in the tree",
)
def launcher_gone(request: EntrypointsRequest, honest: Callable[[EntrypointsRequest], Entrypoints]) -> Entrypoints:
    first, *rest = honest(request).entrypoints
    return Entrypoints([replace(first, launcher_exists=False, config_exists=False, starts=[]), *rest])


@fault(
    "pipeline_map.module_gone",
    surface=contract.ENTRYPOINTS,
    caught_by=("pipeline_map.entrypoints_exist",),
    summary="the launchers start a module that is not in the tree",
)
def module_gone(request: EntrypointsRequest, honest: Callable[[EntrypointsRequest], Entrypoints]) -> Entrypoints:
    told = honest(request).entrypoints
    return Entrypoints([replace(e, starts=[replace(s, file="") for s in e.starts]) for e in told])


@fault(
    "pipeline_map.stage_without_owner",
    surface=contract.OWNERS,
    caught_by=("pipeline_map.owners_resolve",),
    summary="every function of the data stage is gone",
)
def stage_without_owner(request: OwnersRequest, honest: Callable[[OwnersRequest], Owners]) -> Owners:
    data = ("src.datasets", "src.coord_tokens.validator", "public_data", "src.sft")
    told = honest(request).owners
    return Owners([ResolvedOwner(o.asked, "missing") if o.asked.startswith(data) else o for o in told])


@fault(
    "pipeline_map.owner_without_place",
    surface=contract.OWNERS,
    caught_by=("pipeline_map.owners_resolve",),
    summary="owners are said to stand, but no line is told",
)
def owner_without_place(request: OwnersRequest, honest: Callable[[OwnersRequest], Owners]) -> Owners:
    return Owners([replace(o, line=0) for o in honest(request).owners])


@fault(
    "pipeline_map.key_gone",
    surface=contract.KEYS,
    caught_by=("pipeline_map.keys_exist",),
    summary="the materialised config lost the packing switch",
)
def key_gone(request: contract.KeysRequest, honest: Callable[[contract.KeysRequest], contract.Keys]) -> contract.Keys:
    told = honest(request)
    return replace(told, keys=[k for k in told.keys if k.path != "training.packing"])


@fault(
    "pipeline_map.source_untold",
    surface=contract.KEYS,
    caught_by=("pipeline_map.keys_exist",),
    summary="values stand in the config, but nothing tells what set them",
)
def source_untold(
    request: contract.KeysRequest, honest: Callable[[contract.KeysRequest], contract.Keys]
) -> contract.Keys:
    told = honest(request)
    return replace(told, keys=[replace(k, source="") if k.path.startswith("debug.") else k for k in told.keys])


@fault(
    "pipeline_map.config_refused",
    surface=contract.KEYS,
    caught_by=("pipeline_map.keys_exist",),
    summary="the loader refuses the anchored config",
)
def config_refused(
    request: contract.KeysRequest, honest: Callable[[contract.KeysRequest], contract.Keys]
) -> contract.Keys:
    raise Refuse("Unknown training keys: ['training.packing']")


@fault(
    "pipeline_map.key_unread",
    surface=contract.KEY_READS,
    caught_by=("pipeline_map.keys_are_read",),
    summary="no owner reads the coordinate loss's weights any more",
)
def key_unread(request: KeyReadsRequest, honest: Callable[[KeyReadsRequest], KeyReads]) -> KeyReads:
    told = honest(request)
    unread = ("custom.coord_soft_ce_w1.soft_ce_weight", "custom.coord_soft_ce_w1.w1_weight")
    stages = [
        replace(s, reads=[replace(r, places=[], count=0) if r.path in unread else r for r in s.reads])
        for s in told.stages
    ]
    return replace(told, stages=stages)


@fault(
    "pipeline_map.section_not_forwarded",
    surface=contract.KEY_READS,
    caught_by=("pipeline_map.keys_are_read",),
    summary="the data section is no longer handed over to upstream",
)
def section_not_forwarded(request: KeyReadsRequest, honest: Callable[[KeyReadsRequest], KeyReads]) -> KeyReads:
    told = honest(request)
    return replace(told, forwards=[f for f in told.forwards if f.section != "data"])


@fault(
    "pipeline_map.key_withheld",
    surface=contract.KEY_READS,
    caught_by=("pipeline_map.keys_are_read",),
    summary="a key that should pass through to upstream is taken out before the hand-over",
)
def key_withheld(request: KeyReadsRequest, honest: Callable[[KeyReadsRequest], KeyReads]) -> KeyReads:
    return replace(honest(request), withheld=["training.max_grad_norm"])
