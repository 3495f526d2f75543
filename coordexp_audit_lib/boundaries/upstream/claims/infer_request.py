"""RolloutInferRequest serialises Qwen3-VL multimodal messages as the server expects.

The learner posts messages and images as JSON, and the server's template puts the images into the slots of the prompt.
An image that is dropped, moved to another slot or flattened into text gives a rollout for another picture; its boxes
are then matched with this picture's ground truth, and the model is supervised to see what it did not look at.

Example: two images within one message's content must give two slots and both paths, in their order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.upstream import surfaces as s
from coordexp_audit_lib.boundaries.upstream.cases import SAMPLES
from coordexp_audit_lib.boundaries.upstream.faults import changed
from coordexp_audit_lib.boundaries.upstream.predicates import requests
from coordexp_audit_lib.boundaries.upstream.predicates.installed import REMEDY, swift, used_as_there
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import Release, release_keeps
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import asked, fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P0",
    kind="B",
    remedy=REMEDY,
    spec=(swift("swift/llm/template/template_inputs.py", "RolloutInferRequest"),),
)
def infer_request(ctx: Context) -> Iterator[Problem]:
    yield from used_as_there(ctx, "upstream.infer_request")
    made = ctx.value(s.INFER, s.InferRequests(list(SAMPLES)))
    if len(made.sent) != len(SAMPLES):
        yield Problem("not one request for each sample", "requests", len(SAMPLES), len(made.sent))
    for sample, sent in zip(SAMPLES, made.sent, strict=False):
        ctx.judged()
        yield from requests.chat_arrives(sample, sent)


infer_request.on(Release, release_keeps)


def _flat(sample: s.Sample) -> s.Sample:
    def text(content: str | list[dict[str, Any]]) -> str:
        return content if isinstance(content, str) else "".join(i.get("text", "") for i in content)

    return changed(sample, messages=[{**m, "content": text(m["content"])} for m in sample.messages])


def _without_system(sample: s.Sample) -> s.Sample:
    return changed(sample, messages=[m for m in sample.messages if m["role"] != "system"])


fault(infer_request, "images_lost", s.INFER, "images beside the messages are not posted")(
    asked(samples=lambda request: [changed(sample, images=None) for sample in request.samples])
)
fault(infer_request, "content_flattened", s.INFER, "message content arrives as one string, without the images in it")(
    asked(samples=lambda request: [_flat(sample) for sample in request.samples])
)
fault(infer_request, "system_lost", s.INFER, "a system prompt is not posted")(
    asked(samples=lambda request: [_without_system(sample) for sample in request.samples])
)
