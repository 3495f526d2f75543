"""Every swift rollout flag that the launcher passes exists.

A flag that the installed release does not have stops the rollout server before it answers, hours after the learner
was scheduled; one that it has under another meaning starts a server with another length limit or parallelism than the
config names, and rollouts are cut where evaluation's are not.

Example: `--vllm_max_model_len 16384` must be a field of RolloutArguments in the installed ms-swift."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.upstream import surfaces as s
from coordexp_audit_lib.boundaries.upstream.artifact.launcher import LauncherRequest
from coordexp_audit_lib.boundaries.upstream.faults import changed, without_field
from coordexp_audit_lib.boundaries.upstream.predicates.installed import promised, swift, used_as_there
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import Release, release_keeps
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.source.facts import Ask


@claim(
    severity="P1",
    kind="S",
    remedy="use the flag's present name, or install the release that has it",
    spec=(swift("swift/llm/argument/deploy_args.py", "RolloutArguments"),),
)
def rollout_cli(ctx: Context) -> Iterator[Problem]:
    yield from used_as_there(ctx, "upstream.rollout_cli")
    found = ctx.value(s.LAUNCHER, LauncherRequest(ctx.contract["upstream.launchers"]))
    if not found.flags:
        ctx.left_out("the launcher's flags", "it gives none")
    for contract in promised(ctx, "upstream.rollout_cli"):
        for arguments in (part for part in contract.parts if part.fields and found.flags):
            names = tuple(dict.fromkeys(f.name for f in found.flags))
            ask = Ask(arguments.symbol, arguments.homes, fields=names)
            api = ctx.value(s.API, s.ApiRequest(contract.distribution, [ask]))
            (seen,) = api.seen
            if seen.status != "found":
                raise SurfaceUnbound(f"the flags cannot be looked up: {seen.why}", where=arguments.symbol)
            known = {f.name for f in seen.fields}
            for flag in found.flags:
                ctx.judged()
                if flag.name not in known:
                    message = f"{contract.distribution} {api.version}'s swift rollout has no flag --{flag.name}"
                    where = Where(flag.path, flag.line)
                    yield Problem(message, flag.name, "a field of RolloutArguments", where=where)


rollout_cli.on(Release, release_keeps)


fault(rollout_cli, "flag_renamed", s.API, "swift rollout calls --vllm_max_model_len otherwise")(
    without_field(":RolloutArguments", "vllm_max_model_len")
)
fault(rollout_cli, "flag_misspelt", s.LAUNCHER, "the launcher passes a flag that no release has")(
    answered(flags=lambda found: [changed(found.flags[0], name=f"{found.flags[0].name}s"), *found.flags[1:]])
)
