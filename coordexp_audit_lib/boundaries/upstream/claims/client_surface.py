"""VLLMClient's constructor and the methods used for inference and weight sync are there as they are called.

The learner pushes its weights to the rollout server through these methods before it asks for rollouts. Where one of
them is gone or takes other arguments, the step fails, or, behind a fallback, the server goes on with old weights:
Channel B is then supervised on rollouts of a policy that no longer exists.

Example: metadatas and the flattened tensor go to `update_flattened_params` by position; a release that puts another
parameter before or between them takes one for the other."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.upstream import surfaces as s
from coordexp_audit_lib.boundaries.upstream.faults import changed, seen, without
from coordexp_audit_lib.boundaries.upstream.predicates.installed import REMEDY, swift, used_as_there
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import Release, release_keeps
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.source.facts import Seen


@claim(
    severity="P1", kind="S", remedy=REMEDY, spec=(swift("swift/trainers/rlhf_trainer/vllm_client.py", "VLLMClient"),)
)
def client_surface(ctx: Context) -> Iterator[Problem]:
    yield from used_as_there(ctx, "upstream.client_surface")


client_surface.on(Release, release_keeps)


def _one_server(k: Seen) -> Seen:
    kept = [changed(x, parameters=[p for p in x.parameters if p.name != "base_urls"]) for x in k.levels or []]
    return changed(k, levels=kept)


fault(
    client_surface,
    "client_without_flattened_sync",
    s.API,
    "VLLMClient has no update_flattened_params",
    also=("upstream.versions_matrix",),
)(without(":VLLMClient.update_flattened_params"))
fault(client_surface, "client_takes_one_server", s.API, "VLLMClient's constructor takes no list of base_urls")(
    seen(":VLLMClient", _one_server)
)
