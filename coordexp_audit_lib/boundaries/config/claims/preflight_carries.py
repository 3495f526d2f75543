"""What a config says of the rollout server reaches the settings that the launcher starts it with.

The server samples what Channel B learns from. What the launcher does not hand on, the server takes from a default of
its own: another chat template or number of pixels gives another prompt than the one that is taught, another length cuts
rollouts that training accepts, and another dtype samples others from the same seed. The config says nothing of it.

Example: with `model.torch_dtype` at bfloat16 and at float16 the launcher's preflight gives the same settings: the
server runs in bfloat16 either way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.config.cases import edits
from coordexp_audit_lib.boundaries.config.cases.bench import launched, profile_bench
from coordexp_audit_lib.boundaries.config.surfaces import PREFLIGHT, LoadRequest, Preflight
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.problem import Problem


@claim(severity="P1", kind="B", remedy="Hand the setting on to the server's command line by the launcher's preflight.")
def preflight_carries(ctx: Context) -> Iterator[Problem]:
    bench = profile_bench(ctx)
    start = launched(bench)
    # a config that can't be launched says nothing of settings
    _ = ctx.value(PREFLIGHT, bench.request(edits.with_values(bench.chain, start) if start else {}))
    for key, first, second, beside in ctx.contract["config.preflight"]["carried"]:
        values = [{**start, **beside, key: value} for value in (first, second)]
        made = [ctx.ask(PREFLIGHT, bench.request(edits.with_values(bench.chain, v))).content for v in values]
        if None in made:  # the tree takes one of the values only
            ctx.fact(f"not asked: {key}", f"{first} or {second} is refused")
            continue
        ctx.judged()
        if made[0] == made[1]:
            message = f"{key} does not reach the launcher's settings: the server is started with its own default"
            yield Problem(message, key, "other settings", "the same", {key: [first, second]})


def _forgets(key: str, at: str) -> Any:
    def forgetful(request: LoadRequest, honest: Honest) -> Any:
        payload = honest(request).payload
        return Preflight({**payload, "server": {**payload["server"], key: at}})

    return forgetful


fault(
    preflight_carries, "dtype_of_its_own", PREFLIGHT, "the server's dtype is the launcher's, whatever the config says"
)(_forgets("model.torch_dtype", "bfloat16"))
fault(preflight_carries, "template_of_its_own", PREFLIGHT, "the server renders prompts by a template of its own")(
    _forgets("template.template", "qwen2_vl")
)
fault(preflight_carries, "length_of_its_own", PREFLIGHT, "the server cuts at a length of its own")(
    _forgets("global_max_length", "8192")
)
