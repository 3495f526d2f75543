"""`return_details` is true; the payload survives JSON unchanged (no tuples, no tensors); trailing assistant turns are
stripped; images by path or data URL.

Without the details the server gives no token ids to align with. A prompt that ends with the ground-truth answer lets
the model copy it: the rollouts look perfect and train nothing. An image that is posted as its printed form is an answer
about no picture at all.

Example: of `user, assistant` the user turn is posted; an image object is refused or becomes
`data:image/png;base64,…`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.rollout import cases, predicates
from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, answered, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Answer, Refuse


@claim(
    severity="P1",
    kind="B",
    remedy="Build the payload of JSON values only, cut the conversation after its last user turn, refuse a sample "
    "without one, and refuse image objects or encode them as data URLs.",
)
def request_schema(ctx: Context) -> Iterator[Problem]:
    for talk in cases.talks():
        answer = ctx.ask(s.PAYLOAD, s.PayloadRequest(talk.sample))
        ctx.judged()
        yield from predicates.told(_problems(talk, answer), talk.label, {"turns": [r for r, _ in talk.sample.turns]})


def _problems(talk: cases.Talk, answer: Answer[s.Payload]) -> Iterator[Problem]:
    if answer.refusal is None:
        yield from predicates.payload_problems(talk, answer.value)
    elif talk.fits:
        yield Problem("a sample that can be posted is refused", "", "a payload", answer.refusal.message)
    elif not answer.refusal.message.strip():
        yield Problem("a sample is refused without a reason", "", "a message", answer.refusal.type)


fault(request_schema, "no_details", s.PAYLOAD, "return_details is left at its default")(
    answered(config=lambda made: {**made.config, "return_details": False})
)
fault(request_schema, "answer_in_prompt", s.PAYLOAD, "the assistant's own answer stays in the prompt")(
    lambda request, honest: replace(honest(request), turns=list(request.sample.turns))
)
fault(request_schema, "tuples_posted", s.PAYLOAD, "images are posted in the tuple that the dataset gave")(
    lambda request, honest: replace(
        made := honest(request),
        unsound=["payload.infer_requests[0].images: tuple"] if request.sample.tuples else made.unsound,
    )
)


@fault(request_schema, "image_object_posted", s.PAYLOAD, "an image object is posted as its printed form")
def image_object_posted(request: s.PayloadRequest, honest: Honest) -> s.Payload:
    try:
        made: s.Payload = honest(request)
    except Refuse as error:
        if error.refusal.type != "TypeError":
            raise
        images = [replace(i, kind="path") for i in request.sample.images]
        made = honest(replace(request, sample=replace(request.sample, images=images)))
    return made
