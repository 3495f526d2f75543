"""ms-swift's RequestConfig has the fields used, with their types and defaults, return_details among them.

A rollout's token ids come back only if `return_details` was asked for. Without them the completion would have to be
tokenized again, and a text that merges differently than it was sampled moves every supervised position: the loss is
then taken at tokens that the model did not emit. A field that arrives as another type, or under a default that nobody
relied on, samples from another distribution than the config names.

Example: `temperature: 0.0` must arrive as a float 0.0; as None the server's own default
samples instead of decoding greedily."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.upstream import surfaces as s
from coordexp_audit_lib.boundaries.upstream.cases import CONFIGS, DEFAULTS
from coordexp_audit_lib.boundaries.upstream.faults import changed, seen, without_field
from coordexp_audit_lib.boundaries.upstream.predicates import requests
from coordexp_audit_lib.boundaries.upstream.predicates.installed import REMEDY, swift, used_as_there
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import Release, release_keeps
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem


@claim(severity="P0", kind="B", remedy=REMEDY, spec=(swift("swift/llm/infer/protocol.py", "RequestConfig"),))
def request_config(ctx: Context) -> Iterator[Problem]:
    yield from used_as_there(ctx, "upstream.request_config")
    for i, request in enumerate(CONFIGS):
        made = ctx.value(s.CONFIG, request)
        ctx.judged(len(made.sent) + 1)
        yield from requests.settings_arrive(request, made)
        if i == 0:
            ctx.judged(len(DEFAULTS))
            yield from requests.defaults_as_relied_on(made, DEFAULTS)


request_config.on(Release, release_keeps)
fault(
    request_config,
    "request_config_moved",
    s.API,
    "RequestConfig is to be had under another name only",
    also=("upstream.versions_matrix",),
)(seen(":RequestConfig", lambda k: changed(k, reached="swift:RequestConfig")))
fault(request_config, "details_field_gone", s.API, "RequestConfig has no return_details")(
    without_field(":RequestConfig", "return_details", levels=None)
)
fault(request_config, "details_by_default", s.CONFIG, "the config that is sent asks for no details")(
    answered(
        config=lambda made: {**made.config, "return_details": False},
        again=lambda made: {**made.again, "return_details": False},
    )
)
fault(request_config, "temperature_as_text", s.CONFIG, "the temperature arrives as a string")(
    answered(config=lambda made: {**made.config, "temperature": str(made.config["temperature"])})
)
